package runbook

import (
	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// The operations that have a runbook.
const (
	OperationRollover   = step.Rollover
	OperationSwitchBack = "switch-back"
	OperationRetire     = "retire"
	OperationDeploy     = step.Deploy
	OperationPromote    = step.Promote

	operationQueue = "queue" // ahead of a deployment, as part of its run
)

// Back moves the users of an environment to its other standing generation, when no roll-over is under way. In its plan,
// Previous is the generation that the users go to.
func Back(ctx workflow.Context, in step.Start) error {
	r, err := begin(ctx, in)
	if err != nil {
		return err
	}
	return r.finish(ctx, r.switchBack(ctx, "asked for by "+in.By))
}

// Retire takes a generation without users away, when no roll-over is under way. In its plan, Previous is that generation.
func Retire(ctx workflow.Context, in step.Start) error {
	r, err := begin(ctx, in)
	if err != nil {
		return err
	}
	return r.finish(ctx, r.retire(ctx))
}
