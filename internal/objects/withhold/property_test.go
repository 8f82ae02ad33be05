package withhold

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"
)

// kinds are all that something is withheld of, and one that nothing is.
func kinds() []string {
	all := []string{"ConfigMap"}
	for _, r := range rules {
		all = append(all, r.kinds...)
	}
	return all
}

// drawObject draws an object of one of the kinds, with some of the fields that matter and some that do not.
func drawObject(r *rapid.T) *unstructured.Unstructured {
	kind := schema.ParseGroupKind(rapid.SampledFrom(kinds()).Draw(r, "kind"))
	version := rapid.SampledFrom([]string{"v1", "v2"}).Draw(r, "version")
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetGroupVersionKind(kind.WithVersion(version))
	obj.SetName("a")
	obj.SetNamespace("shop")
	maybe := func(name string) bool { return rapid.Bool().Draw(r, name) }
	set := func(value any, path ...string) {
		if maybe(fmt.Sprint(path)) {
			_ = unstructured.SetNestedField(obj.Object, value, path...) // what is no map stays as it is
		}
	}
	set(map[string]any{}, "spec")
	set(maybe("true"), "spec", "suspend")
	set(int64(rapid.IntRange(0, 3).Draw(r, "n")), "spec", "replicas")
	set(rapid.SampledFrom([]string{"Delete", "Retain"}).Draw(r, "policy"), "spec", "persistentVolumeClaimRetentionPolicy", "whenScaled")
	set(map[string]any{"disk": "ssd"}, "spec", "template", "spec", "nodeSelector")
	set(map[string]any{"selectPolicy": "Max", "periods": []any{1.5}}, "spec", "behavior", "scaleUp")
	set(map[string]any{"kind": "Deployment", "apiVersion": "apps/v1", "name": "queue"}, "spec", "scaleTargetRef")
	set("192.0.2.1", "spec", "loadBalancerIP")
	set([]any{"192.0.2.1", "2001:db8::1"}, "spec", "externalIPs")
	set([]any{map[string]any{"value": "192.0.2.1"}}, "spec", "addresses")
	set([]any{map[string]any{"dnsName": "a", "recordTTL": int64(60)}}, "spec", "endpoints")
	set([]any{map[string]any{"host": "a.example.com"}}, "spec", "rules")
	set(rapid.SampledFrom([]string{"LoadBalancer", "ClusterIP"}).Draw(r, "type"), "spec", "type")
	for _, at := range [][]string{{"metadata", "annotations"}, {"metadata", "labels"}, {"spec", "infrastructure", "annotations"}} {
		texts := map[string]any{}
		for range rapid.IntRange(0, 4).Draw(r, "texts") {
			texts[drawKey(r)] = rapid.String().Draw(r, "value")
		}
		if len(texts) > 0 { // API servers keep no empty ones
			set(texts, at...)
		}
	}
	return obj
}

// drawKey draws the name of an annotation or a label.
func drawKey(r *rapid.T) string {
	return rapid.OneOf(
		rapid.SampledFrom(naming), rapid.SampledFrom(issuing), rapid.SampledFrom(addressing),
		rapid.SampledFrom([]string{
			SingletonMark, IdempotentAnnotation, "external-dns.alpha.kubernetes.io/controller", "external-dns.kubernetes.io/hostname",
			"autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas", "a~b/c~1d", "x",
		}),
	).Draw(r, "key")
}

// TestInverse: whatever an object looks like, a release gives back what withholding has taken, and withholding twice is withholding once.
func TestInverse(t *testing.T) {
	find := queue(t)
	rapid.Check(t, func(r *rapid.T) {
		obj := drawObject(r)
		before := obj.DeepCopy()
		held, err := Hold(t.Context(), obj, find)
		if err != nil {
			r.Fatal(err)
		}
		if diff := cmp.Diff(before.Object, obj.Object); diff != "" {
			r.Fatalf("the object passed in was changed:\n%s", diff)
		}
		free, err := Restore(held)
		if err != nil {
			r.Fatalf("%v: %v", err, held)
		}
		if diff := cmp.Diff(before.Object, free.Object); diff != "" {
			r.Fatalf("released (-before +after):\n%s\nwithheld: %v", diff, held.Object)
		}
		if again, err := Hold(t.Context(), held, find); err != nil || again != held {
			r.Fatalf("withheld twice, %v (-once +twice):\n%s", err, cmp.Diff(held, again))
		}
		if twice, err := Restore(free); err != nil || twice != free {
			r.Fatalf("released twice: %v", err)
		}
		if Held(held) == (held == obj) {
			r.Fatalf("held: %t, changed: %t", Held(held), held != obj)
		}
	})
}

// TestMergePatch: the patch between two objects makes one out of the other.
func TestMergePatch(t *testing.T) {
	find := func(context.Context, schema.GroupKind, string, string) (*unstructured.Unstructured, error) {
		return nil, nil
	} //nolint:nilnil // not there
	rapid.Check(t, func(r *rapid.T) {
		obj := drawObject(r)
		held, err := Hold(t.Context(), obj, find)
		if err != nil {
			r.Fatal(err)
		}
		for _, pair := range [][2]map[string]any{{obj.Object, held.Object}, {held.Object, obj.Object}} {
			got := merged(pair[0], mergePatch(pair[0], pair[1]))
			if diff := cmp.Diff(pair[1], got); diff != "" {
				r.Fatalf("(-want +got):\n%s", diff)
			}
		}
	})
}

// merged applies a patch as RFC 7386 says.
func merged(to, patch map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range to {
		out[key] = value
	}
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		switch {
		case value == nil:
			delete(out, key)
		case isMap:
			was, _ := out[key].(map[string]any)
			out[key] = merged(was, inner)
		default:
			out[key] = value
		}
	}
	return out
}
