package step

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// unserved is a check of a path that is answered with 404 by missing, and gives up soon.
func unserved() []spec.Check {
	h := &spec.HTTPCheck{Route: "shop.example.com", Path: "/missing"}
	return []spec.Check{{Name: "basket", HTTP: h, Timeout: spec.Duration(50 * time.Millisecond)}}
}

func missing(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/missing" {
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestVerify(t *testing.T) {
	cases := map[string]struct {
		reason string
		checks []spec.Check
		code   fault.Code
		want   record.Generation
		last   string
	}{
		"Holds": {
			reason: "a generation whose checks hold is verified, and may be given users",
			want:   record.Generation{Phase: record.Standby, Verified: true}, last: "done verify: 2 checks hold, new is verified",
		},
		"DoesNotHold": {
			reason: "one whose checks do not is not", checks: unserved(), code: fault.Refused,
			want: record.Generation{Phase: record.Building},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(p *plan.Plan) { p.Verify = tc.checks })
			var live atomic.Int64
			b.users(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Host == "shop.example.com" || r.Host == "api.example.com" {
					live.Add(1)
				}
				missing(w, r)
			})
			err := b.Verify(t.Context(), ID{Run: "r1", Name: "verify", Time: 1})
			wantCode(t, tc.reason, err, tc.code)
			g := b.generation(t, "new")
			same(t, tc.reason, []any{tc.want.Phase, tc.want.Verified}, []any{g.Phase, g.Verified})
			same(t, "requests at names that the users have", int64(0), live.Load())
			if story := b.story(t); tc.last != "" {
				same(t, tc.reason, tc.last, story[len(story)-1])
			}
		})
	}
}

func TestEntryChecks(t *testing.T) {
	b := newBench(t, func(p *plan.Plan) { p.Routes[1].Health = "/healthz" })
	same(t, "every route is asked, at its health path where it has one", []spec.Check{
		{Name: "route shop.example.com", HTTP: &spec.HTTPCheck{Route: "shop.example.com", Path: "/"}},
		{Name: "route api.example.com", HTTP: &spec.HTTPCheck{Route: "api.example.com", Path: "/healthz"}},
	}, b.job(t.Context()).entryChecks())
}

func TestNamespaces(t *testing.T) {
	b := newBench(t, func(p *plan.Plan) {
		p.Services = []plan.Unit{{Namespace: "shop"}, {Namespace: "crm"}, {Namespace: "shop"}}
	})
	same(t, "each once, in order", []string{"shop", "crm"}, b.job(t.Context()).namespaces())
}

// TestHoldGate: what holds when the gate is reached must go on to hold while it soaks.
func TestHoldGate(t *testing.T) {
	cases := map[string]struct {
		reason string
		soak   time.Duration
		holds  int64 // how many answers are good
		code   fault.Code
	}{
		"Holds":            {"a gate lets pass what holds", 20 * time.Millisecond, 1000, ""},
		"NotAtFirst":       {"a check that never holds ends it", 0, 0, fault.Refused},
		"NotForLong":       {"one that stops to hold ends it", time.Minute, 1, fault.Refused},
		"NotInALaterRound": {"also in a later round", time.Minute, 2, fault.Refused},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(p *plan.Plan) { p.Gate = spec.Gate{Checks: unserved(), Soak: spec.Duration(tc.soak)} })
			var asked atomic.Int64
			b.users(t, func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) > tc.holds {
					missing(w, r)
				}
			})
			begin := time.Now()
			wantCode(t, tc.reason, b.HoldGate(t.Context(), ID{Run: "r1", Name: "gate", Time: 1}), tc.code)
			if took := time.Since(begin); tc.code == "" && took < tc.soak || took > 30*time.Second {
				t.Errorf("%s: it took %v of a soak of %v", tc.reason, took, tc.soak)
			}
		})
	}
}

// TestTargetOriginal: checks may ask for the generation before where there is one, and for what of it was copied.
func TestTargetOriginal(t *testing.T) {
	copied := &plan.Copy{Rules: spec.Copy{WithReferences: true}, Owned: []string{"ConfigMap shop/a"}}
	for name, tc := range map[string]struct {
		reason string
		copied *plan.Copy
	}{"First": {"there is none", nil}, "Later": {"the rules are those of the copy", copied}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(p *plan.Plan) { p.Copy = tc.copied })
			ok(t, b.do(t.Context(), ID{Run: "r1", Name: "gate", Time: 1}, "", "", func(ctx context.Context, j *job) error {
				_, target, err := j.target(ctx, "")
				if err != nil || (target.Original == nil) != (tc.copied == nil) {
					t.Fatalf("%s: %v, %v", tc.reason, target.Original == nil, err)
				}
				if tc.copied == nil {
					return nil
				}
				from, rules, err := target.Original(ctx)
				if err != nil || from.Access() != b.clusters.access {
					t.Errorf("%s: %v, %v", tc.reason, from, err)
				}
				if diff := cmp.Diff(decide.Rules{Copy: copied.Rules, Owned: copied.Owned}, rules); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
				}
				return nil
			}))
		})
	}
}

// TestSettle records who is live, there and back and there again; only what was live becomes good.
func TestSettle(t *testing.T) {
	b := newBench(t, func(p *plan.Plan) {
		p.Services = []plan.Unit{{Name: "web", Version: "1.5"}, {Name: "api", Version: "2.1"}}
	})
	ctx := t.Context()
	for _, u := range b.plan.Services {
		r := record.Release{Environment: "production", Generation: "new", Service: u.Name, Version: u.Version, Run: "r1", At: b.now()}
		ok(t, b.Records.PutRelease(ctx, r))
	}
	good := func() map[string]string {
		releases, err := b.Records.Good(ctx, "production")
		ok(t, err)
		versions := map[string]string{}
		for name, r := range releases {
			versions[name] = r.Version
		}
		return versions
	}
	phases := func() []record.Phase {
		return []record.Phase{b.generation(t, "old").Phase, b.generation(t, "new").Phase}
	}
	same(t, "what was never live is not good", map[string]string{}, good())
	for i, name := range []string{"settle", "switch-back/settle", "settle"} {
		id := ID{Run: "r1", Name: name, Time: 1 + i/2}
		act, want := b.Settle, []record.Phase{record.Standby, record.Live}
		if name != "settle" {
			act, want = b.SettleBack, []record.Phase{record.Live, record.Standby}
		}
		for range 2 {
			ok(t, act(ctx, id))
			same(t, name, want, phases())
			same(t, name+": versions that were verified in production stay good", map[string]string{"web": "1.5", "api": "2.1"}, good())
		}
	}
}

// TestSettleUnreleased: a version that nobody released is not made good.
func TestSettleUnreleased(t *testing.T) {
	b := newBench(t, func(p *plan.Plan) { p.Services = []plan.Unit{{Name: "web", Version: "1.5"}} })
	wantCode(t, "settle", b.Settle(t.Context(), ID{Run: "r1", Name: "settle", Time: 1}), fault.Invalid)
	same(t, "phase", record.Live, b.generation(t, "old").Phase)
}
