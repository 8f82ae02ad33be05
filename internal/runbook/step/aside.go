package step

import (
	"context"
	"slices"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// recent is how many runs of an environment are looked through, the latest first, for its last roll-over.
const recent = 1000

// Aside makes the plan of an operation on generations that stand, outside of a roll-over: previous is the generation that
// users go back to, or that is retired. What it needs to know of the environment is in the plan of its last roll-over; an
// environment that has had none is an error of code Invalid.
func (t *Toolbox) Aside(ctx context.Context, environment, generation, previous string) (*plan.Plan, error) {
	runs, err := t.Records.Runs(ctx, environment, recent)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(runs, func(r record.Run) bool { return r.Operation == Rollover })
	if i < 0 {
		return nil, fault.New(fault.Invalid, "environment %s has had no roll-over", environment).WithHint("see crossfade status")
	}
	_, last, err := t.load(ctx, runs[i].ID)
	if err != nil {
		return nil, err
	}
	p := &plan.Plan{
		Environment: environment, Generation: generation, Previous: previous,
		Cluster: last.Cluster, Routes: last.Routes, Shift: last.Shift, Copy: last.Copy,
	}
	return p, nil
}

// Shares returns what the routers of an environment's last roll-over say: the share of each generation, in percent.
func (t *Toolbox) Shares(ctx context.Context, environment string) (map[string]int, error) {
	p, err := t.Aside(ctx, environment, "", "")
	if err != nil {
		return nil, err
	}
	return t.weights(ctx, p.Routes)
}
