package step

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// good records that a run has released a version of a service, by now good, into the live generation of an environment.
func (b *bench) good(t *testing.T, environment, generation, service, version, run string) {
	t.Helper()
	now := b.now()
	ok(t, b.Records.PutRun(t.Context(), record.Run{ID: run, Operation: Deploy, Environment: environment, Service: service, Started: now, Ended: &now}))
	r := record.Release{Environment: environment, Generation: generation, Service: service, Version: version, Run: run, At: now}
	ok(t, b.Records.PutRelease(t.Context(), r))
	ok(t, b.Records.MarkGood(t.Context(), r))
}

// settled is a bench without a roll-over under way, whose users are in old.
func settled(t *testing.T, edit func(*plan.Plan)) *bench {
	t.Helper()
	b := newBench(t, edit)
	ok(t, b.Finish(t.Context(), End{Run: "r1", State: record.Done}))
	b.put(t, 0)
	return b
}

// promotion is what web at sha256:2 comes from: testing, which answers at a route of its own and where it was good a minute ago.
func (b *bench) promotion(t *testing.T, gate spec.Promotion) *plan.Promotion {
	t.Helper()
	route := b.plan.Routes[0]
	route.Host = "test.example.com"
	ok(t, b.router.Apply(t.Context(), traffic.Route{Host: route.Host, Sides: []traffic.Side{{Generation: "new", Endpoints: []string{"10.0.0.2:1"}, Weight: 100}}}))
	b.good(t, "testing", "new", "web", "sha256:2", "t1")
	return &plan.Promotion{
		From: &plan.Stage{Environment: "testing", Cluster: b.plan.Cluster, Routes: []plan.Route{route}}, Since: b.now().Add(-time.Minute), Gate: gate,
	}
}

// TestPassGate: the checks are asked where the version comes from, as the users there meet it, until it was good there for long enough.
func TestPassGate(t *testing.T) {
	smoke := func(path string) []spec.Check {
		h := &spec.HTTPCheck{Route: "test.example.com", Path: path}
		return []spec.Check{{Name: "smoke", HTTP: h, Timeout: spec.Duration(50 * time.Millisecond)}}
	}
	for name, tc := range map[string]struct {
		reason  string
		gate    spec.Promotion
		between func(*testing.T, *bench) // when the check is asked
		code    fault.Code
		says    string // by the refusal, or in the end
		took    time.Duration
	}{
		"Holds":     {reason: "it holds, and was good for long", gate: spec.Promotion{Checks: smoke("/"), Soak: spec.Duration(time.Minute)}, says: "1 check holds in testing, it was good there for 1m0s"},
		"NoSoak":    {reason: "a soak need not be", gate: spec.Promotion{Checks: smoke("/")}, says: "1 check holds in testing"},
		"SoakAlone": {reason: "nor need checks", gate: spec.Promotion{Soak: spec.Duration(time.Minute)}, says: "no checks hold in testing, it was good there for 1m0s"},
		"Refused":   {reason: "a check says no", gate: spec.Promotion{Checks: smoke("/missing")}, code: fault.Refused, says: "check smoke"},
		"Replaced": {
			reason: "another version has taken its place: what is asked is not what is promoted", gate: spec.Promotion{Checks: smoke("/")},
			between: func(t *testing.T, b *bench) { b.good(t, "testing", "new", "web", "sha256:3", "t2") }, code: fault.Refused,
			says: "this version of web is not what is good in testing any more",
		},
		"Soaks": {reason: "it is waited for", gate: spec.Promotion{Checks: smoke("/"), Soak: spec.Duration(time.Minute + 100*time.Millisecond)}, says: "it was good there for 1m0.1s", took: 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			b := settled(t, nil)
			b.users(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Host != "test.example.com" {
					t.Errorf("%s was asked", r.Host)
				}
				if tc.between != nil {
					tc.between(t, b)
				}
				missing(w, r)
			})
			promotion := b.promotion(t, tc.gate)
			now := b.now()
			b.Now, promotion.Since = func() time.Time { return now }, now.Add(-time.Minute)
			id := b.beginDeploy(t, "d1", func(p *plan.Plan) { p.Promotion, p.Services = promotion, []plan.Unit{p.Deploy.Unit} })
			id.Name = "gate"
			begin := time.Now()
			err := b.PassGate(t.Context(), id)
			wantRefusal(t, tc.reason, err, tc.code, tc.says)
			if took := time.Since(begin); took < tc.took {
				t.Errorf("%s: it took %v, want at least %v", tc.reason, took, tc.took)
			}
			events := b.events(t, "d1")
			if last := events[len(events)-1]; tc.code == "" && !strings.Contains(last.Message, tc.says) {
				t.Errorf("%s: in the end it said %q, want %q", tc.reason, last.Message, tc.says)
			}
		})
	}
}

// TestVerifyStage: what runs and stays while the checks hold was verified together.
func TestVerifyStage(t *testing.T) {
	// other begins a deployment of orders at sha256:9, which goes as far as it says.
	other := func(steps ...string) func(*testing.T, *bench) {
		return func(t *testing.T, b *bench) {
			id := b.beginDeploy(t, "d2", func(p *plan.Plan) { p.Deploy.Unit.Name, p.Deploy.Unit.Version = "orders", "sha256:9" })
			for _, s := range steps {
				if s == "admit" {
					ok(t, b.Admit(t.Context(), id))
					r := record.Release{Environment: "production", Generation: "old", Service: "orders", Version: "sha256:9", Run: "d2", At: b.now()}
					ok(t, b.Records.PutRelease(t.Context(), r))
					continue
				}
				b.tell(t, "d2", s, record.StepStarted)
			}
		}
	}
	all := func(orders string) map[string]string {
		return map[string]string{"web": "sha256:2", "orders": orders, "ads": "sha256:7"}
	}
	without := map[string]string{"web": "sha256:2", "ads": "sha256:7"}
	for name, tc := range map[string]struct {
		reason          string
		before, between func(*testing.T, *bench)
		checks          []spec.Check
		want            map[string]string // nil when nothing is recorded
		code            fault.Code
	}{
		"Alone":       {reason: "everything that is good", want: all("sha256:1")},
		"Refused":     {reason: "nothing, when a check says no", checks: unserved(), code: fault.Refused},
		"Waits":       {reason: "one that waits for its turn has changed nothing", before: other(), want: all("sha256:1")},
		"Rolls":       {reason: "one that is being changed is not in it", before: other("admit", "roll"), want: without},
		"Comes":       {reason: "nor is one that begins to be changed meanwhile", between: other("admit", "roll"), want: without},
		"Verifies":    {reason: "one that is verified itself is at its next version", before: other("admit", "roll", "verify"), want: all("sha256:9")},
		"Good":        {reason: "and stays so", before: other("admit", "roll", "verify", "good"), want: all("sha256:9")},
		"Removes":     {reason: "also while the version before is removed", before: other("admit", "switch", "verify", "good", "drain", "remove"), want: all("sha256:9")},
		"RollsBack":   {reason: "unless it goes back", before: other("admit", "roll", "verify", "roll-back"), want: without},
		"GoesBack":    {reason: "unless it goes back", before: other("admit", "switch", "verify", "switch-back"), want: without},
		"BecomesGood": {reason: "one that changes from one to the other was not the same throughout", before: other("admit", "roll"), between: func(t *testing.T, b *bench) { b.tell(t, "d2", "verify", record.StepStarted) }, want: without},
	} {
		t.Run(name, func(t *testing.T) {
			b := settled(t, nil)
			b.users(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Host != "shop.example.com" {
					t.Errorf("%s was asked, and not what the users meet", r.Host)
				}
				if between := tc.between; between != nil {
					tc.between = nil
					between(t, b)
				}
				missing(w, r)
			})
			b.good(t, "production", "old", "orders", "sha256:1", "o1")
			b.good(t, "production", "old", "ads", "sha256:7", "a1")
			checks := tc.checks
			if checks == nil {
				checks = []spec.Check{{Name: "front", HTTP: &spec.HTTPCheck{Route: "shop.example.com", Path: "/"}}}
			}
			id := b.beginDeploy(t, "d1", func(p *plan.Plan) { p.Services, p.Verify = []plan.Unit{p.Deploy.Unit}, checks })
			id.Name = "verify"
			if tc.before != nil {
				tc.before(t, b)
			}
			wantCode(t, tc.reason, b.VerifyStage(t.Context(), id), tc.code)
			sets, err := b.Records.Sets(t.Context(), "production", 9)
			ok(t, err)
			if tc.want == nil {
				same(t, tc.reason, 0, len(sets))
				return
			}
			same(t, tc.reason, []record.Set{{Environment: "production", Generation: "old", Run: "d1", Versions: tc.want, At: sets[0].At}}, sets)
		})
	}
}

// beginSet begins the promotion of a set of web alone.
func (b *bench) beginSet(t *testing.T, run string) ID {
	t.Helper()
	web := plan.Deploy{Unit: plan.Unit{Name: "web", Namespace: "shop", Version: "sha256:2", Timeout: time.Minute}}
	p := plan.Plan{
		Environment: "production", Generation: "old", Cluster: b.plan.Cluster, Routes: b.plan.Routes, Services: []plan.Unit{web.Unit},
		Set: &plan.Set{Name: "shop", Deploys: []plan.Deploy{web}}, Promotion: &plan.Promotion{From: &plan.Stage{Environment: "testing"}},
	}
	ok(t, b.Begin(t.Context(), Start{Run: run, Operation: Promote, By: "me@here", Plan: p}))
	return ID{Run: run, Name: "admit", Time: 1}
}

// TestAdmitSet: while a set goes over, nothing else is deployed, and it begins when nothing is.
func TestAdmitSet(t *testing.T) {
	b := settled(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ok(t, b.Admit(ctx, b.beginDeploy(t, "d1", nil)))
	id := b.beginSet(t, "p1")
	ok(t, b.Admit(ctx, b.beginDeploy(t, "d2", nil))) // while the set still passes its gate
	b.awaits(t, "the set waits for what is being deployed", "p1", "d2", func(ctx context.Context) error { return b.AdmitSet(ctx, id) })
	third := b.beginDeploy(t, "d3", nil)
	b.awaits(t, "and from then on nothing is admitted", "d3", "p1", func(ctx context.Context) error { return b.Admit(ctx, third) })
	for _, run := range []string{"d1", "d2"} {
		ok(t, b.Finish(ctx, End{Run: run, State: record.Done}))
	}
	ok(t, b.AdmitSet(ctx, id))
	events := b.events(t, "p1")
	same(t, "it says where to", "the set shop goes to old", events[len(events)-1].Message)
	ok(t, b.Finish(ctx, End{Run: "p1", State: record.Done}))
	ok(t, b.Admit(ctx, third))
}

// TestSetSteps: a step of a set is about the service that its name says, and its versions are taken away by its own run.
func TestSetSteps(t *testing.T) {
	b := settled(t, nil)
	id := b.beginSet(t, "p1")
	ok(t, b.AdmitSet(t.Context(), id))
	ok(t, b.Records.PutRelease(t.Context(), record.Release{Environment: "production", Generation: "old", Service: "web", Version: "sha256:2", Run: "p1"}))
	ok(t, b.MarkGood(t.Context(), ID{Run: "p1", Name: "good/web", Time: 1}))
	good, err := b.Records.Good(t.Context(), "production")
	ok(t, err)
	same(t, "what is good", "sha256:2", good["web"].Version)
	wantRefusal(t, "a service that the set has not", b.MarkGood(t.Context(), ID{Run: "p1", Name: "good/orders", Time: 1}), fault.Failed, "has no service orders")
	j := b.job(t.Context())
	j.run, j.plan, err = b.load(t.Context(), "p1")
	ok(t, err)
	clears, err := j.clears(t.Context())
	ok(t, err)
	same(t, "it may take the versions before away", true, clears)
}

// TestSettleTells: the versions of a roll-over were verified together.
func TestSettleTells(t *testing.T) {
	b := newBench(t, func(p *plan.Plan) { p.Services = []plan.Unit{{Name: "web", Version: "sha256:1"}, {Name: "orders"}} })
	for _, u := range b.plan.Services {
		ok(t, b.Records.PutRelease(t.Context(), record.Release{Environment: "production", Generation: "new", Service: u.Name, Version: u.Version, Run: "r1"}))
	}
	ok(t, b.Settle(t.Context(), ID{Run: "r1", Name: "settle", Time: 1}))
	sets, err := b.Records.Sets(t.Context(), "production", 9)
	ok(t, err)
	same(t, "the set", []record.Set{{Environment: "production", Generation: "new", Run: "r1", Versions: map[string]string{"web": "sha256:1", "orders": ""}, At: sets[0].At}}, sets)
}
