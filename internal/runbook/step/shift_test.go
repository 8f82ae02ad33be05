package step

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

func TestShareOf(t *testing.T) {
	both, first := &plan.Plan{Generation: "new", Previous: "old"}, &plan.Plan{Generation: "new"}
	for name, tc := range map[string]struct {
		plan       *plan.Plan
		generation string
		share      int
		want       int
	}{
		"New":                {both, "new", 10, 10},
		"OldHasTheRest":      {both, "old", 10, 90},
		"OldHasAll":          {both, "old", 0, 100},
		"OldHasNone":         {both, "old", 100, 0},
		"LeftOver":           {both, "older", 10, 0},
		"LeftOverInTheFirst": {first, "older", 100, 0},
		"First":              {first, "new", 100, 100},
	} {
		same(t, name, tc.want, shareOf(tc.plan, tc.generation, tc.share))
	}
}

// users starts what answers at the entry of the bench's router, for every host.
func (b *bench) users(t *testing.T, answer http.HandlerFunc) {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	b.router.entry = s.URL
}

func fine(http.ResponseWriter, *http.Request) {}

// each is the same shares on both routes of the plan.
func each(old, fresh int) map[string]map[string]int {
	w := map[string]int{"old": old, "new": fresh}
	return map[string]map[string]int{"shop.example.com": w, "api.example.com": w}
}

func TestWeigh(t *testing.T) {
	const shop, api = "shop.example.com", "api.example.com"
	shifted := each(90, 10)
	shifted[api] = map[string]int{"old": 100, "new": 0}
	cases := map[string]struct {
		reason     string
		share      int
		unverified bool
		before     int // the new generation's share
		set        func(*testing.T, *bench)
		code       fault.Code
		says       string // in the error
		want       map[string]map[string]int
		done       string // the outcome, where it is one
	}{
		"Step": {
			reason: "every route gets the share", share: 10, want: each(90, 10), done: "done shift: 10 % of the users are on new",
		},
		"All": {
			reason: "the last step", share: 100, before: 10, want: each(0, 100), done: "done shift: 100 % of the users are on new",
		},
		"Back": {
			reason: "the way back needs neither a verification nor an answer of the new generation", before: 60, unverified: true,
			set:  func(_ *testing.T, b *bench) { b.clusters.standing = nil },
			want: each(100, 0), done: "done shift: all users are on old",
		},
		"Unverified": {
			reason: "a generation that was not verified is given nobody", share: 10, unverified: true,
			code: fault.Refused, says: "new was not verified", want: each(100, 0),
		},
		"Unrecorded": {
			reason: "nor is one that nobody recorded", share: 10,
			set:  func(_ *testing.T, b *bench) { b.plan.Generation = "other"; b.replan(t) },
			code: fault.Invalid, says: "cannot find the generation other", want: each(100, 0),
		},
		"LiesAboutNew": {
			reason: "a router that says it did and did not is noticed", share: 10,
			set: func(_ *testing.T, b *bench) {
				b.router.lie = func(_ string, seen *traffic.Observed) { seen.Route.Sides[1].Weight = 0 }
			},
			code: fault.Failed, says: shop + ": the router gives new a share of 0 %, not the 10 % asked for",
		},
		"LiesAboutOld": {
			reason: "users that stay where they should not are noticed", share: 100,
			set: func(_ *testing.T, b *bench) {
				b.router.lie = func(host string, seen *traffic.Observed) {
					if host == api {
						seen.Route.Sides[0].Weight = 100
					}
				}
			},
			code: fault.Failed, says: api + ": the router gives old a share of 100 %, not the 0 % asked for",
		},
		"LosesASide": {
			reason: "a side that is gone has no share", share: 10,
			set: func(_ *testing.T, b *bench) {
				b.router.lie = func(_ string, seen *traffic.Observed) {
					if b.router.applied > 2 { // after the bench's own
						seen.Route.Sides = seen.Route.Sides[:1]
					}
				}
			},
			code: fault.Failed, says: "gives new a share of 0 %",
		},
		"LostRoute": {
			reason: "a route that is gone is not made up", share: 10,
			set:  func(t *testing.T, b *bench) { ok(t, b.router.Remove(t.Context(), api)) },
			code: fault.Failed, says: "the router has lost the route " + api, want: map[string]map[string]int{shop: {"old": 90, "new": 10}},
		},
		"ApplyFails": {
			reason: "a route that cannot be changed ends the step", share: 10,
			set: func(_ *testing.T, b *bench) {
				b.router.fail = func(call, host string) error {
					if call == "apply" && host == api {
						return fault.New(fault.Failed, "read-only")
					}
					return nil
				}
			},
			code: fault.Failed, says: "read-only", want: shifted,
		},
		"LeftOver": {
			reason: "a side that a failed run left gets nobody", share: 10,
			set: func(t *testing.T, b *bench) {
				seen := b.router.routes[shop]
				seen.Route.Sides = append(seen.Route.Sides, traffic.Side{Generation: "older"})
				b.router.routes[shop] = seen
			},
			want: map[string]map[string]int{shop: {"old": 90, "new": 10, "older": 0}, api: {"old": 90, "new": 10}},
			done: "done shift: 10 % of the users are on new",
		},
		"UsersUnserved": {
			reason: "a share under which a route does not answer is refused, and stays for the way back to take", share: 10,
			set: func(t *testing.T, b *bench) {
				b.users(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Host == api {
						w.WriteHeader(http.StatusBadGateway)
					}
				})
			},
			code: fault.Refused, says: "check route " + api, want: each(90, 10),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.users(t, fine)
			b.put(t, tc.before)
			if !tc.unverified {
				b.verify(t)
			}
			if tc.set != nil {
				tc.set(t, b)
			}
			err := b.Weigh(t.Context(), Weight{Step: ID{Run: "r1", Name: "shift", Time: 1}, Share: tc.share})
			wantCode(t, tc.reason, err, tc.code)
			if err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: the error is %q, want %q in it", tc.reason, err, tc.says)
			}
			if tc.want != nil {
				same(t, tc.reason, tc.want, b.router.weights())
			}
			if story := b.story(t); tc.done != "" && story[len(story)-1] != tc.done {
				t.Errorf("%s: the story is %v, want %q at its end", tc.reason, story, tc.done)
			}
		})
	}
}

// replan makes r1 a run of the plan as it is now.
func (b *bench) replan(t *testing.T) {
	t.Helper()
	b.Records = freshRecord(t)
	r := Start{Run: "r1", Operation: "switch-back", By: "me@here", Plan: b.plan} // records no generation
	ok(t, b.Begin(t.Context(), r))
}

// TestWeighTwice: the share that is there already is not given again.
func TestWeighTwice(t *testing.T) {
	b := newBench(t, nil)
	b.users(t, fine)
	b.put(t, 0)
	b.verify(t)
	before := b.router.applied
	for range 2 {
		ok(t, b.Weigh(t.Context(), Weight{Step: ID{Run: "r1", Name: "shift/10", Time: 1}, Share: 10}))
	}
	same(t, "changes of two routes", 2, b.router.applied-before)
	same(t, "the story", []string{"started shift/10: giving the new generation 10 % of the users", "done shift/10: 10 % of the users are on new"}, b.story(t))
}

// TestWeighWatchesLiveNames: what is watched during the shift is what the users have, not the pre-live names.
func TestWeighWatchesLiveNames(t *testing.T) {
	b := newBench(t, func(p *plan.Plan) {
		p.Routes = p.Routes[:1]
		p.Shift.Checks = []spec.Check{{Name: "basket", HTTP: &spec.HTTPCheck{Route: "shop.example.com", Path: "/basket"}}}
	})
	var asked []string
	b.users(t, func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.Host+r.URL.Path) })
	b.put(t, 0)
	b.verify(t)
	ok(t, b.Weigh(t.Context(), Weight{Step: ID{Run: "r1", Name: "shift/10", Time: 1}, Share: 10}))
	slices.Sort(asked)
	same(t, "asked", []string{"shop.example.com/", "shop.example.com/basket"}, slices.Compact(asked))
}

// TestDrain waits for requests under way, and not for ever.
func TestDrain(t *testing.T) {
	const shop, api = "shop.example.com", "api.example.com"
	cases := map[string]struct {
		reason   string
		inFlight map[string]int64 // of the old generation, by host
		ends     bool             // the requests end while it waits
		want     string
	}{
		"Idle":   {"nothing to wait for", nil, false, "done drain: old answers nothing any more"},
		"Ends":   {"requests under way come to their end", map[string]int64{shop: 2}, true, "done drain: old answers nothing any more"},
		"Bound":  {"those that do not are counted, over all routes", map[string]int64{shop: 2, api: 1}, false, "done drain: 3 requests to old went on past the bound"},
		"Others": {"the new generation's are not waited for", map[string]int64{}, false, "done drain: old answers nothing any more"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.put(t, 100)
			b.router.busy(api, "new", 7)
			for host, n := range tc.inFlight {
				b.router.busy(host, "old", n)
			}
			if tc.ends {
				var observed atomic.Int64
				b.router.lie = func(host string, seen *traffic.Observed) {
					if observed.Add(1) > 2 { // both routes are seen once before
						seen.Counts = nil
					}
				}
			}
			ok(t, b.Drain(t.Context(), ID{Run: "r1", Name: "drain", Time: 1}))
			story := b.story(t)
			same(t, tc.reason, tc.want, story[len(story)-1])
		})
	}
}

// TestDrainStopped: a wait that is stopped has no outcome.
func TestDrainStopped(t *testing.T) {
	b := newBench(t, func(p *plan.Plan) { p.Shift.Drain = spec.Duration(time.Minute) })
	b.put(t, 100)
	b.router.busy("shop.example.com", "old", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := b.Drain(ctx, ID{Run: "r1", Name: "drain", Time: 1}); err == nil || time.Since(begin) > 10*time.Second {
		t.Errorf("a drain that is stopped ends at once, with an error; got %v after %v", err, time.Since(begin))
	}
	same(t, "the story", []string{"started drain: waiting for what the old generation still answers"}, b.story(t))
}

// TestHandOverNeedsBoth: CronJobs are not let run in one generation while the other cannot be asked to stop them.
func TestHandOverNeedsBoth(t *testing.T) {
	for name, tc := range map[string]struct {
		gone string
		act  func(*Toolbox, context.Context, ID) error
	}{
		"HandOver": {"old", (*Toolbox).HandOver},
		"HandBack": {"new", (*Toolbox).HandBack},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			delete(b.clusters.standing, tc.gone)
			b.Now = func() time.Time { b.wait(patience); return b.now() } // no patience
			err := tc.act(b.Toolbox, t.Context(), ID{Run: "r1", Name: "hand-over", Time: 1})
			wantCode(t, name, err, fault.Failed)
			if want := fmt.Sprintf("cluster %s is not ready: absent", tc.gone); err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}
