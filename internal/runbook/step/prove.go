package step

import (
	"context"
	"fmt"
	"time"

	"github.com/crossfade-dev/crossfade/internal/check"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Verify proves the new generation through its pre-live names. Only a generation that passed it is ever given live traffic.
func (t *Toolbox) Verify(ctx context.Context, id ID) error {
	return t.do(ctx, id, "asking the new generation as its users will", "", func(ctx context.Context, j *job) error {
		to, target, err := j.target(ctx, "")
		if err != nil {
			return err
		}
		checks := append(j.entryChecks(), j.plan.Verify...)
		results, err := check.Hold(ctx, checks, target, j.say)
		if err != nil {
			return j.explained(ctx, to, j.namespaces(), err)
		}
		j.data, j.done = results, fmt.Sprintf("%s, %s is verified", count(len(results), "check holds", "checks hold"), j.plan.Generation)
		g, err := t.Records.Generation(ctx, j.plan.Environment, j.plan.Generation)
		if err != nil {
			return err
		}
		g.Verified, g.Phase, g.Changed = true, record.Standby, t.Now()
		return t.Records.PutGeneration(ctx, g)
	})
}

// entryChecks are what must hold in any case: every route answers at its pre-live name.
func (j *job) entryChecks() []spec.Check {
	var checks []spec.Check
	for _, r := range j.plan.Routes {
		path := r.Health
		if path == "" {
			path = "/"
		}
		checks = append(checks, spec.Check{Name: "route " + r.Host, HTTP: &spec.HTTPCheck{Route: r.Host, Path: path}})
	}
	return checks
}

// namespaces are those of the plan's services.
func (j *job) namespaces() []string {
	var all []string
	seen := map[string]bool{}
	for _, u := range j.plan.Services {
		if !seen[u.Namespace] {
			seen[u.Namespace] = true
			all = append(all, u.Namespace)
		}
	}
	return all
}

// HoldGate holds the checks before the shift, for as long as the gate soaks.
func (t *Toolbox) HoldGate(ctx context.Context, id ID) error {
	return t.do(ctx, id, "holding the checks of the gate", "the checks of the gate hold", func(ctx context.Context, j *job) error {
		_, target, err := j.target(ctx, "")
		if err != nil {
			return err
		}
		if _, err := check.Hold(ctx, j.plan.Gate.Checks, target, j.say); err != nil {
			return err
		}
		return j.watch(ctx, j.plan.Gate.Checks, target, j.plan.Gate.Soak.Or(0))
	})
}

// watch asks checks, and what else there is to ask, again and again for a length of time. One that does not hold ends it, with what it said.
func (j *job) watch(ctx context.Context, checks []spec.Check, target check.Target, d time.Duration, also ...func(context.Context) error) error {
	end := time.NewTimer(d)
	defer end.Stop()
	again := time.NewTicker(watchEvery)
	defer again.Stop()
	for {
		for _, c := range checks {
			if _, err := check.Once(ctx, c, target); err != nil {
				return err
			}
		}
		for _, ask := range also {
			if err := ask(ctx); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			return nil
		case <-again.C:
		}
	}
}

// watchEvery is the time between two rounds of checks while something is watched.
const watchEvery = time.Second

// Settle records that the new generation is live and that its versions are good: they were verified in production.
func (t *Toolbox) Settle(ctx context.Context, id ID) error {
	return t.do(ctx, id, "recording what is live", "", func(ctx context.Context, j *job) error {
		p := j.plan
		j.done = p.Generation + " is live, its versions are good"
		if err := j.unscale(ctx); err != nil {
			return err
		}
		versions := map[string]string{}
		for _, u := range p.Services {
			versions[u.Name] = u.Version
			err := t.Records.MarkGood(ctx, record.Release{
				Environment: p.Environment, Generation: p.Generation, Service: u.Name, Version: u.Version, Manifests: u.Manifests, Run: id.Run, At: t.Now(),
			})
			if err != nil {
				return err
			}
		}
		set := record.Set{Environment: p.Environment, Generation: p.Generation, Run: id.Run, Versions: versions, At: t.Now()}
		if err := t.Records.PutSet(ctx, set); err != nil {
			return err
		}
		return j.phases(ctx, record.Live, record.Standby)
	})
}

// SettleBack records that the previous generation is live again.
func (t *Toolbox) SettleBack(ctx context.Context, id ID) error {
	return t.do(ctx, id, "recording what is live", "", func(ctx context.Context, j *job) error {
		j.done = j.plan.Previous + " is live again"
		if err := j.unscale(ctx); err != nil {
			j.say("the autoscalers of %s keep as many pods as the users had taken: %v", j.plan.Generation, err)
		}
		return j.phases(ctx, record.Standby, record.Live)
	})
}

// phases records where both generations of the plan are.
func (j *job) phases(ctx context.Context, next, previous record.Phase) error {
	if err := j.Records.SetPhase(ctx, j.plan.Environment, j.plan.Generation, next, j.Now()); err != nil || j.plan.Previous == "" {
		return err
	}
	return j.Records.SetPhase(ctx, j.plan.Environment, j.plan.Previous, previous, j.Now())
}
