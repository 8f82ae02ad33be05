package pair

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
)

// TestPeers: whatever the two clusters hold, every object meets the one of its name and no other.
func TestPeers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-c][a-c.-]{0,2}/[a-c]{1,2}`)
		list := func(label string) []string {
			names := rapid.SliceOfDistinct(name, rapid.ID[string]).Draw(t, label)
			slices.Sort(names)
			return names
		}
		ours, theirs := list("ours"), list("theirs")
		p := New(func(yield func(*unstructured.Unstructured, error) bool) {
			for _, name := range theirs {
				if !yield(named(name), nil) {
					return
				}
			}
		})
		defer p.Close()
		for _, name := range ours {
			found, err := p.Find(named(name))
			if err != nil {
				t.Fatal(err)
			}
			if (found != nil) != slices.Contains(theirs, name) || found != nil && key(found) != name {
				t.Fatalf("peer of %s: %v", name, found)
			}
		}
		if !p.Ordered() {
			t.Fatal("both lists are in order")
		}
	})
}

func named(name string) *unstructured.Unstructured {
	namespace, name, _ := strings.Cut(name, "/")
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetNamespace(namespace)
	obj.SetName(name)
	return obj
}

func TestPeersOutOfOrder(t *testing.T) {
	tests := map[string]struct {
		reason       string
		ours, theirs []string
		want         bool
	}{
		"in order": {reason: "both are", ours: []string{"a/a", "a/b"}, theirs: []string{"a/a", "a/c"}, want: true},
		"ours":     {reason: "the first cluster's are not", ours: []string{"a/b", "a/a"}, theirs: []string{"a/a", "a/b"}},
		"theirs":   {reason: "the other cluster's are not", ours: []string{"a/a", "a/b"}, theirs: []string{"a/b", "a/a"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := New(func(yield func(*unstructured.Unstructured, error) bool) {
				for _, name := range test.theirs {
					if !yield(named(name), nil) {
						return
					}
				}
			})
			defer p.Close()
			for _, name := range test.ours {
				if _, err := p.Find(named(name)); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Rest(); err != nil || p.Ordered() != test.want {
				t.Errorf("%s: %v, ordered %t", test.reason, err, p.Ordered())
			}
		})
	}
}
