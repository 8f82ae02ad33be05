package waiting

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/kube/ident"
)

// config is a ConfigMap of a name; its name in reports is "ConfigMap shop/NAME".
func config(name string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"large": "content"}}}
	obj.SetNamespace("shop")
	obj.SetName(name)
	return obj
}

func namesOf(off []Object) []string {
	var found []string
	for _, o := range off {
		found = append(found, o.Ref.GetName())
	}
	return found
}

func TestList(t *testing.T) {
	l := &List{}
	if l.Take() != nil && len(l.Take()) > 0 || l.Waits(config("a")) || len(l.Arrived("ConfigMap shop/a")) > 0 {
		t.Error("something waits before anything was put off")
	}
	l.Owned(config("b"), []string{"ConfigMap shop/a"}, false)
	l.Owned(config("c"), []string{"ConfigMap shop/a", "ConfigMap shop/b"}, false)
	l.Owned(config("c"), []string{"ConfigMap shop/a", "ConfigMap shop/b"}, false) // put off again by another try
	l.Owned(config("d"), []string{"Secret shop/never"}, false)
	if !l.Waits(config("b")) || l.Waits(config("a")) {
		t.Error("b waits, a does not")
	}
	if _, has := l.waiting["ConfigMap shop/b"].Ref.Object["data"]; has {
		t.Error("the content of what waits is kept")
	}
	steps := []struct {
		reason string
		got    []string
		want   []string
	}{
		{"b waits for a alone, c for b too", namesOf(l.Arrived("ConfigMap shop/a")), []string{"b"}},
		{"nobody waits for a any more", namesOf(l.Arrived("ConfigMap shop/a")), nil},
		{"what waits for none of those that wait", namesOf(l.Take()), []string{"c", "d"}},
		{"nothing is left", namesOf(l.Take()), nil},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, step.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.reason, diff)
		}
	}
	l.Failed(config("f"))
	if diff := cmp.Diff([]string{"f"}, namesOf(l.Failures())); diff != "" || len(l.Failures()) > 0 {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
}

// TestEverythingComes: whoever waits for whom, in circles too, each that waits comes out once, and after those it waits for
// unless they wait for it in turn.
func TestEverythingComes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		count := rapid.IntRange(1, 12).Draw(r, "objects")
		name := func(i int) string { return fmt.Sprintf("n%02d", i) }
		needs := map[string][]string{}
		l := &List{}
		for i := range count {
			for _, j := range rapid.SliceOfNDistinct(rapid.IntRange(0, count+2), 0, 3, rapid.ID[int]).Draw(r, "waits for") {
				if i != j {
					needs[name(i)] = append(needs[name(i)], name(j)) // some of which never come
				}
			}
			if owners := needs[name(i)]; len(owners) > 0 {
				var missing []string
				for _, owner := range owners {
					missing = append(missing, ident.Of(config(owner)))
				}
				l.Owned(config(name(i)), missing, false)
			}
		}
		waiting := maps.Clone(needs)
		come := map[string]bool{}
		broken := map[string]bool{}
		follow := func(off []Object) {
			for len(off) > 0 {
				var next []Object
				for _, o := range off {
					ref := o.Ref
					if come[ref.GetName()] {
						r.Fatalf("%s comes twice", ref.GetName())
					}
					for _, need := range needs[ref.GetName()] {
						if _, waits := waiting[need]; waits && !come[need] && !broken[ref.GetName()] {
							r.Fatalf("%s comes before %s", ref.GetName(), need)
						}
					}
					come[ref.GetName()] = true
					next = append(next, l.Arrived(ident.Of(ref))...)
				}
				off = next
			}
		}
		follow(l.Take())
		for {
			ref, owners := l.Cycle()
			if ref == nil {
				break
			}
			if len(owners) == 0 {
				r.Fatalf("%s waits for nothing", ref.GetName())
			}
			broken[ref.GetName()] = true
			follow([]Object{{Ref: ref}})
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(needs)), slices.Sorted(maps.Keys(come))); diff != "" {
			r.Fatalf("(-waited +came):\n%s", diff)
		}
		if len(l.waiting)+len(l.after) > 0 {
			r.Fatalf("left: %v, %v", l.waiting, l.after)
		}
	})
}
