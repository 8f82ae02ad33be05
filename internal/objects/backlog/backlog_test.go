package backlog

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
)

var configs = kube.Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, Kind: "ConfigMap", Namespaced: true}

// changed is a change of a ConfigMap of a name.
func changed(name string) kube.Change {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
	obj.SetNamespace("shop")
	obj.SetName(name)
	return kube.Change{Object: obj}
}

// TestNext: of each object the latest change is carried over, until it is done; one that comes meanwhile is not lost.
func TestNext(t *testing.T) {
	b := New()
	first, second, meanwhile := changed("a"), changed("a"), changed("a")
	b.Add(configs, first)
	b.Add(configs, second)
	var tried []int
	next := func(do func(c Change), done bool) {
		t.Helper()
		open := b.Next(func(c Change, tries int) (bool, bool) {
			tried = append(tried, tries)
			do(c)
			return done, true
		})
		if !open {
			t.Fatal("closed")
		}
	}
	next(func(c Change) {
		if c.Object != second.Object || c.Resource.Kind != "ConfigMap" {
			t.Error("an earlier change is carried over")
		}
	}, false)
	next(func(c Change) { // after a pause
		if c.Object != second.Object {
			t.Error("what was not done is not tried again")
		}
		b.Add(configs, meanwhile)
	}, true)
	if lag := b.Lag(); lag.Changes != 1 || lag.Waiting != 1 {
		t.Errorf("one was carried over and one came meanwhile: %+v", lag)
	}
	next(func(c Change) {
		if c.Object != meanwhile.Object {
			t.Error("what came meanwhile is lost")
		}
	}, true)
	if diff := cmp.Diff([]int{0, 1, 0}, tried); diff != "" {
		t.Errorf("tries (-want +got):\n%s", diff)
	}
	b.Close()
	if b.Next(func(Change, int) (bool, bool) { t.Error("there is nothing left"); return true, true }) {
		t.Error("not closed")
	}
}

// TestLag: what is told counts from the first change that was not carried over, and is forgotten when it was told.
func TestLag(t *testing.T) {
	b := New()
	if diff := cmp.Diff(Lag{}, b.Lag()); diff != "" {
		t.Errorf("at the beginning (-want +got):\n%s", diff)
	}
	for _, name := range []string{"a", "b", "b", "c"} {
		b.Add(configs, changed(name))
	}
	began := b.latest["ConfigMap shop/b"].seen
	b.Add(configs, changed("b"))
	if b.latest["ConfigMap shop/b"].seen != began {
		t.Error("a later change hides how long the first has waited")
	}
	for _, wrote := range []bool{true, false} {
		b.Next(func(Change, int) (bool, bool) { return true, wrote })
	}
	lag := b.Lag()
	if lag.Changes != 1 || lag.Waiting != 1 || lag.Oldest <= 0 {
		t.Errorf("one was written, one was so already, one waits: %+v", lag)
	}
	b.Next(func(Change, int) (bool, bool) { return true, false })
	if diff := cmp.Diff(Lag{}, b.Lag()); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
}

func TestTimes(t *testing.T) {
	times := newTimes()
	for i := range 100 {
		times.add(time.Duration(i+1) * time.Millisecond)
	}
	times.add(time.Hour) // longer than can be told
	lag := times.take()
	near := func(got, want time.Duration) bool { return got >= want*99/100 && got <= want*101/100 }
	if lag.Changes != 101 || !near(lag.P50, 51*time.Millisecond) || !near(lag.P99, 100*time.Millisecond) || !near(lag.Max, 10*time.Minute) {
		t.Errorf("%+v", lag)
	}
}
