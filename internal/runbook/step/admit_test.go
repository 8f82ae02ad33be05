package step

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// beginDeploy begins a run that deploys web into what is live, which was old when it was planned.
func (b *bench) beginDeploy(t *testing.T, run string, edit func(*plan.Plan)) ID {
	t.Helper()
	p := plan.Plan{
		Environment: "production", Generation: "old", Cluster: b.plan.Cluster, Routes: b.plan.Routes,
		Deploy: &plan.Deploy{Unit: plan.Unit{Name: "web", Namespace: "shop", Version: "sha256:2", Timeout: time.Minute}},
	}
	if edit != nil {
		edit(&p)
	}
	ok(t, b.Begin(t.Context(), Start{Run: run, Operation: Deploy, By: "me@here", Plan: p}))
	return ID{Run: run, Name: "admit", Time: 1}
}

// tell records an event of a step of a run.
func (b *bench) tell(t *testing.T, run, name string, kind record.EventKind) {
	t.Helper()
	id := ID{Run: run, Name: name, Time: 1}
	ok(t, b.record(t.Context(), id, record.Event{Kind: kind, Key: id.key(string(kind))}))
}

// awaits fails unless a step waits: it ends with its context, and has said what for.
func (b *bench) awaits(t *testing.T, reason, run, whom string, step func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- step(ctx) }()
	said := func() bool {
		events, err := b.Records.Events(t.Context(), run, 0)
		ok(t, err)
		for _, e := range events {
			if strings.HasPrefix(e.Message, "waiting for "+whom) {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(10 * time.Second); !said() && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if len(done) > 0 {
			break
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !said() {
		t.Errorf("%s: the step ended with %v, and did not wait for %s", reason, err, whom)
	}
}

// TestAdmit follows a deployment through the life of a roll-over: it waits until the users have moved, and goes where they are.
func TestAdmit(t *testing.T) {
	b := newBench(t, nil) // the roll-over r1 is under way
	ctx := t.Context()
	b.put(t, 0)
	admit := func(run string) func(context.Context) error {
		id := b.beginDeploy(t, run, nil)
		return func(ctx context.Context) error { return b.Admit(ctx, id) }
	}
	first := admit("d1")
	b.awaits(t, "from the beginning of a roll-over", "d1", "r1", first)
	b.tell(t, "r1", "settle", record.StepStarted)
	b.awaits(t, "until it has settled", "d1", "r1", first)
	b.tell(t, "r1", "settle", record.StepDone)
	b.put(t, 100)
	ok(t, first(ctx))
	same(t, "it goes to what is live at its turn, not to what was when it was planned", "new", b.run(t, "d1").Generation)
	_, p, err := b.load(ctx, "d1")
	ok(t, err)
	same(t, "and so do its other steps", "new", p.Generation)
	b.tell(t, "r1", "switch-back", record.StepStarted)
	b.awaits(t, "after a switch-back the users are about to move again", "d2", "r1", admit("d2"))
	ok(t, b.Finish(ctx, End{Run: "r1", State: record.Aborted}))
	b.put(t, 0)
	ok(t, admit("d3")(ctx))
	same(t, "a roll-over that has ended holds nobody up", "old", b.run(t, "d3").Generation)
}

// TestAdmitElsewhere: a roll-over of another environment is none of a deployment's business, nor is another deployment.
func TestAdmitElsewhere(t *testing.T) {
	b := newBench(t, func(p *plan.Plan) { p.Environment = "staging" })
	b.put(t, 0)
	for _, run := range []string{"d1", "d2"} {
		ok(t, b.Admit(t.Context(), b.beginDeploy(t, run, nil)))
	}
}

// TestAdmitNowhere: the generation may have gone while the deployment waited.
func TestAdmitNowhere(t *testing.T) {
	b := newBench(t, nil)
	ok(t, b.Finish(t.Context(), End{Run: "r1", State: record.Done}))
	delete(b.clusters.standing, "old")
	wantRefusal(t, "no live generation", b.Admit(t.Context(), b.beginDeploy(t, "d1", nil)), fault.Failed, "no live generation any more")
}

// TestAdmitKilled has an execution of Admit end after each thing that it says; the next one must know, and neither side may wait for the other
// for ever.
func TestAdmitKilled(t *testing.T) {
	cases := map[string]struct {
		reason string
		said   []string
		in     bool // whether a roll-over must wait for it in the end, when it was let in
		waits  bool // whether a roll-over is under way
	}{
		"Admitted":          {reason: "it is admitted still", said: []string{"admitted/1"}, in: true},
		"AdmittedMeanwhile": {reason: "a roll-over that came meanwhile waits for it: it steps back", said: []string{"admitted/1"}, waits: true},
		"Withdrawn":         {reason: "it must be admitted anew", said: []string{"admitted/1", "withdrawn/1"}, in: true},
		"WithdrawnAgain":    {reason: "as often as need be", said: []string{"admitted/1", "withdrawn/1", "admitted/2", "withdrawn/2"}, in: true},
		"Waits":             {reason: "it was not admitted, and waits", said: []string{"admitted/1", "withdrawn/1"}, waits: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.put(t, 0)
			id := b.beginDeploy(t, "d1", nil)
			for _, what := range tc.said {
				ok(t, b.record(t.Context(), id, record.Event{Kind: record.Progress, Key: id.key(what)}))
			}
			if tc.waits {
				b.awaits(t, tc.reason, "d1", "r1", func(ctx context.Context) error { return b.Admit(ctx, id) })
			} else {
				ok(t, b.Finish(t.Context(), End{Run: "r1", State: record.Done}))
				ok(t, b.Admit(t.Context(), id))
			}
			busy, err := b.Deploying(t.Context(), "production")
			ok(t, err)
			same(t, tc.reason, map[bool]string{true: "d1"}[tc.in], busy)
		})
	}
}

// TestAdmitNeedsItsRecord: what the other side cannot read was not said, and nothing is done upon it.
func TestAdmitNeedsItsRecord(t *testing.T) {
	b := newBench(t, func(p *plan.Plan) { p.Environment = "staging" })
	b.put(t, 0)
	id := b.beginDeploy(t, "d1", nil)
	ctx, cancel := context.WithCancel(t.Context())
	j := b.job(ctx)
	j.id = id
	cancel()
	if err := j.announceTurn(ctx, admitted, 1, "admitted"); err == nil {
		t.Error("a turn that could not be recorded was taken")
	}
}

// TestConfirmWaits: a roll-over begins when every deployment that was admitted has ended, or only keeps the version before.
func TestConfirmWaits(t *testing.T) {
	cases := map[string]struct {
		reason string
		then   func(*testing.T, *bench)
		waits  bool
	}{
		"Admitted": {reason: "it changes the service", then: func(*testing.T, *bench) {}, waits: true},
		"Drains":   {reason: "it will still remove the version before", then: func(t *testing.T, b *bench) { b.tell(t, "d1", "drain", record.StepStarted) }, waits: true},
		"Keeps":    {reason: "it has nothing more to do that matters", then: func(t *testing.T, b *bench) { b.tell(t, "d1", Kept, record.StepStarted) }},
		"Ended":    {reason: "it is over", then: func(t *testing.T, b *bench) { ok(t, b.Finish(t.Context(), End{Run: "d1", State: record.RunFailed})) }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.tell(t, "r1", "settle", record.StepDone)
			b.put(t, 100)
			ok(t, b.Admit(t.Context(), b.beginDeploy(t, "d1", nil)))
			ok(t, b.Finish(t.Context(), End{Run: "r1", State: record.Done}))
			b.begin(t, "r2")
			wait := func(ctx context.Context) error {
				j := b.job(ctx)
				j.id.Run = "r2"
				return j.awaitDeploys(ctx)
			}
			tc.then(t, b)
			if tc.waits {
				b.awaits(t, tc.reason, "r2", "d1", wait)
			} else {
				ok(t, wait(t.Context()))
			}
		})
	}
}

// schedule is when one run does what, and when the process that executes its first step is killed.
type schedule struct {
	Start, Work time.Duration
	Delays      []time.Duration // before the things that the step records or observes, in turn
	Kills       []time.Duration // after the beginning of an execution
}

func schedules(rt *rapid.T, name string) schedule {
	span := rapid.Map(rapid.IntRange(0, 900), func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond })
	return rapid.Custom(func(rt *rapid.T) schedule {
		return schedule{
			Start: span.Draw(rt, "start"), Work: span.Draw(rt, "work"),
			Delays: rapid.SliceOfN(span, 1, 6).Draw(rt, "delays"), Kills: rapid.SliceOfN(span, 0, 3).Draw(rt, "kills"),
		}
	}).Draw(rt, name)
}

// junction is where roll-overs and deployments of an environment meet. Time in it is that of a bubble.
type junction struct {
	*bench
	plan plan.Plan // of the roll-overs

	mu                  sync.Mutex
	crossing, deploying int
	wrong               []string
}

// enter counts a run in, or out, and looks whether both sides are under way.
func (c *junction) enter(crossing, deploying int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.crossing, c.deploying = c.crossing+crossing, c.deploying+deploying
	if c.crossing > 0 && c.deploying > 0 {
		c.wrong = append(c.wrong, fmt.Sprintf("%d roll-overs are past their beginning and %d deployments are admitted", c.crossing, c.deploying))
	}
}

func (c *junction) failed(run string, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.wrong = append(c.wrong, run+": "+err.Error())
	}
	return err != nil
}

// execute executes a step until it has ended, however often it is killed.
func (c *junction) execute(ctx context.Context, s schedule, step func(*Toolbox, context.Context) error) error {
	tools, looks := *c.Toolbox, 0
	tools.Now = func() time.Time {
		time.Sleep(s.Delays[looks%len(s.Delays)])
		looks++
		return time.Now()
	}
	for _, kill := range s.Kills {
		ctx, cancel := context.WithTimeout(ctx, kill)
		err := step(&tools, ctx)
		killed := ctx.Err() != nil
		cancel()
		if err == nil || !killed {
			return err
		}
	}
	return step(&tools, ctx)
}

func (c *junction) rollover(ctx context.Context, run string, s schedule) {
	time.Sleep(s.Start)
	id := ID{Run: run, Name: "plan", Time: 1}
	err := errors.Join(
		c.Begin(ctx, Start{Run: run, Operation: Rollover, Plan: c.plan}),
		c.execute(ctx, s, func(t *Toolbox, ctx context.Context) error { return t.Confirm(ctx, id) }),
	)
	if c.failed(run, err) {
		return
	}
	c.enter(1, 0)
	time.Sleep(s.Work)
	c.enter(-1, 0)
	settle := ID{Run: run, Name: "settle", Time: 1}
	err = c.record(ctx, settle, record.Event{Kind: record.StepDone, Key: settle.key("done")})
	time.Sleep(s.Start) // the soak
	c.failed(run, errors.Join(err, c.Finish(ctx, End{Run: run, State: record.Done})))
}

func (c *junction) deploy(ctx context.Context, run string, s schedule) {
	time.Sleep(s.Start)
	p := plan.Plan{Environment: c.plan.Environment, Routes: c.plan.Routes, Deploy: &plan.Deploy{Unit: plan.Unit{Name: run}}}
	id := ID{Run: run, Name: "admit", Time: 1}
	err := errors.Join(
		c.Begin(ctx, Start{Run: run, Operation: Deploy, Plan: p}),
		c.execute(ctx, s, func(t *Toolbox, ctx context.Context) error { return t.Admit(ctx, id) }),
	)
	if c.failed(run, err) {
		return
	}
	c.enter(0, 1)
	time.Sleep(s.Work)
	c.enter(0, -1)
	c.failed(run, c.Finish(ctx, End{Run: run, State: record.Done}))
}

// planFor plans a roll-over of an environment in which old is live.
func (b *bench) planFor(t *testing.T, environment string) plan.Plan {
	t.Helper()
	front := b.plan.Routes[0]
	cfg := &spec.Config{Environments: []spec.Environment{{
		Metadata: spec.Metadata{Name: environment},
		Spec: spec.EnvironmentSpec{
			Cluster: spec.Cluster{Provider: "local"}, Routes: []spec.Route{{Host: front.Host, Router: front.Router.Name, Backend: &spec.Backend{}}},
		},
	}}}
	cfg.Platform.Spec.Routers = []spec.Router{front.Router}
	p, err := plan.Make(cfg, environment, nil, plan.Observed{Now: time.Now(), Live: "old", Weights: map[string]int{"old": 100}})
	ok(t, err)
	return *p
}

// TestAdmitProperty: however roll-overs and deployments of an environment meet, and whoever is killed when, no roll-over is between its
// beginning and its switch while a deployment is admitted, and all of them come to their end.
func TestAdmitProperty(t *testing.T) {
	b := newBench(t, nil)
	ok(t, b.Finish(t.Context(), End{Run: "r1", State: record.Done}))
	b.Now = time.Now
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		c := &junction{bench: b, plan: b.planFor(t, fmt.Sprint("e", round))}
		b.router.routes[b.plan.Routes[0].Host] = traffic.Observed{Route: traffic.Route{Sides: []traffic.Side{{Generation: "old", Weight: 100}}}}
		rollovers := []schedule{schedules(rt, "rollover1"), schedules(rt, "rollover2")}
		deploys := []schedule{schedules(rt, "deploy1"), schedules(rt, "deploy2")}
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // of the bubble: as good as for ever
			defer cancel()
			var all sync.WaitGroup
			all.Go(func() { // there is one at a time
				for i, s := range rollovers {
					c.rollover(ctx, fmt.Sprintf("r%d-%d", round, i+2), s)
				}
			})
			for i, s := range deploys {
				all.Go(func() { c.deploy(ctx, fmt.Sprintf("d%d-%d", round, i), s) })
			}
			all.Wait()
		})
		if len(c.wrong) > 0 {
			rt.Fatalf("%s", strings.Join(c.wrong, "\n"))
		}
	})
}
