package recent_test

import (
	"testing"

	"github.com/crossfade-dev/crossfade/internal/objects/recent"
)

func TestMap(t *testing.T) {
	m := recent.New[int, int](10)
	for i := range 1000 {
		m.Put(i, -i)
		for latest := max(0, i-9); latest <= i; latest++ {
			if value, ok := m.Get(latest); !ok || value != -latest {
				t.Fatalf("of 10 that are kept, %d is %d, %v after %d", latest, value, ok, i)
			}
		}
		if _, ok := m.Get(i - 20); ok {
			t.Fatalf("%d is still there after %d: it grows", i-20, i)
		}
	}
	m.Put(999, 5)
	if value, _ := m.Get(999); value != 5 {
		t.Errorf("the latest value of a key counts, got %d", value)
	}
	m.Put(990, 7) // may be among the old and the young at once
	m.Forget(990)
	if _, ok := m.Get(990); ok {
		t.Error("what was to be forgotten is there")
	}
	none := recent.New[int, int](0)
	none.Put(1, 1)
	if _, ok := none.Get(1); ok {
		t.Error("of nothing to be kept something is")
	}
}
