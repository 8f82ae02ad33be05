package relate

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// The UIDs of an object in the two clusters.
const (
	here  = "11111111-1111-1111-1111-111111111111"
	there = "22222222-2222-2222-2222-222222222222"
)

// theirs is what the other cluster has.
const theirs = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop, uid: 22222222-2222-2222-2222-222222222222}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop, uid: 22222222-2222-2222-2222-222222222222}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: elsewhere, namespace: other, uid: 22222222-2222-2222-2222-222222222222}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, uid: 22222222-2222-2222-2222-222222222222}}
`

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	return kubetest.Objects(t, text)[0]
}

func TestFields(t *testing.T) {
	thing := func(spec string) string {
		return "{apiVersion: example.com/v1, kind: Thing, metadata: {name: a, namespace: shop}, " + spec + "}"
	}
	rule := []spec.Reference{{Kind: "Thing", Field: "spec.parent.id", To: "Deployment.apps", Name: "spec.parent.name"}}
	tests := map[string]struct {
		reason   string
		rules    []spec.Reference
		in, want string
		missing  []string
	}{
		"a reference": {
			reason: "the shape of the API's own", in: thing("spec: {ref: {apiVersion: v1, kind: ConfigMap, name: settings, uid: " + here + ", resourceVersion: '1'}}"),
			want: thing("spec: {ref: {apiVersion: v1, kind: ConfigMap, name: settings, uid: " + there + "}}"),
		},
		"deep": {
			reason: "anywhere, in lists too", in: thing("data: [[{a: {apiVersion: apps/v1, kind: Deployment, name: web, uid: " + here + ", b: {kind: ConfigMap, name: settings, uid: " + here + "}}}]]"),
			want: thing("data: [[{a: {apiVersion: apps/v1, kind: Deployment, name: web, uid: " + there + ", b: {kind: ConfigMap, name: settings, uid: " + there + "}}}]]"),
		},
		"by group": {
			reason: "as roles and routes name objects", in: thing("spec: [{apiGroup: apps, kind: Deployment, name: web, uid: " + here + "}, {group: apps, kind: Deployment, name: web, uid: " + here + "}]"),
			want: thing("spec: [{apiGroup: apps, kind: Deployment, name: web, uid: " + there + "}, {group: apps, kind: Deployment, name: web, uid: " + there + "}]"),
		},
		"another namespace": {
			reason: "that the reference names", in: thing("spec: {kind: ConfigMap, name: elsewhere, namespace: other, uid: " + here + "}"),
			want: thing("spec: {kind: ConfigMap, name: elsewhere, namespace: other, uid: " + there + "}"),
		},
		"no namespace": {
			reason: "a Namespace is in none, whatever the object is in", in: thing("spec: {kind: Namespace, name: shop, uid: " + here + "}"),
			want: thing("spec: {kind: Namespace, name: shop, uid: " + there + "}"),
		},
		"not there": {
			reason: "the old UID would be wrong", in: thing("spec: {kind: ConfigMap, name: gone, uid: " + here + "}"), want: thing("spec: {kind: ConfigMap, name: gone}"),
			missing: []string{"ConfigMap shop/gone"},
		},
		"a kind of the users": {
			reason: "what the API has no kind for is no reference", in: thing("spec: {kind: Admin, name: anna, uid: " + here + "}"), want: thing("spec: {kind: Admin, name: anna, uid: " + here + "}"),
		},
		"a number": {
			reason: "the UID of a user of Unix is none", in: thing("spec: {kind: ConfigMap, name: settings, uid: '1000'}"), want: thing("spec: {kind: ConfigMap, name: settings, uid: '1000'}"),
		},
		"its metadata": {
			reason: "owners are not fields", in: "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, annotations: {kind: ConfigMap, name: settings, uid: " + here + "}}, status: {kind: ConfigMap, name: settings, uid: " + here + "}}",
			want: "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, annotations: {kind: ConfigMap, name: settings, uid: " + here + "}}, status: {kind: ConfigMap, name: settings, uid: " + here + "}}",
		},
		"by a rule": {
			reason: "a bare UID", rules: rule, in: thing("spec: {parent: {id: " + here + ", name: web}}"), want: thing("spec: {parent: {id: " + there + ", name: web}}"),
		},
		"by a rule, not there": {
			reason: "the old UID would be wrong", rules: rule, in: thing("spec: {parent: {id: " + here + ", name: gone}}"), want: thing("spec: {parent: {name: gone}}"),
			missing: []string{"apps/Deployment shop/gone"},
		},
		"by a rule, unset": {
			reason: "nothing is put where nothing was", rules: rule, in: thing("spec: {parent: {name: web}}"), want: thing("spec: {parent: {name: web}}"),
		},
		"by another's rule": {
			reason: "of another kind", rules: []spec.Reference{{Kind: "Thing.other.com", Field: "spec.parent.id", To: "Deployment.apps", Name: "spec.parent.name"}},
			in: thing("spec: {parent: {id: " + here + ", name: web}}"), want: thing("spec: {parent: {id: " + here + ", name: web}}"),
		},
		"twice": {
			reason: "each that is missing is named once", in: thing("spec: [{kind: ConfigMap, name: gone, uid: " + here + "}, {kind: ConfigMap, name: gone, uid: " + here + "}]"),
			want: thing("spec: [{kind: ConfigMap, name: gone}, {kind: ConfigMap, name: gone}]"), missing: []string{"ConfigMap shop/gone"},
		},
	}
	cluster := kubetest.Show(t, theirs).Connect(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			obj := object(t, test.in)
			missing, err := New(cluster, test.rules, Remembered).Fields(t.Context(), obj)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(object(t, test.want).Object, obj.Object); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if diff := cmp.Diff(test.missing, missing); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOwners(t *testing.T) {
	obj := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, ownerReferences: [
	  {apiVersion: apps/v1, kind: Deployment, name: web, uid: `+here+`, controller: true, blockOwnerDeletion: true},
	  {apiVersion: v1, kind: ConfigMap, name: gone, uid: `+here+`}, {apiVersion: example.com/v1, kind: Thing, name: a, uid: `+here+`}, {apiVersion: v1, kind: Namespace, name: shop, uid: `+here+`}]}}`)
	refs, missing, err := New(kubetest.Show(t, theirs).Connect(t), nil, Remembered).Owners(t.Context(), obj, true)
	if err != nil {
		t.Fatal(err)
	}
	want := []any{
		map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": there, "controller": true, "blockOwnerDeletion": true},
		map[string]any{"apiVersion": "v1", "kind": "Namespace", "name": "shop", "uid": there},
	}
	if diff := cmp.Diff(want, refs); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ConfigMap shop/gone", "example.com/Thing shop/a"}, missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

// TestRemembers: a UID is asked for once, until it is forgotten; who keeps none asks every time.
func TestRemembers(t *testing.T) {
	for most, want := range map[int]string{Remembered: there, 0: "33333333-3333-3333-3333-333333333333"} {
		shown := kubetest.Show(t, theirs)
		r := New(shown.Connect(t), nil, most)
		uid := func() string {
			found, err := r.target(t.Context(), map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": "settings"}, "shop", true)
			if err != nil {
				t.Fatal(err)
			}
			return found.uid
		}
		if got := uid(); got != there {
			t.Fatalf("%s", got)
		}
		shown.Set(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop, uid: 33333333-3333-3333-3333-333333333333}}")
		if got := uid(); got != want {
			t.Errorf("with %d remembered: %s, want %s", most, got, want)
		}
		r.Forget(object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}}"))
		if got := uid(); got != "33333333-3333-3333-3333-333333333333" {
			t.Errorf("forgotten: %s", got)
		}
		r.Learn(object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop, uid: learnt}}"))
		if got := uid(); got != "learnt" && most > 0 {
			t.Errorf("learnt: %s", got)
		}
	}
}

// TestRemembersFew: memory does not grow with the objects that are copied.
func TestRemembersFew(t *testing.T) {
	r := New(kubetest.Show(t, theirs).Connect(t), nil, 10)
	for i := range 1000 {
		r.Learn(object(t, fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: a-%d, namespace: shop, uid: u}}", i)))
		if _, remembered := r.uids.Get(fmt.Sprintf("ConfigMap shop/a-%d", i-20)); remembered {
			t.Fatalf("after %d there is still the one %d before", i, 20)
		}
	}
}

// TestCannotAsk: a cluster that cannot be asked is an error, never an owner that is not there.
func TestCannotAsk(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusServiceUnavailable) }
	r := New(kubetest.Answer(t, map[string]http.HandlerFunc{"/": refuse}).Connect(t), nil, Remembered)
	obj := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: `+here+`}]}, spec: {kind: ConfigMap, name: b, uid: `+here+`}}`)
	if _, missing, err := r.Owners(t.Context(), obj, true); fault.CodeOf(err) != fault.Unavailable || missing != nil {
		t.Errorf("owners: %v, missing %v", err, missing)
	}
	if missing, err := r.Fields(t.Context(), obj); fault.CodeOf(err) != fault.Unavailable || missing != nil {
		t.Errorf("fields: %v, missing %v", err, missing)
	}
}
