package crowd_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/tools/bench/crowd"
)

func TestCrowd(t *testing.T) {
	for _, size := range []int{100, 1000, 12345} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			there, uids := map[string]bool{}, 0
			copied, large, longest, namespaces := 0, 0, 0, 0
			for stage := range crowd.Of(size).Stages() {
				var keys []string
				for obj := range stage {
					if there[obj.Key()] {
						t.Fatalf("%s is there twice", obj.Key())
					}
					keys = append(keys, obj.Key())
					if obj.Owner != "" {
						if !there[obj.Owner] {
							t.Fatalf("%s, which owns %s, is not there before it", obj.Owner, obj.Key())
						}
						obj.Owned("of-the-owner")
						if refs := obj.GetOwnerReferences(); len(refs) != 1 || refs[0].UID != "of-the-owner" || !strings.HasSuffix(obj.Owner, "/"+refs[0].Name) {
							t.Fatalf("%s has the owners %v", obj.Key(), refs)
						}
						uids++
					}
					if !obj.Made {
						copied++
					}
					if obj.GetKind() == "Namespace" {
						namespaces++
					}
					if raw, err := obj.MarshalJSON(); err != nil || !utf8.Valid(raw) {
						t.Fatal(err)
					} else if len(raw) > 1<<20 {
						large++
					}
					longest = max(longest, len(obj.GetName()))
				}
				for _, key := range keys {
					there[key] = true
				}
			}
			if copied != size || large < 1 || large > size/500+1 || longest != 253 || namespaces != size/20 || uids == 0 {
				t.Errorf("%d objects to copy, %d of them large, in %d namespaces, names of up to %d bytes, %d owned", copied, large, namespaces, longest, uids)
			}
		})
	}
}

// TestSame: measurements are of the same objects every time.
func TestSame(t *testing.T) {
	all := func() (texts []string) {
		for stage := range crowd.Of(300).Stages() {
			for obj := range stage {
				raw, err := obj.MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				texts = append(texts, string(raw))
			}
		}
		return texts
	}
	if diff := cmp.Diff(all(), all()); diff != "" {
		t.Error(diff)
	}
}

// TestNamed: shorter names are of other objects of the same kinds, and every object can be told from what is not of the crowd.
func TestNamed(t *testing.T) {
	const longest = 100
	keys, cut := map[string]bool{}, 0
	for stage := range crowd.Of(1000).Named(longest).Stages() {
		for obj := range stage {
			keys[obj.Key()] = true
			if len(obj.GetName()) > longest && !obj.Made {
				t.Errorf("%s has a name of %d bytes", obj.Key(), len(obj.GetName()))
			}
			if len(obj.GetName()) == longest {
				cut++
			}
			for key, value := range crowd.Labels() {
				if obj.GetLabels()[key] != value {
					t.Errorf("%s is not labelled %s=%s", obj.Key(), key, value)
				}
			}
		}
	}
	all := 0
	for stage := range crowd.Of(1000).Stages() {
		for range stage {
			all++
		}
	}
	if len(keys) != all || cut == 0 {
		t.Errorf("%d objects instead of %d, %d of them with the longest names", len(keys), all, cut)
	}
}
