package runbook

import (
	"errors"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/engine"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// Queue deploys a service when the deployment of it that is under way has ended, unless a newer one waits by then.
func Queue(ctx workflow.Context, in step.Start) error {
	r := prepare(ctx, in)
	r.notes = "queue/note"
	if err := r.call(ctx, r.tools.Enqueue, in); err != nil {
		return err
	}
	at := PlaceOf(r.plan).execution()
	if err := workflow.SignalExternalWorkflow(ctx, at.ID, "", controlSignal, Command{Name: MakeWay, By: in.By}).Get(ctx, nil); err != nil {
		r.note(ctx, "what is under way has ended already")
	}
	for {
		err := r.unless(ctx, []string{Abort}, func(ctx workflow.Context) error { return r.step(ctx, "queue", r.tools.AwaitPlace) })
		if err != nil {
			return r.finish(ctx, err)
		}
		deployment := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID: at.ID, ParentClosePolicy: enums.PARENT_CLOSE_POLICY_ABANDON, WorkflowTaskTimeout: engine.TaskTimeout,
			WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		}), OperationDeploy, in)
		err = deployment.GetChildWorkflowExecution().Get(ctx, nil)
		if taken := new(temporal.ChildWorkflowExecutionAlreadyStartedError); errors.As(err, &taken) {
			continue // by one that is not in the record yet
		}
		if err != nil {
			return r.finish(ctx, err)
		}
		return deployment.Get(ctx, nil)
	}
}
