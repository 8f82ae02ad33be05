package runbook

import (
	"context"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// The operations that have a runbook.
const (
	OperationRollover   = "rollover"
	OperationSwitchBack = "switch-back"
	OperationRetire     = "retire"
)

// Back moves the users of an environment to its other standing generation, when no roll-over is under way. In its plan,
// Previous is the generation that the users go to.
func Back(ctx workflow.Context, in Input) error {
	r, err := begin(ctx, in)
	if err != nil {
		return err
	}
	return r.finish(ctx, r.switchBack(ctx, "asked for by "+in.By))
}

// Retire takes a generation without users away, when no roll-over is under way. In its plan, Previous is that generation.
func Retire(ctx workflow.Context, in Input) error {
	r, err := begin(ctx, in)
	if err != nil {
		return err
	}
	return r.finish(ctx, r.retire(ctx))
}

// aside makes the plan of an operation on generations that stand. What it needs to know of the environment is in the plan of its last roll-over.
func (t *Toolbox) aside(ctx context.Context, environment, generation, previous string) (*plan.Plan, error) {
	runs, err := t.Records.Runs(ctx, environment, recent)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(runs, func(r record.Run) bool { return r.Operation == OperationRollover })
	if i < 0 {
		return nil, fault.New(fault.Invalid, "environment %s has had no roll-over", environment).WithHint("see crossfade status")
	}
	_, last, err := t.load(ctx, runs[i].ID)
	if err != nil {
		return nil, err
	}
	p := &plan.Plan{
		Environment: environment, Generation: generation, Previous: previous,
		Cluster: last.Cluster, Routes: last.Routes, Shift: last.Shift,
	}
	return p, nil
}

// Shares returns what the routers of an environment's last roll-over say: the share of each generation, in percent.
func (t *Toolbox) Shares(ctx context.Context, environment string) (map[string]int, error) {
	p, err := t.aside(ctx, environment, "", "")
	if err != nil {
		return nil, err
	}
	return t.weights(ctx, p.Routes)
}
