package step

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/check"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/history"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// Promote is the name of the operation that brings a set of services into a stage together.
const Promote = "promote"

// PassGate holds the checks that stand before a promotion in the stage that is promoted from, until the version has been good there for as long as was
// asked. A stage whose users meet another version by then says nothing about this one, and refuses it.
func (t *Toolbox) PassGate(ctx context.Context, id ID) error {
	return t.do(ctx, id, "holding the gate of the promotion", "", func(ctx context.Context, j *job) error {
		p := j.plan.Promotion
		before := &job{Toolbox: t, id: id, run: j.run, ctx: j.ctx, plan: &plan.Plan{
			Environment: p.From.Environment, Prefix: p.From.Prefix, Cluster: p.From.Cluster, Routes: p.From.Routes,
		}}
		var target check.Target
		if len(p.Gate.Checks) > 0 {
			if err := before.standing(ctx, j.plan.Services); err != nil {
				return err
			}
			seen, err := before.look(ctx)
			if err != nil {
				return err
			}
			before.plan.Generation = seen.Live
			if _, target, err = before.target(ctx, ""); err != nil {
				return err
			}
			target.Route = before.entry(live)
			results, err := check.Hold(ctx, p.Gate.Checks, target, j.say)
			if err != nil {
				return err
			}
			j.data = results
		}
		left := max(0, p.Since.Add(p.Gate.Soak.Or(0)).Sub(j.Now()))
		if left > 0 {
			j.say("good in %s since %s: %v to go", p.From.Environment, p.Since.Local().Format("15:04:05"), left.Round(1e9))
		}
		if err := before.watch(ctx, p.Gate.Checks, target, left); err != nil {
			return err
		}
		j.done = fmt.Sprintf("%s in %s", count(len(p.Gate.Checks), "check holds", "checks hold"), p.From.Environment)
		if p.Gate.Soak > 0 {
			j.done += fmt.Sprintf(", it was good there for %v", p.Gate.Soak.Or(0))
		}
		if len(p.Gate.Checks) == 0 {
			return nil
		}
		return before.standing(ctx, j.plan.Services)
	})
}

func count(n int, one, more string) string {
	switch n {
	case 0:
		return "no " + more
	case 1:
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// standing refuses units of which another version runs in the plan's environment.
func (j *job) standing(ctx context.Context, units []plan.Unit) error {
	for _, u := range units {
		past, err := history.ReadLive(ctx, j.Records, j.plan.Environment, u.Name)
		if err != nil {
			return err
		}
		if r, ok := past.Stands(); !ok || r.Version != u.Version {
			return fault.New(fault.Refused, "this version of %s is not what is good in %s any more", u.Name, j.plan.Environment).
				WithHint("promote what is: crossfade history %s %s", u.Name, j.plan.Environment)
		}
	}
	return nil
}

// AdmitSet waits until no service is being deployed into the environment, and finds out which generation is live then. From its beginning to the end
// of the run no deployment is admitted.
func (t *Toolbox) AdmitSet(ctx context.Context, id ID) error {
	return t.do(ctx, id, "waiting for its turn", "", func(ctx context.Context, j *job) error {
		if err := j.awaitDeploys(ctx); err != nil {
			return err
		}
		return j.aim(ctx)
	})
}

// VerifyStage holds the checks of a stage as its users meet it, and records which versions of its services they have proved together.
func (t *Toolbox) VerifyStage(ctx context.Context, id ID) error {
	return t.do(ctx, id, "asking the whole stage", "", func(ctx context.Context, j *job) error {
		before, err := j.steady(ctx)
		if err != nil {
			return err
		}
		c, target, err := j.target(ctx, "")
		if err != nil {
			return err
		}
		target.Route = j.entry(live)
		results, err := check.Hold(ctx, j.plan.Verify, target, j.say)
		if err != nil {
			return j.explained(ctx, c, j.namespaces(), err)
		}
		after, err := j.steady(ctx)
		if err != nil {
			return err
		}
		maps.DeleteFunc(after, func(service, version string) bool { return before[service] != version })
		j.data = results
		j.done = fmt.Sprintf("%s, %s verified together: %s", count(len(results), "check holds", "checks hold"),
			count(len(after), "service was", "services were"), strings.Join(slices.Sorted(maps.Keys(after)), ", "))
		return j.Records.PutSet(ctx, record.Set{
			Environment: j.plan.Environment, Generation: j.plan.Generation, Run: j.run.ID, Versions: after, At: j.Now(),
		})
	})
}

// steady is the version at which each service of the live generation runs and stays: what is being changed is not in it.
func (j *job) steady(ctx context.Context) (map[string]string, error) {
	good, err := j.Records.Good(ctx, j.plan.Environment)
	if err != nil {
		return nil, err
	}
	changing, err := j.changing(ctx)
	if err != nil {
		return nil, err
	}
	steady := map[string]string{}
	for _, u := range j.plan.Services {
		steady[u.Name] = u.Version
	}
	for name := range good {
		if _, mine := steady[name]; mine {
			continue
		}
		past, err := history.ReadLive(ctx, j.Records, j.plan.Environment, name)
		if err != nil {
			return nil, err
		}
		switch run, is := changing[name]; {
		case is && len(past.All) > 0 && past.All[0].Run == run.ID && run.placed:
			steady[name] = past.All[0].Version
		case is:
		default:
			if r, ok := past.Stands(); ok {
				steady[name] = r.Version
			}
		}
	}
	return steady, nil
}

// change is a run that changes a service.
type change struct {
	ID     string
	placed bool // the next version is in its place, and is being verified
}

// changing lists the services of the environment that other runs change now.
func (j *job) changing(ctx context.Context) (map[string]change, error) {
	runs, err := j.open(ctx, Deploy)
	if err != nil {
		return nil, err
	}
	all := map[string]change{}
	for _, r := range runs {
		if r.ID == j.run.ID {
			continue
		}
		said, err := j.admission(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		if !said.in {
			continue
		}
		events, err := j.Records.Events(ctx, r.ID, 0)
		if err != nil {
			return nil, err
		}
		c := change{ID: r.ID}
		for _, e := range events {
			if e.Kind == record.StepStarted {
				c.placed = e.Step == "verify" || c.placed && e.Step != "switch-back" && e.Step != "roll-back"
			}
		}
		all[r.Service] = c
	}
	return all, nil
}
