package render

import (
	"context"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// hookAnnotation marks objects that Helm runs at moments of its own release process.
const hookAnnotation = "helm.sh/hook"

// chartObjects renders a chart as for a first installation, definitions in crds/ included. Hooks are left out and noted:
// Crossfade has checks and gates for what hooks do, and runs nothing at an order hidden in annotations.
func chartObjects(h spec.Helm, o Options) ([]*unstructured.Unstructured, error) {
	location := resolve(o.Dir, h.Chart)
	ch, err := loader.Load(location)
	if err != nil {
		return nil, chartFault(location, err, "name the chart's directory or its .tgz file")
	}
	values, err := chartValues(ch, h, o)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{}.RenderWithContext(context.Background(), ch, values)
	if err != nil {
		return nil, chartFault(location, err, "helm template shows the same problem")
	}
	for _, crd := range ch.CRDObjects() {
		files[crd.Filename] = string(crd.File.Data)
	}
	var objs []*unstructured.Unstructured
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(path.Base(name), "_") || path.Ext(name) == ".txt" {
			continue
		}
		more, err := parse(path.Join(location, strings.TrimPrefix(name, ch.ChartFullPath()+"/")), []byte(files[name]))
		if err != nil {
			return nil, err
		}
		objs = append(objs, more...)
	}
	return slices.DeleteFunc(objs, func(obj *unstructured.Unstructured) bool {
		hook, ok := obj.GetAnnotations()[hookAnnotation]
		if ok {
			o.Note("%s of the chart %s is left out: it is a Helm hook (%s)", ident.Of(obj), h.Chart, hook)
		}
		return ok
	}), nil
}

// chartValues puts together what the templates see: values files in their order, then the inline values.
func chartValues(ch *chart.Chart, h spec.Helm, o Options) (common.Values, error) {
	location := resolve(o.Dir, h.Chart)
	for _, dependency := range ch.Metadata.Dependencies {
		if !slices.ContainsFunc(ch.Dependencies(), func(c *chart.Chart) bool { return c.Name() == dependency.Name }) {
			return nil, fault.New(fault.Invalid, "cannot render the chart %s: its dependency %s is not in charts/", location, dependency.Name).
				WithHint("helm dependency build %s fetches it", location)
		}
	}
	merged := map[string]any{}
	for _, name := range h.ValuesFiles {
		file := resolve(o.Dir, name)
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, unreadable(file, err)
		}
		more, err := decode(raw)
		if err != nil {
			return nil, fault.New(fault.Invalid, "cannot read the values %s:%d: %s", file, lineOf(err), parseReason(err)).
				WithHint("correct the file")
		}
		merged = loader.MergeMaps(merged, more)
	}
	merged = loader.MergeMaps(merged, h.Values)
	if err := chartutil.ProcessDependencies(ch, merged); err != nil {
		return nil, chartFault(location, err, "correct the values that switch its dependencies")
	}
	release := common.ReleaseOptions{Name: h.ReleaseName, Namespace: o.Namespace, Revision: 1, IsInstall: true}
	if release.Name == "" {
		release.Name = o.Name
	}
	if release.Namespace == "" {
		release.Namespace = "default"
	}
	values, err := util.ToRenderValues(ch, merged, release, nil)
	if err != nil {
		return nil, chartFault(location, err, "correct the values")
	}
	return values, nil
}

func chartFault(location string, err error, hint string) error {
	return fault.New(fault.Invalid, "cannot render the chart %s: %s", location, oneLine(err)).WithHint("%s", hint)
}
