package runbook

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// TestQueue: a deployment that waits goes on, as the deployment of its place, when its turn has come; one that is aborted or superseded before
// that never begins.
func TestQueue(t *testing.T) {
	const place = "environment/production/service/web"
	for name, tc := range map[string]struct {
		reason string
		wait   error // of AwaitPlace
		abort  bool  // while it waits
		fails  error // the deployment
		want   []string
		state  record.RunState // of the run that never began; empty for one that did
	}{
		"Turn":  {reason: "it begins when it is its turn", want: []string{"enqueue", "make-way " + place, "queue", "deploy " + place}},
		"Fails": {reason: "how the deployment ends is how the run ends", fails: errNo, want: []string{"enqueue", "make-way " + place, "queue", "deploy " + place}},
		"Superseded": {
			reason: "the newest wins", wait: fault.New(fault.Locked, "superseded by r2"),
			want: []string{"enqueue", "make-way " + place, "queue"}, state: record.Superseded,
		},
		"Aborted": {reason: "a person may end it", abort: true, want: []string{"enqueue", "make-way " + place, "queue"}, state: record.Aborted},
	} {
		t.Run(name, func(t *testing.T) {
			var suite testsuite.WorkflowTestSuite
			suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
			env := suite.NewTestWorkflowEnvironment()
			env.SetTestTimeout(time.Minute)
			env.RegisterWorkflowWithOptions(Deploy, workflow.RegisterOptions{Name: OperationDeploy})
			l := newTold()
			var tools *step.Toolbox
			env.RegisterActivity(tools.Enqueue)
			env.OnActivity(tools.Enqueue, mock.Anything, mock.Anything).Return(func(context.Context, step.Start) error {
				l.add("enqueue")
				return nil
			})
			env.RegisterActivity(tools.AwaitPlace)
			env.OnActivity(tools.AwaitPlace, mock.Anything, mock.Anything).Return(func(context.Context, step.ID) error {
				l.add("queue")
				if tc.abort {
					env.SignalWorkflow(controlSignal, Command{Name: Abort, By: "me@here"})
				}
				if tc.wait != nil {
					return temporal.NewNonRetryableApplicationError(tc.wait.Error(), string(fault.CodeOf(tc.wait)), nil, "")
				}
				return nil
			})
			env.RegisterActivity(tools.Note)
			env.OnActivity(tools.Note, mock.Anything, mock.Anything).Return(nil)
			env.RegisterActivity(tools.Finish)
			env.OnActivity(tools.Finish, mock.Anything, mock.Anything).Return(func(_ context.Context, e step.End) error {
				l.end = e
				return nil
			})
			env.OnSignalExternalWorkflow(mock.Anything, mock.Anything, "", controlSignal, mock.Anything).Return(
				func(_, id, _, _ string, arg any) error {
					l.add("%s %s", arg.(Command).Name, id)
					return nil
				})
			env.OnWorkflow(OperationDeploy, mock.Anything, mock.Anything).Return(func(ctx workflow.Context, in step.Start) error {
				l.add("deploy %s", workflow.GetInfo(ctx).WorkflowExecution.ID)
				if in.Run != "r1" {
					t.Errorf("deploys as run %s, want r1", in.Run)
				}
				return tc.fails
			})
			p := deployPlan()
			env.ExecuteWorkflow(Queue, step.Start{Run: "r1", Operation: OperationDeploy, By: "me@here", Plan: p})
			err := env.GetWorkflowError()
			if diff := cmp.Diff(tc.want, l.lines); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if l.end.State != tc.state {
				t.Errorf("%s: the run ended as %q, want %q", tc.reason, l.end.State, tc.state)
			}
			if failed := tc.state != "" || tc.fails != nil; failed != (err != nil) {
				t.Errorf("%s: error %v", tc.reason, err)
			}
		})
	}
}
