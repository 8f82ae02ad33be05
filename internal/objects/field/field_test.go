package field

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

func TestRead(t *testing.T) {
	obj := kubetest.Objects(t, "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {text: x, truth: true, list: [1], map: {a: b}, none: null}}")[0]
	for _, path := range []string{"text", "truth", "list", "map", "none", "missing"} {
		got := []any{String(obj, "spec", path), Bool(obj, "spec", path), List(obj, "spec", path), Map(obj, "spec", path)}
		want := []any{"", false, []any(nil), map[string]any(nil)}
		switch path {
		case "text":
			want[0] = "x"
		case "truth":
			want[1] = true
		case "list":
			want[2] = []any{int64(1)}
		case "map":
			want[3] = map[string]any{"a": "b"}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s as text, truth, list and map (-want +got):\n%s", path, diff)
		}
	}
	if String(obj, "spec", "text", "deeper") != "" || Map(obj, "spec", "list", "deeper") != nil {
		t.Error("below what is no map there is nothing")
	}
	if Child(map[string]any{"a": map[string]any{"b": map[string]any{"c": "d"}}}, "a", "b")["c"] != "d" || Child(nil, "a", "b") != nil {
		t.Error("child")
	}
}

func TestDropPrefixed(t *testing.T) {
	obj := kubetest.Objects(t, "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {a: '1', ab: '2', b: '3'}, annotations: {a: '1'}}, spec: text}")[0]
	DropPrefixed(obj, []string{"a"}, "metadata", "labels")
	DropPrefixed(obj, []string{"a"}, "metadata", "annotations")
	DropPrefixed(obj, []string{"a"}, "spec")
	DropPrefixed(obj, []string{"a"}, "missing")
	if diff := cmp.Diff(map[string]any{"name": "a", "labels": map[string]any{"b": "3"}}, obj.Object["metadata"]); diff != "" || obj.Object["spec"] != "text" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestChosen(t *testing.T) {
	obj := kubetest.Objects(t, `{apiVersion: v1, kind: Service, metadata: {name: a, managedFields: [
	  {manager: kube-controller-manager, operation: Update, fieldsV1: {"f:spec": {"f:given": {}}}}, {manager: kubectl, operation: Update, fieldsV1: {"f:spec": {"f:chosen": {}, "f:deep": {"f:er": {}}}}},
	  {manager: kubectl, operation: Update, subresource: status, fieldsV1: {"f:spec": {"f:told": {}}}}, {manager: vi}]}}`)[0]
	for name, want := range map[string]bool{"f:given": false, "f:chosen": true, "f:told": false, "f:deep": true, "f:missing": false} {
		if Chosen(obj, "f:spec", name) != want {
			t.Errorf("%s: want %t", name, want)
		}
	}
	if !Chosen(obj, "f:spec", "f:deep", "f:er") || Chosen(&unstructured.Unstructured{Object: map[string]any{}}, "f:spec") {
		t.Error("deeper, and without managers")
	}
}

func TestItemMatches(t *testing.T) {
	tests := map[string]struct {
		reason, key string
		item        map[string]any
		want        bool
	}{
		"name":       {"the usual key", `k:{"name":"web"}`, map[string]any{"name": "web", "port": int64(80)}, true},
		"other name": {"of another item", `k:{"name":"db"}`, map[string]any{"name": "web"}, false},
		"two keys":   {"both must match", `k:{"port":80,"protocol":"UDP"}`, map[string]any{"port": int64(80), "protocol": "TCP"}, false},
		"numbers":    {"are read as fractions", `k:{"port":80,"protocol":"TCP"}`, map[string]any{"port": int64(80), "protocol": "TCP"}, true},
		"default":    {"a protocol that is left out", `k:{"port":80,"protocol":"TCP"}`, map[string]any{"port": int64(80)}, true},
		"no default": {"for UDP", `k:{"port":80,"protocol":"UDP"}`, map[string]any{"port": int64(80)}, false},
		"missing":    {"any other key that is left out", `k:{"name":"web"}`, map[string]any{"port": int64(80)}, false},
		"no key":     {"the list itself", ".", map[string]any{"name": "web"}, false},
		"no item":    {"a text in the list", `k:{"name":"web"}`, nil, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if ItemMatches(test.key, test.item) != test.want {
				t.Errorf("%s: want %t", test.reason, test.want)
			}
		})
	}
}

// value draws anything that JSON can say.
func value(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(r *rapid.T) any {
		most := 5
		if depth == 0 {
			most = 3
		}
		switch rapid.IntRange(0, most).Draw(r, "kind") {
		case 0:
			return nil
		case 1:
			return rapid.SampledFrom([]string{"", "a", "b"}).Draw(r, "text")
		case 2:
			return rapid.Int64Range(-2, 2).Draw(r, "number")
		case 3:
			return rapid.Bool().Draw(r, "truth")
		case 4:
			return rapid.SliceOfN(value(depth-1), 0, 3).Draw(r, "list")
		default:
			m := map[string]any{}
			for _, key := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3).Draw(r, "keys") {
				m[key] = value(depth-1).Draw(r, "value")
			}
			return m
		}
	})
}

// TestWithin: everything is within itself, and within itself with more keys; what is within something and not empty is not within
// less.
func TestWithin(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		want, got := value(3).Draw(r, "want"), value(3).Draw(r, "got")
		if !Within(want, want) || !Equal(want, want) {
			r.Fatalf("not within itself: %v", want)
		}
		if Equal(want, got) && !Within(want, got) {
			r.Fatalf("%v equals %v and is not within it", want, got)
		}
		if m, ok := want.(map[string]any); ok {
			more := maps.Clone(m)
			more["more"] = got
			if !Within(want, more) {
				r.Fatalf("%v is not within %v", want, more)
			}
			less := maps.Clone(m)
			if key := slices.Min(append(slices.Collect(maps.Keys(m)), "more")); key != "more" {
				delete(less, key)
				if Within(want, less) != Empty(m[key]) {
					r.Fatalf("%v within %v", want, less)
				}
			}
		}
		if list, ok := want.([]any); ok && (len(list) > 0 && Within(want, list[1:]) || Within(want, append(slices.Clone(list), got))) {
			r.Fatalf("%v is within a shorter or longer list", want)
		}
	})
}
