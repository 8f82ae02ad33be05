package clean

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
)

// paths are fields that cleaners look at or take away, with what may be there; the same names are given to every kind.
var paths = map[string]*rapid.Generator[any]{
	"spec.clusterIP": texts("None", "10.0.0.1"), "spec.ipFamilyPolicy": texts("SingleStack"), "spec.volumeName": texts("disk"),
	"spec.healthCheckNodePort": texts("31000"), "spec.nodeName": texts("node"), "spec.claimRef.uid": texts("u"), "spec.claimRef.name": texts("c"),
	"spec.selector.matchLabels.a": texts("b"), "spec.manualSelector": rapid.Map(rapid.Bool(), func(b bool) any { return b }),
	"spec.template.metadata.labels.controller-uid": texts("u"), "spec.template.metadata.labels.app": texts("web"),
	"spec.ports":   rapid.Just[any]([]any{map[string]any{"port": int64(80), "nodePort": int64(30080), "unknown": "x"}}),
	"spec.volumes": rapid.Just[any]([]any{map[string]any{"name": "kube-api-access-x"}, map[string]any{"name": "data", "unknown": "x"}}),
	"spec.containers": rapid.Just[any]([]any{map[string]any{"name": "a", "unknown": "x", "volumeMounts": []any{
		map[string]any{"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
	}}}),
	"spec.caBundle": texts("eA=="), "spec.conversion.webhook.clientConfig.caBundle": texts("eA=="), "spec.preserveUnknownFields": texts("x"),
	"webhooks": rapid.Just[any]([]any{map[string]any{"name": "w", "unknown": "x", "clientConfig": map[string]any{"caBundle": "eA=="}}}),
	"secrets":  rapid.Just[any]([]any{map[string]any{"name": "a-token-x"}, map[string]any{"name": "mine", "unknown": "x"}}),
	"type":     texts("kubernetes.io/service-account-token", "Opaque"), "data.token": texts("eA=="), "data.mine": texts("eA=="),
	"rules": rapid.Just[any]([]any{map[string]any{"unknown": "x"}}), "aggregationRule.unknown": texts("x"), "status.phase": texts("Bound"),
}

func texts(values ...string) *rapid.Generator[any] {
	return rapid.Map(rapid.SampledFrom(values), func(text string) any { return text })
}

// anything draws an object of any kind with some of the fields, each in a place that the API gives it or not, and unknown ones.
func anything(r *rapid.T) *unstructured.Unstructured {
	kinds := append(slices.Sorted(maps.Keys(cleaners)), "ConfigMap", "Thing.example.com", "StatefulSet.apps")
	kind, group, _ := strings.Cut(rapid.SampledFrom(kinds).Draw(r, "kind"), ".")
	obj := &unstructured.Unstructured{Object: map[string]any{"kind": kind, "apiVersion": strings.TrimPrefix(group+"/v1", "/")}}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if rapid.Bool().Draw(r, path) {
			set(obj.Object, paths[path].Draw(r, path), strings.Split(path, ".")...)
		}
	}
	for i := range rapid.IntRange(0, 4).Draw(r, "unknown fields") {
		at := rapid.SampledFrom([]string{"", "spec.", "spec.template.", "spec.conversion.", "data.", "metadata.labels.", "metadata.annotations."}).Draw(r, "at")
		set(obj.Object, "x", strings.Split(fmt.Sprintf("%sunknown%d", at, i), ".")...)
	}
	obj.SetName("a")
	obj.SetUID("u")
	obj.SetResourceVersion("1")
	if rapid.Bool().Draw(r, "injected") {
		annotations := obj.GetAnnotations()
		obj.SetAnnotations(map[string]string{"cert-manager.io/inject-ca-from": "n/c"})
		for key, value := range annotations {
			_ = unstructured.SetNestedField(obj.Object, value, "metadata", "annotations", key)
		}
	}
	return obj
}

// set puts a value at a path, unless something that is no map is in its way.
func set(in map[string]any, value any, path ...string) {
	for _, step := range path[:len(path)-1] {
		if in[step] == nil {
			in[step] = map[string]any{}
		}
		next, ok := in[step].(map[string]any)
		if !ok {
			return
		}
		in = next
	}
	in[path[len(path)-1]] = value
}

// unknown counts the unknown fields in a value.
func unknown(value any) int {
	switch v := value.(type) {
	case map[string]any:
		n := 0
		for key, below := range v {
			if strings.HasPrefix(key, "unknown") {
				n++
				continue
			}
			n += unknown(below)
		}
		return n
	case []any:
		n := 0
		for _, below := range v {
			n += unknown(below)
		}
		return n
	}
	return 0
}

// TestProperties: cleaning twice is cleaning once, what nobody knows survives, and nothing is added.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		original := anything(r)
		before := original.DeepCopy()
		cleaned := Object(original)
		if diff := cmp.Diff(before.Object, original.Object); diff != "" {
			r.Fatalf("the original was changed:\n%s", diff)
		}
		if diff := cmp.Diff(cleaned.Object, Object(cleaned).Object); diff != "" {
			r.Fatalf("cleaning twice is not cleaning once (-once +twice):\n%s", diff)
		}
		want := unknown(original.Object)
		switch {
		case original.GetKind() == "ClusterRole" && original.Object["aggregationRule"] != nil:
			want -= unknown(original.Object["rules"]) // which are the controller's
		case original.GetKind() == "Namespace":
			want -= unknown(original.Object["spec"]) // which is the cluster's
		}
		if got := unknown(cleaned.Object); got != want {
			r.Fatalf("%d unknown fields of %d are left: %v", got, want, cleaned.Object)
		}
		if extra := added(original.Object, cleaned.Object); extra != "" {
			r.Fatalf("%s was added", extra)
		}
	})
}

// added names a field that only the second map has.
func added(before, after map[string]any) string {
	for key, value := range after {
		old, there := before[key]
		if !there {
			return key
		}
		if below, ok := value.(map[string]any); ok {
			oldBelow, _ := old.(map[string]any)
			if extra := added(oldBelow, below); extra != "" {
				return key + "." + extra
			}
		}
	}
	return ""
}
