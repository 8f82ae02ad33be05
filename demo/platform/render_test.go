package platform

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/crossfade-dev/crossfade/internal/spec"
)

// written writes the configuration into a directory of the test.
func written(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := WriteTo(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// decode reads manifests as strictly as an API server that was asked to: a field that no type has is an error. Kinds of the
// shop itself come back unstructured.
func decode(t *testing.T, from string, raw []byte) []runtime.Object {
	t.Helper()
	known := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(known), apiextensions.AddToScheme(known)); err != nil {
		t.Fatal(err)
	}
	strict := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
	var out []runtime.Object
	docs := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(raw)))
	defer docs.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := docs.Read(buf)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%s: %v", from, err)
		}
		if doc := bytes.Clone(buf[:n]); len(bytes.TrimSpace(doc)) > 0 {
			out = append(out, decodeOne(t, from, strict, doc))
		}
	}
}

func decodeOne(t *testing.T, from string, strict runtime.Decoder, doc []byte) runtime.Object {
	t.Helper()
	o, _, err := strict.Decode(doc, nil, nil)
	if !runtime.IsNotRegisteredError(err) {
		if err != nil {
			t.Fatalf("%s: %v\n%s", from, err, doc)
		}
		return o
	}
	var custom unstructured.Unstructured
	if err := sigsyaml.UnmarshalStrict(doc, &custom.Object); err != nil {
		t.Fatalf("%s: %v", from, err)
	}
	return &custom
}

// render reads the objects of a unit the way its kind of source asks for.
func render(t *testing.T, m spec.Manifests, namespace, name string) []runtime.Object {
	t.Helper()
	switch {
	case m.Kustomize != "":
		return renderKustomization(t, m.Kustomize)
	case m.Helm != nil:
		return renderChart(t, m.Helm, namespace, name)
	default:
		var out []runtime.Object
		for _, f := range m.Files {
			out = append(out, readTree(t, f)...)
		}
		return out
	}
}

func renderKustomization(t *testing.T, dir string) []runtime.Object {
	t.Helper()
	all, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := all.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, dir, raw)
}

func renderChart(t *testing.T, h *spec.Helm, namespace, name string) []runtime.Object {
	t.Helper()
	chart, err := loader.Load(h.Chart)
	if err != nil {
		t.Fatal(err)
	}
	values, err := commonutil.ToRenderValues(chart, h.Values, common.ReleaseOptions{Name: name, Namespace: namespace}, common.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(chart, values)
	if err != nil {
		t.Fatal(err)
	}
	var out []runtime.Object
	for from, text := range files {
		out = append(out, decode(t, from, []byte(text))...)
	}
	return out
}

// readTree reads the manifests of a file, or of all files below a directory.
func readTree(t *testing.T, root string) []runtime.Object {
	t.Helper()
	var out []runtime.Object
	err := filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(file, ".yaml") {
			return err
		}
		raw, err := os.ReadFile(file)
		if err == nil {
			out = append(out, decode(t, file, raw)...)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
