package step

import (
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// gone are both routes without a side of the old generation.
func gone() map[string]map[string]int {
	w := map[string]int{"new": 100}
	return map[string]map[string]int{"shop.example.com": w, "api.example.com": w}
}

func TestQuarantine(t *testing.T) {
	const shop, api = "shop.example.com", "api.example.com"
	cases := map[string]struct {
		reason string
		share  int // of the new generation
		set    func(*testing.T, *bench)
		code   fault.Code
		says   string
		want   map[string]map[string]int
		phase  record.Phase
	}{
		"Idle": {
			reason: "one without users or requests leaves every route", share: 100, want: gone(), phase: record.Quarantined,
		},
		"HasUsers": {
			reason: "one with a share of the users stays", share: 99,
			code: fault.Refused, says: "old has 1 % of the users of " + shop, want: each(1, 99), phase: record.Live,
		},
		"HasUsersOnOneRoute": {
			reason: "also when it has them on the last route only", share: 100,
			set: func(_ *testing.T, b *bench) {
				seen := b.router.routes[api]
				seen.Route.Sides[0].Weight, seen.Route.Sides[1].Weight = 5, 95
			},
			code: fault.Refused, says: "old has 5 % of the users of " + api, phase: record.Live,
			want: map[string]map[string]int{shop: {"old": 0, "new": 100}, api: {"old": 5, "new": 95}},
		},
		"InFlight": {
			reason: "one that answers still stays", share: 100,
			set:  func(_ *testing.T, b *bench) { b.router.busy(api, "old", 3) },
			code: fault.Refused, says: "old still answers 3 requests", want: each(0, 100), phase: record.Live,
		},
		"NewIsBusy": {
			reason: "what the new one answers does not matter", share: 100,
			set:  func(_ *testing.T, b *bench) { b.router.busy(api, "new", 3) },
			want: gone(), phase: record.Quarantined,
		},
		"LastSide": {
			reason: "a route that has no other side goes", share: 100,
			set: func(t *testing.T, b *bench) {
				ok(t, b.router.Apply(t.Context(), traffic.Route{Host: api, Sides: []traffic.Side{{Generation: "old"}}}))
			},
			want: map[string]map[string]int{shop: {"new": 100}}, phase: record.Quarantined,
		},
		"NotInTheRoute": {
			reason: "a route that it is not behind is left alone", share: 100,
			set: func(t *testing.T, b *bench) {
				ok(t, b.router.Remove(t.Context(), shop))
				b.router.routes[api] = traffic.Observed{Route: traffic.Route{Host: api, Sides: []traffic.Side{{Generation: "other", Weight: 100}}}}
			},
			want: map[string]map[string]int{api: {"other": 100}}, phase: record.Quarantined,
		},
		"RouterSilent": {
			reason: "a router that cannot say is no proof", share: 100,
			set: func(_ *testing.T, b *bench) {
				b.router.fail = func(string, string) error { return fault.New(fault.Failed, "no counters") }
			},
			code: fault.Failed, says: "no counters", want: each(0, 100), phase: record.Live,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.put(t, tc.share)
			if tc.set != nil {
				tc.set(t, b)
			}
			for range 2 { // a second run changes nothing, whatever the first has come to
				err := b.Quarantine(t.Context(), ID{Run: "r1", Name: "retire/quarantine", Time: 1})
				wantRefusal(t, tc.reason, err, tc.code, tc.says)
				same(t, tc.reason, tc.want, b.router.weights())
				same(t, tc.reason, tc.phase, b.generation(t, "old").Phase)
			}
			same(t, "a quarantine deletes nothing", []string(nil), b.clusters.calls)
		})
	}
}

// wantRefusal compares an error's code and looks for words in it.
func wantRefusal(t *testing.T, reason string, err error, code fault.Code, says string) {
	t.Helper()
	wantCode(t, reason, err, code)
	if err != nil && !strings.Contains(err.Error(), says) {
		t.Errorf("%s: the error is %q, want %q in it", reason, err, says)
	}
	if code == fault.Refused && fault.HintOf(err) == "" {
		t.Errorf("%s: the error says not what to do: %v", reason, err)
	}
}

// TestQuarantineTakesThePreLiveName: a name that led to the old generation leads nowhere afterwards.
func TestQuarantineTakesThePreLiveName(t *testing.T) {
	b := newBench(t, func(p *plan.Plan) { p.Routes = p.Routes[:1] })
	b.put(t, 100)
	seen := b.router.routes["shop.example.com"]
	seen.Route.PreLive = "old"
	b.router.routes["shop.example.com"] = seen
	ok(t, b.Quarantine(t.Context(), ID{Run: "r1", Name: "retire/quarantine", Time: 1}))
	same(t, "what is behind the pre-live name", "", b.router.routes["shop.example.com"].Route.PreLive)
}

func TestDelete(t *testing.T) {
	cases := map[string]struct {
		reason string
		share  int
		set    func(*bench)
		code   fault.Code
		says   string
		calls  []string
		phase  record.Phase
	}{
		"Whole":    {reason: "the cluster goes", share: 100, calls: []string{"delete old"}, phase: record.Retired},
		"HasUsers": {reason: "never with users on it, also after a quarantine", share: 50, code: fault.Refused, says: "old has 50 %", phase: record.Live},
		"Undying": {
			reason: "what is said to be deleted and stands is noticed", share: 100, set: func(b *bench) { b.clusters.undying = true },
			code: fault.Failed, says: "cluster old was deleted and still stands: ready", calls: []string{"delete old"}, phase: record.Live,
		},
		"Absent": {
			reason: "what is gone already is gone", share: 100, set: func(b *bench) { delete(b.clusters.standing, "old") },
			calls: []string{"delete old"}, phase: record.Retired,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.put(t, tc.share)
			if tc.set != nil {
				tc.set(b)
			}
			wantRefusal(t, tc.reason, b.Delete(t.Context(), ID{Run: "r1", Name: "retire/delete", Time: 1}), tc.code, tc.says)
			same(t, tc.reason, tc.calls, b.clusters.calls)
			same(t, tc.reason, tc.phase, b.generation(t, "old").Phase)
			same(t, "the new cluster stands", cluster.Ready, b.clusters.standing["new"])
		})
	}
}

// TestStandDown: the new generation is left, also when nobody answers, for that may be why it failed.
func TestStandDown(t *testing.T) {
	b := newBench(t, nil)
	b.put(t, 0)
	b.router.fail = func(string, string) error { return errUnavailable }
	b.clusters.err = errUnavailable
	ok(t, b.StandDown(t.Context(), ID{Run: "r1", Name: "stand-down", Time: 1}))
	same(t, "phase", record.Failed, b.generation(t, "new").Phase)
	same(t, "phase of the one with the users", record.Live, b.generation(t, "old").Phase)
	same(t, "routes", each(100, 0), b.router.weights())
	if calls := b.clusters.calls; calls != nil {
		t.Errorf("it is left for debugging, but: %v", calls)
	}
}

func TestClean(t *testing.T) {
	cases := map[string]struct {
		reason string
		share  int
		code   fault.Code
		want   map[string]map[string]int
		calls  []string
		phase  record.Phase
	}{
		"Whole": {
			reason: "routes first, then the cluster", calls: []string{"delete new"}, phase: record.Retired,
			want: map[string]map[string]int{"shop.example.com": {"old": 100}, "api.example.com": {"old": 100}},
		},
		"HasUsers": {
			reason: "never with users on it", share: 10, code: fault.Refused, want: each(90, 10), phase: record.Building,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.put(t, tc.share)
			wantCode(t, tc.reason, b.Clean(t.Context(), ID{Run: "r1", Name: "clean", Time: 1}), tc.code)
			same(t, tc.reason, tc.want, b.router.weights())
			same(t, tc.reason, tc.calls, b.clusters.calls)
			same(t, tc.reason, tc.phase, b.generation(t, "new").Phase)
		})
	}
}

// TestIdleAsksAtLeastOnce: a bound that is over at once is no excuse for not looking.
func TestIdleAsksAtLeastOnce(t *testing.T) {
	b := newBench(t, nil)
	b.put(t, 100)
	b.router.busy("shop.example.com", "old", 2)
	left, err := b.job(t.Context()).idle(t.Context(), "old", time.Nanosecond)
	ok(t, err)
	if left.requests != 2 {
		t.Errorf("left %+v, want 2 requests", left)
	}
}
