package runbook

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/plan"
)

// together runs independent phases side by side. The first error stops the others; it returns when all have ended.
func (r *run) together(ctx workflow.Context, phases ...phase) error {
	ctx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	var first error
	left := len(phases)
	for _, do := range phases {
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer func() { left-- }()
			if err := do(ctx); err != nil && first == nil {
				first = err
				cancel()
			}
		})
	}
	wait, stop := workflow.NewDisconnectedContext(ctx) // the phases end by their own context; this only waits for them
	defer stop()
	if err := workflow.Await(wait, func() bool { return left == 0 }); err != nil {
		return err
	}
	return first
}

// graph runs units side by side, each after all those that it needs among the given ones.
func (r *run) graph(ctx workflow.Context, units []plan.Unit, do func(workflow.Context, plan.Unit) error) error {
	var done []string
	phases := make([]phase, 0, len(units))
	for _, u := range units {
		phases = append(phases, func(ctx workflow.Context) error {
			held := func() bool {
				return !slices.ContainsFunc(u.Needs, func(n string) bool { return !slices.Contains(done, n) })
			}
			if err := workflow.Await(ctx, held); err != nil {
				return err
			}
			err := do(ctx, u)
			if err == nil {
				done = append(done, u.Name)
			}
			return err
		})
	}
	return r.together(ctx, phases...)
}
