// Package render turns manifests (plain files, a kustomization, a Helm chart) into objects, without a cluster and without
// the network: the same input on disk gives the same objects.
package render

import (
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Options say how manifests become objects.
type Options struct {
	Dir       string // the directory of the document; relative paths of the manifests start there
	Name      string // of the unit or service; a Helm release is called so unless it names itself
	Namespace string // for namespaced objects that name none; "default" when empty
	Image     string // the repository whose tag or digest becomes Version
	Version   string // a tag, or "sha256:..."; empty leaves images as they are
	// Note is told what was left out of the objects, and why. It may be nil.
	Note func(format string, args ...any)
}

// Objects renders the manifests. The objects are in a stable order: by group, kind, namespace and name. Every error is of
// code fault.Invalid and names the file, and the line where there is one.
func Objects(m spec.Manifests, o Options) ([]*unstructured.Unstructured, error) {
	if o.Note == nil {
		o.Note = func(string, ...any) {}
	}
	objs, err := load(m, o)
	if err != nil {
		return nil, err
	}
	setNamespaces(objs, o.Namespace)
	slices.SortStableFunc(objs, func(a, b *unstructured.Unstructured) int { return strings.Compare(ident.Of(a), ident.Of(b)) })
	for i := 1; i < len(objs); i++ {
		if ident.Of(objs[i]) == ident.Of(objs[i-1]) {
			return nil, fault.New(fault.Invalid, "cannot use the manifests of %s: %s is in them twice", sources(m), ident.Of(objs[i])).
				WithHint("remove one of the two")
		}
	}
	if err := setVersion(objs, o.Image, o.Version); err != nil {
		return nil, err
	}
	return objs, nil
}

// Describe names an object: "apps/Deployment shop/web".
func Describe(obj *unstructured.Unstructured) string { return ident.Of(obj) }

func load(m spec.Manifests, o Options) ([]*unstructured.Unstructured, error) {
	switch {
	case m.Helm != nil:
		return chartObjects(*m.Helm, o)
	case m.Kustomize != "":
		return kustomizeObjects(resolve(o.Dir, m.Kustomize))
	default:
		var objs []*unstructured.Unstructured
		for _, path := range m.Files {
			more, err := fileObjects(resolve(o.Dir, path))
			if err != nil {
				return nil, err
			}
			objs = append(objs, more...)
		}
		return objs, nil
	}
}

// sources names where manifests come from, for messages.
func sources(m spec.Manifests) string {
	switch {
	case m.Helm != nil:
		return "the chart " + m.Helm.Chart
	case m.Kustomize != "":
		return "the kustomization " + m.Kustomize
	default:
		return strings.Join(m.Files, ", ")
	}
}

func resolve(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// oneLine folds the text of a library's error, which may have many lines, into one.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
