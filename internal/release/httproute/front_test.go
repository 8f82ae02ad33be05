package httproute_test

import (
	"context"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// TestFront shares a cluster with real controllers, and Traefik as that of its Gateway.
func TestFront(t *testing.T) {
	l := newLab(t)
	t.Run("cases", func(t *testing.T) {
		for name, run := range map[string]func(*testing.T, *lab, string){
			"life": testLife, "first": testFirst, "changed": testChanged, "unaccepted": testUnaccepted, "refuses": testRefuses, "killed": testKilled,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t, l, name)
			})
		}
	})
}

// testLife takes a service that ran without colours to the next version in steps, back, forth, and to the one after. Users are shared out as
// asked, and none of them is left alone.
func testLife(t *testing.T, l *lab, ns string) {
	l.plain(t, ns, web)
	stop := l.users(t, ns)
	b := l.run(t, "two", l.at(ns, "v2", web))

	ok(t, "stage", b.Stage)
	l.leads(t, ns, [][]string{{"web-blue=0", "web-plain=100"}, {"web-blue=0", "web-plain=300", "fixed=100"}})
	if n := l.reached(ns, "/", 200)["v1"]; n != 200 {
		t.Errorf("%d of 200 users are on the version before, want all", n)
	}
	for _, share := range []int{10, 50} {
		ok(t, "share", func(ctx context.Context) error { return b.Share(ctx, share) })
		ok(t, "share again", func(ctx context.Context) error { return b.Share(ctx, share) })
		l.shared(t, ns, share)
	}
	l.leads(t, ns, [][]string{{"web-blue=50", "web-plain=50"}, {"web-blue=150", "web-plain=150", "fixed=100"}})
	for _, c := range []colour.Colour{colour.Plain, colour.Blue} {
		refused(t, b.Front.Remove(t.Context(), c), fault.Failed, "50 % of the users are led to it")
	}
	ok(t, "back", b.Back)
	l.leads(t, ns, [][]string{{"web-blue=0", "web-plain=100"}, {"web-blue=0", "web-plain=300", "fixed=100"}})
	ok(t, "switch", b.Switch)
	l.shared(t, ns, 100)
	ok(t, "back after the switch", b.Back)
	ok(t, "switch again", b.Switch)
	await(t, "nobody is led to the version before", func() bool { return l.reached(ns, "/", 100)["v2"] == 100 })
	ok(t, "remove", func(ctx context.Context) error { return b.Remove(ctx, colour.Plain) })
	l.leads(t, ns, [][]string{{"web-blue=100"}, {"web-blue=300", "fixed=100"}})
	if l.get(t, "Service", ns, "web-plain") != nil || l.get(t, "Service", ns, "web-blue") == nil {
		t.Error("the version before still has a Kubernetes Service, or the live one has none")
	}

	b = l.run(t, "three", l.at(ns, "v3", web))
	ok(t, "stage the third", b.Stage)
	ok(t, "switch to the third", b.Switch)
	await(t, "nobody is led to the version before", func() bool { return l.reached(ns, "/", 100)["v3"] == 100 })
	ok(t, "remove the second", func(ctx context.Context) error { return b.Remove(ctx, colour.Blue) })
	l.leads(t, ns, [][]string{{"web-green=100"}, {"web-green=300", "fixed=100"}})
	stop()
}

// leads wants the rules of the route to have some backends.
func (l *lab) leads(t *testing.T, ns string, want [][]string) {
	t.Helper()
	if diff := cmp.Diff(want, l.backends(t, ns)); diff != "" {
		t.Errorf("the route leads to (-want +got):\n%s", diff)
	}
}

// shared wants the users to be shared out, within two percent of them.
func (l *lab) shared(t *testing.T, ns string, share int) {
	t.Helper()
	await(t, "Traefik has taken over the weights that it has accepted", func() bool {
		return math.Abs(float64(l.reached(ns, "/", 200)["v2"])/2-float64(share)) < 3
	})
	requests := 2000
	if share == 10 {
		requests = 10_000
	}
	got := l.reached(ns, "/", requests)
	if off := math.Abs(float64(got["v2"])/float64(requests)*100 - float64(share)); off > 2 || got["v1"]+got["v2"] != requests {
		t.Errorf("of %d users %v reach the versions, want %d %% on v2", requests, got, share)
	}
	mixed := l.reached(ns, "/mixed", 1000)
	if n := mixed["fixed"]; n != 0 || math.Abs(float64(mixed["fixedyes"])-250) > 20 {
		t.Errorf("of 1000 users %v reach the backends, want a quarter on the one that is not shared out", mixed)
	}
}
