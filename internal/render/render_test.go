package render_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/render"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// files is the directory that the tests render from.
const files = `
-- plain/web.yaml --
# the web front
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      initContainers: [{name: init, image: registry:5000/shop/tools}]
      containers: [{name: web, image: "registry:5000/shop/web:1"}]
---
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, namespace: wrong}
-- plain/deep/list.json --
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "other"}},
  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"n": "1"}}]}
-- plain/README.md --
not a manifest
-- bad/tab.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
---
apiVersion: v1
kind: ConfigMap
metadata:
	name: b
-- bad/twice.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data:
  k: "1"
  k: "2"
-- bad/nameless.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {generateName: a-}
-- bad/kindless.yaml --

---
# a comment
apiVersion: v1
metadata: {name: a}
-- bad/same.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}
-- empty/.gitkeep --
-- base/kustomization.yaml --
resources: [cm.yaml]
-- base/cm.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {from: base}}
-- overlay/kustomization.yaml --
resources: [../base]
namePrefix: pre-
patches: [{patch: '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"from": "overlay"}}'}]
-- remote/kustomization.yaml --
resources: ["https://github.com/example/base?ref=v1"]
-- remote2/kustomization.yaml --
resources: ["github.com/example/base"]
-- remotefile/kustomization.yaml --
configMapGenerator: [{name: a, files: ["x=https://example.com/x"]}]
-- loop/kustomization.yaml --
resources: [../loop2]
-- loop2/kustomization.yaml --
resources: [../loop]
-- badbase/kustomization.yaml --
resources: [../bad/tab.yaml]
-- chart/Chart.yaml --
{apiVersion: v2, name: shop, version: 1.0.0}
-- chart/values.yaml --
colour: blue
replicas: 1
-- chart/crds/coupons.yaml --
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: coupons.example.com}
spec: {group: example.com, scope: Cluster, names: {kind: Coupon}}
-- chart/templates/_helpers.tpl --
{{ define "name" }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end }}
-- chart/templates/cm.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ include "name" . }}}
data: {colour: {{ .Values.colour }}, replicas: "{{ .Values.replicas }}", namespace: {{ .Release.Namespace }}}
---
apiVersion: example.com/v1
kind: Coupon
metadata: {name: ten}
-- chart/templates/hook.yaml --
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: pre-install}}
-- chart/templates/NOTES.txt --
Thank you: for installing
-- values.yaml --
colour: red
-- badchart/Chart.yaml --
{apiVersion: v2, name: bad, version: 1.0.0}
-- badchart/templates/a.yaml --
a: {{ .Values.x.y.z | quote }}
-- needy/Chart.yaml --
{apiVersion: v2, name: needy, version: 1.0.0, dependencies: [{name: redis, version: 1.0.0, repository: "https://example.com"}]}
`

func dir(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, f := range txtar.Parse([]byte(files)).Files {
		path := filepath.Join(root, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func names(objs []*unstructured.Unstructured) []string {
	var all []string
	for _, obj := range objs {
		all = append(all, render.Describe(obj))
	}
	return all
}

func TestObjects(t *testing.T) {
	root := dir(t)
	tests := map[string]struct {
		manifests spec.Manifests
		want      []string
		notes     string
	}{
		"a directory": {
			manifests: spec.Manifests{Files: []string{"plain"}},
			want:      []string{"ConfigMap other/a", "ConfigMap shop/b", "Namespace shop", "apps/Deployment shop/web"},
		},
		"a kustomization": {manifests: spec.Manifests{Kustomize: "overlay"}, want: []string{"ConfigMap shop/pre-a"}},
		"a chart": {
			manifests: spec.Manifests{Helm: &spec.Helm{Chart: "chart"}},
			want:      []string{"ConfigMap shop/front-shop", "apiextensions.k8s.io/CustomResourceDefinition coupons.example.com", "example.com/Coupon ten"},
			notes:     "batch/Job migrate of the chart chart is left out: it is a Helm hook (pre-install)",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var notes []string
			note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
			objs, err := render.Objects(test.manifests, render.Options{Dir: root, Name: "front", Namespace: "shop", Note: note})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, names(objs)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.notes, strings.Join(notes, "\n")); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChartValues(t *testing.T) {
	helm := &spec.Helm{Chart: "chart", ReleaseName: "r", ValuesFiles: []string{"values.yaml"}, Values: map[string]any{"replicas": 3}}
	objs, err := render.Objects(spec.Manifests{Helm: helm}, render.Options{Dir: dir(t), Namespace: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"colour": "red", "replicas": "3", "namespace": "shop"}
	if diff := cmp.Diff(want, objs[0].Object["data"]); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestObjectsRefuses(t *testing.T) {
	root := dir(t)
	tests := map[string]struct {
		manifests spec.Manifests
		want      string // ROOT stands for the directory
	}{
		"a tab":              {spec.Manifests{Files: []string{"bad/tab.yaml"}}, "cannot read the manifest ROOT/bad/tab.yaml:8: found character that cannot start any token"},
		"a key twice":        {spec.Manifests{Files: []string{"bad/twice.yaml"}}, `cannot read the manifest ROOT/bad/twice.yaml:6: key "k" already set in map`},
		"no name":            {spec.Manifests{Files: []string{"bad/nameless.yaml"}}, "cannot read the manifest ROOT/bad/nameless.yaml:1: metadata.name of this ConfigMap is missing"},
		"no kind":            {spec.Manifests{Files: []string{"bad/kindless.yaml"}}, "cannot read the manifest ROOT/bad/kindless.yaml:2: kind is missing"},
		"the same twice":     {spec.Manifests{Files: []string{"bad/same.yaml"}}, "cannot use the manifests of bad/same.yaml: ConfigMap shop/a is in them twice"},
		"no such file":       {spec.Manifests{Files: []string{"nowhere"}}, "cannot read manifests from ROOT/nowhere: stat ROOT/nowhere: no such file or directory"},
		"nothing in it":      {spec.Manifests{Files: []string{"empty"}}, "cannot read manifests: no .yaml, .yml or .json file is in ROOT/empty"},
		"a URL":              {spec.Manifests{Kustomize: "remote"}, "cannot build the kustomization ROOT/remote/kustomization.yaml: https://github.com/example/base?ref=v1 is not on this disk"},
		"a repository":       {spec.Manifests{Kustomize: "remote2"}, "cannot build the kustomization ROOT/remote2/kustomization.yaml: github.com/example/base is not on this disk"},
		"a file by URL":      {spec.Manifests{Kustomize: "remotefile"}, "cannot build the kustomization ROOT/remotefile/kustomization.yaml: x=https://example.com/x is not on this disk"},
		"a loop":             {spec.Manifests{Kustomize: "loop"}, "cannot build the kustomization ROOT/loop: it refers to itself: ROOT/loop -> ROOT/loop2 -> ROOT/loop"},
		"a bad resource":     {spec.Manifests{Kustomize: "badbase"}, "cannot read the manifest ROOT/bad/tab.yaml:8: found character that cannot start any token"},
		"no kustomization":   {spec.Manifests{Kustomize: "plain"}, "cannot build the kustomization ROOT/plain: there is no kustomization.yaml in it"},
		"a broken template":  {spec.Manifests{Helm: &spec.Helm{Chart: "badchart"}}, "nil pointer evaluating interface {}.y"},
		"no dependency":      {spec.Manifests{Helm: &spec.Helm{Chart: "needy"}}, "cannot render the chart ROOT/needy: its dependency redis is not in charts/"},
		"no chart":           {spec.Manifests{Helm: &spec.Helm{Chart: "plain"}}, "Chart.yaml file is missing"},
		"no such values":     {spec.Manifests{Helm: &spec.Helm{Chart: "chart", ValuesFiles: []string{"x.yaml"}}}, "cannot read manifests from ROOT/x.yaml"},
		"values that are no": {spec.Manifests{Helm: &spec.Helm{Chart: "chart", ValuesFiles: []string{"bad/twice.yaml"}}}, "cannot read the values ROOT/bad/twice.yaml:6: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := render.Objects(test.manifests, render.Options{Dir: root, Namespace: "shop"})
			if fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" {
				t.Fatalf("want Invalid with a hint, got %q: %v", fault.CodeOf(err), err)
			}
			if got := strings.ReplaceAll(err.Error(), root, "ROOT"); !strings.Contains(got, test.want) || strings.Contains(got, "\n") {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	root := dir(t)
	tests := map[string]struct {
		image, version string
		want           []string
		err            string
	}{
		"left as it is": {want: []string{"registry:5000/shop/tools", "registry:5000/shop/web:1"}},
		"a tag":         {image: "registry:5000/shop/web", version: "2", want: []string{"registry:5000/shop/tools", "registry:5000/shop/web:2"}},
		"a digest":      {image: "registry:5000/shop/tools", version: "sha256:ab", want: []string{"registry:5000/shop/tools@sha256:ab", "registry:5000/shop/web:1"}},
		"not used":      {image: "shop/web", version: "2", err: "cannot set the version 2: no container uses the image shop/web"},
		"not named":     {version: "2", err: "cannot set the version 2: the service names no image"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			objs, err := render.Objects(spec.Manifests{Files: []string{"plain"}}, render.Options{Dir: root, Image: test.image, Version: test.version})
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("got %v, want %s", err, test.err)
				}
				return
			}
			if diff := cmp.Diff(test.want, render.Images(objs)); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestEncode: whatever the order, the same objects give the same bytes, and come back as they were.
func TestEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.MapOf(rapid.StringMatching(`[a-z]{1,5}`), rapid.String()).Draw(t, "data")
		var objs []*unstructured.Unstructured
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,8}`), 1, 6, rapid.ID[string]).Draw(t, "names") {
			obj := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}, "generation": int64(3), "half": 0.5,
			}}
			if err := unstructured.SetNestedStringMap(obj.Object, data, "data"); err != nil {
				t.Fatal(err)
			}
			objs = append(objs, obj)
		}
		one, err := render.Encode(objs)
		if err != nil {
			t.Fatal(err)
		}
		two, err := render.Encode(rapid.Permutation(objs).Draw(t, "order"))
		if err != nil || string(one) != string(two) {
			t.Fatalf("order matters: %v\n%s\n%s", err, one, two)
		}
		back, err := render.Decode(one)
		if err != nil {
			t.Fatal(err)
		}
		again, err := render.Encode(back)
		if err != nil || string(again) != string(one) || len(back) != len(objs) {
			t.Fatalf("not as it was: %v\n%s\n%s", err, one, again)
		}
	})
}

// FuzzFile: no file makes the reader panic, and every refusal names the file.
func FuzzFile(f *testing.F) {
	for _, file := range txtar.Parse([]byte(files)).Files {
		f.Add(file.Data)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(t.TempDir(), "x.yaml")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := render.Objects(spec.Manifests{Files: []string{path}}, render.Options{})
		if err != nil && (fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), path)) {
			t.Errorf("%q: %v", fault.CodeOf(err), err)
		}
	})
}
