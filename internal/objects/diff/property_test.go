package diff

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

const knots = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: knots.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {kind: Knot, plural: knots}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

// random copies objects of random content: then nothing is different. One of the copies is edited at random: then exactly that
// field is named, with who has edited it, and no value of a Secret.
func (c clusters) random(t *testing.T) {
	c.from.WriteAs(t, "kubectl-create", knots)
	await(t, c.a, "Knot")
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		if round++; round > 15 {
			return // each is slow, as it is real
		}
		namespace := fmt.Sprintf("random-%d", round)
		objs := drawObjects(r, namespace)
		for _, obj := range objs {
			c.from.WriteAs(t, "kubectl-create", encoded(t, obj))
		}
		c.copy(t, only(namespace))
		if report := c.compare(t, only(namespace)); report.Count() > 0 || report.Compared < len(objs) {
			r.Fatalf("after a copy: %q", lines(report))
		}
		edited := rapid.SampledFrom(objs[1:]).Draw(r, "edited")
		there, err := c.b.Get(t.Context(), edited)
		if err != nil || there == nil {
			r.Fatal(there, err)
		}
		at := editObject(r, there)
		there.SetManagedFields(nil)
		c.to.WriteAs(t, "kubectl-edit", encoded(t, there))
		report := c.compare(t, only(namespace))
		if report.Count() != 1 || report.Differences[0].Object != ident.Of(edited) || report.Differences[0].Cause != Changed || len(report.Differences[0].Fields) != 1 {
			r.Fatalf("edited %s of %s: %q", at, ident.Of(edited), lines(report))
		}
		f := report.Differences[0].Fields[0]
		if !strings.HasPrefix(at, f.Path) || len(f.By) != 1 || f.By[0] != "kubectl-edit" || (edited.GetKind() == "Secret") != f.Secret || f.Secret && len(f.From)+len(f.To) > 0 {
			r.Fatalf("edited %s of %s: %+v", at, ident.Of(edited), f)
		}
	})
}

// drawObjects draws a namespace and objects in it.
func drawObjects(r *rapid.T, namespace string) []*unstructured.Unstructured {
	objs := []*unstructured.Unstructured{made(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, "", namespace)}
	for i := range rapid.IntRange(1, 6).Draw(r, "objects") {
		name := fmt.Sprintf("%s-%d", rapid.StringMatching(`[a-z]([a-z.-]{0,8}[a-z])?`).Filter(func(s string) bool {
			return !strings.Contains(s, "..") && !strings.Contains(s, ".-") && !strings.Contains(s, "-.")
		}).Draw(r, "name"), i)
		var obj *unstructured.Unstructured
		switch kind := rapid.SampledFrom([]string{"ConfigMap", "Secret", "Knot"}).Draw(r, "kind"); kind {
		case "Knot":
			obj = made(schema.GroupVersionKind{Group: "shop.example.com", Version: "v1", Kind: kind}, namespace, name)
			obj.Object["spec"] = anyMap(4).Draw(r, "spec")
		default:
			obj = made(schema.GroupVersionKind{Version: "v1", Kind: kind}, namespace, name)
			data := map[string]any{}
			for key, text := range rapid.MapOfN(rapid.StringMatching(`[a-z][a-z.-]{0,5}`), text(), 1, 4).Draw(r, "data") {
				if data[key] = text; kind == "Secret" {
					data[key] = base64.StdEncoding.EncodeToString([]byte(text))
				}
			}
			obj.Object["data"] = data
		}
		obj.SetAnnotations(rapid.MapOfN(rapid.StringMatching(`[a-z]{1,4}(\.io/[a-z]{1,3})?`), text(), 0, 2).Draw(r, "annotations"))
		objs = append(objs, obj)
	}
	return objs
}

func made(kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetGroupVersionKind(kind)
	obj.SetNamespace(namespace)
	obj.SetName(name)
	return obj
}

// editObject changes or adds one field of an object, and says which.
func editObject(r *rapid.T, obj *unstructured.Unstructured) string {
	part := "spec"
	if obj.GetKind() != "Knot" {
		part = "data"
	}
	fields := field.Map(obj, part)
	value := "edited"
	if obj.GetKind() == "Secret" {
		value = base64.StdEncoding.EncodeToString([]byte(value))
	}
	if rapid.Bool().Draw(r, "new") {
		fields["added"] = value
		return part + ".added"
	}
	if obj.GetKind() == "Knot" {
		at, _ := edit(r, fields, part)
		return at
	}
	key := rapid.SampledFrom(sortedKeys(fields, nil)).Draw(r, "key")
	fields[key] = value
	return path{{key: part}, {key: key}}.String()
}

func encoded(t *testing.T, obj *unstructured.Unstructured) string {
	t.Helper()
	raw, err := json.Marshal(obj.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
