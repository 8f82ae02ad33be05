package decide

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// TestMayCopy: a kind of which no object can be copied need not be read; in doubt it is.
func TestMayCopy(t *testing.T) {
	resource := func(group, kind string, namespaced bool) kube.Resource {
		return kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: group}, Kind: kind, Namespaced: namespaced}
	}
	config, role, node := resource("", "ConfigMap", true), resource("rbac.authorization.k8s.io", "ClusterRole", false), resource("", "Node", false)
	namespace, definition := resource("", "Namespace", false), resource("apiextensions.k8s.io", "CustomResourceDefinition", false)
	in := func(s ...spec.Selector) Rules { return Rules{Copy: spec.Copy{Include: s}} }
	tests := map[string]struct {
		reason   string
		rules    Rules
		resource kube.Resource
		want     bool
	}{
		"everything":           {"nothing speaks against it", Rules{}, config, true},
		"never":                {"of the machinery of one cluster", Rules{}, node, false},
		"of git":               {"no object of it is copied", Rules{Copy: spec.Copy{Owners: map[string]string{"ConfigMap": "git"}}}, config, false},
		"kind":                 {"it is asked for", in(spec.Selector{Kinds: []string{"ConfigMap"}}), config, true},
		"another kind":         {"it is not", in(spec.Selector{Kinds: []string{"Secret"}}), config, false},
		"one of two":           {"the second asks for it", in(spec.Selector{Kinds: []string{"Secret"}}, spec.Selector{Names: []string{"a"}}), config, true},
		"namespace":            {"objects of the cluster are in none", in(spec.Selector{Namespaces: []string{"shop"}}), role, false},
		"any namespace":        {"none is one of all", in(spec.Selector{Namespaces: []string{"*"}}), role, true},
		"excluded":             {"no object of it is copied", Rules{Copy: spec.Copy{Exclude: []spec.Selector{{Kinds: []string{"ConfigMap"}}}}}, config, false},
		"excluded in part":     {"others of it are", Rules{Copy: spec.Copy{Exclude: []spec.Selector{{Kinds: []string{"ConfigMap"}, Names: []string{"a"}}}}}, config, true},
		"narrowed":             {"both must ask for it", Rules{Copy: spec.Copy{Include: []spec.Selector{{Kinds: []string{"ConfigMap"}}}}, Only: []spec.Selector{{Kinds: []string{"Secret"}}}}, config, false},
		"with references":      {"what is asked for may refer to it", Rules{Copy: spec.Copy{WithReferences: true, Include: []spec.Selector{{Kinds: []string{"Secret"}}}}}, config, true},
		"their namespace":      {"comes with what is in it", in(spec.Selector{Kinds: []string{"Secret"}}), namespace, true},
		"their definition":     {"comes with its objects", in(spec.Selector{Namespaces: []string{"shop"}}), definition, true},
		"never, by references": {"not even then", Rules{Copy: spec.Copy{WithReferences: true, Include: []spec.Selector{{Names: []string{"a"}}}}}, node, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := New(test.rules, nobody).MayCopy(test.resource); got != test.want {
				t.Errorf("%s: got %t", test.reason, got)
			}
		})
	}
}

// TestKeep says what of the other cluster a copy leaves as it is.
func TestKeep(t *testing.T) {
	const ours = "labels: {crossfade.dev/origin: created}, managedFields: [{manager: crossfade, operation: Update, fieldsV1: {'f:metadata': {'f:labels': {'f:crossfade.dev/origin': {}}}}}]"
	class := func(metadata string) string {
		return "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: fast" + metadata + "}}"
	}
	definition := func(metadata string) string {
		return "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: shops.example.com" + metadata + "}}"
	}
	tests := map[string]struct {
		reason        string
		obj, existing string
		want          Reason
	}{
		"nothing there": {"it is made", class(""), "", None},
		"a class":       {"came with the cluster", class(""), class(""), Theirs},
		"an addon's role": {
			"came with the addon that is there",
			"{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'system:reader'}}", "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'system:reader'}}", Theirs,
		},
		"a copied class":     {"came with a copy", class(""), class(", " + ours), None},
		"handed down":        {"a label alone does not show a copy", class(""), class(", labels: {crossfade.dev/origin: created}"), Theirs},
		"a definition":       {"came with the operator that is there", definition(""), definition(""), Theirs},
		"a configuration":    {"who wins is decided field by field", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}", None},
		"of a system":        {"came with the cluster", "{apiVersion: v1, kind: ConfigMap, metadata: {name: coredns, namespace: kube-system}}", "{apiVersion: v1, kind: ConfigMap, metadata: {name: coredns, namespace: kube-system}}", Theirs},
		"pipeline's":         {"is made once, for the objects in it", "{apiVersion: v1, kind: Namespace, metadata: {name: piped}}", "{apiVersion: v1, kind: Namespace, metadata: {name: piped, " + ours + "}}", Pipeline},
		"pipeline's, absent": {"is made for the objects in it", "{apiVersion: v1, kind: Namespace, metadata: {name: piped}}", "", None},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := New(Rules{Owned: []string{"Namespace piped"}}, nobody)
			obj := object(t, test.obj)
			existing := obj
			if existing = nil; test.existing != "" {
				existing = object(t, test.existing)
			}
			if got := d.Keep(resourceOf(obj), obj, existing); got != test.want {
				t.Errorf("%s: got %q, want %q", test.reason, got, test.want)
			}
		})
	}
}

// TestAdd: what selected objects need is selected with them, unless something else speaks against it.
func TestAdd(t *testing.T) {
	d := New(Rules{Copy: spec.Copy{Include: []spec.Selector{{Names: []string{"web"}}}, Exclude: []spec.Selector{{Names: []string{"hidden"}}}}}, nobody)
	for text, want := range map[string]Reason{
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}}": None,
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: hidden, namespace: shop}}":   Excluded,
		"{apiVersion: v1, kind: Namespace, metadata: {name: shop}}":                      None,
	} {
		obj := object(t, text)
		before, _ := d.Object(t.Context(), resourceOf(obj), obj)
		d.Add(obj)
		after, _ := d.Object(t.Context(), resourceOf(obj), obj)
		if before == None || after != want {
			t.Errorf("%s: %q before, %q after, want %q", text, before, after, want)
		}
	}
}

func TestMadeBySomebody(t *testing.T) {
	tests := map[string]bool{
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}":                                                                                      true,
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: shop}}":                                                                       false,
		"{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}}":                                                                           false,
		"{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: a, controller: true}]}}":     false,
		"{apiVersion: v1, kind: Event, metadata: {name: a, namespace: shop}}":                                                                                          false,
		"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data-db-0, namespace: shop, managedFields: [" + by("kube-controller-manager") + "]}}":          false,
		"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: shop, managedFields: [" + by("kubectl") + ", " + by("kube-scheduler") + "]}}": true,
	}
	for text, want := range tests {
		obj := object(t, text)
		if MadeBySomebody(resourceOf(obj), obj) != want {
			t.Errorf("%s: want %t", text, want)
		}
	}
}
