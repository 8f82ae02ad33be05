package engine

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// TaskTimeout is how long a worker may take over one workflow task, which is milliseconds of work. A task that a killed
// worker had is given to another after this time.
const TaskTimeout = 5 * time.Second

// Workflow is what to start.
type Workflow struct {
	ID    string // also the lock: one open workflow an id
	Name  string // as registered with the worker
	Queue string // the task queue whose workers execute it
	Input any    // its one argument; JSON, at most 2 MB, no secrets
}

// Execution is one execution of a workflow.
type Execution struct {
	ID  string `json:"id"`
	Run string `json:"run"` // given by the engine; "" means the latest with the id
}

// Status is what is known about an execution.
type Status struct {
	Execution
	Name    string     `json:"name"`
	Queue   string     `json:"queue"`
	Open    bool       `json:"open"`
	Outcome string     `json:"outcome"` // Completed, Failed, Canceled, Terminated, TimedOut; Running while open
	Started time.Time  `json:"started"`
	Closed  *time.Time `json:"closed,omitempty"`
}

// Start starts a workflow. The error is of code Locked when one with the same id is open. It is safe against a lost answer:
// the workflow is started once.
func (e *Engine) Start(ctx context.Context, w Workflow) (Execution, error) {
	run, err := e.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: w.ID, TaskQueue: w.Queue, WorkflowTaskTimeout: TaskTimeout,
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy:                 enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, w.Name, w.Input)
	if err != nil {
		return Execution{}, callError(ctx, "start", w.ID, err)
	}
	return Execution{ID: run.GetID(), Run: run.GetRunID()}, nil
}

// Wait waits until the execution has ended and decodes its result into the pointer, which may be nil. When it failed, the
// error is the fault that its workflow or a step of it returned. When ctx ends first the error is of code Interrupted; the
// execution is not touched.
func (e *Engine) Wait(ctx context.Context, x Execution, result any) error {
	err := e.client.GetWorkflow(ctx, x.ID, x.Run).Get(ctx, result)
	if err == nil {
		return nil
	}
	if f := Fault(err); f != nil && ctx.Err() == nil {
		return f
	}
	return callError(ctx, "wait for", x.ID, err)
}

// Signal sends a named value to the open execution. The error is of code Invalid when it is not open.
func (e *Engine) Signal(ctx context.Context, x Execution, name string, value any) error {
	if err := e.client.SignalWorkflow(ctx, x.ID, x.Run, name, value); err != nil {
		return callError(ctx, "signal", x.ID, err)
	}
	return nil
}

// Query asks a worker of the execution and decodes the answer into the pointer.
func (e *Engine) Query(ctx context.Context, x Execution, name string, result any) error {
	value, err := e.client.QueryWorkflow(ctx, x.ID, x.Run, name)
	if err == nil {
		err = value.Get(result)
	}
	if err != nil {
		return callError(ctx, "query", x.ID, err)
	}
	return nil
}

// Cancel asks the execution to stop: the contexts of its workflow and of running steps are cancelled, and it may tidy up.
func (e *Engine) Cancel(ctx context.Context, x Execution) error {
	if err := e.client.CancelWorkflow(ctx, x.ID, x.Run); err != nil {
		return callError(ctx, "cancel", x.ID, err)
	}
	return nil
}

// Terminate ends the execution without asking it. Running steps are not undone. It is for a person who knows.
func (e *Engine) Terminate(ctx context.Context, x Execution, reason string) error {
	if err := e.client.TerminateWorkflow(ctx, x.ID, x.Run, reason); err != nil {
		return callError(ctx, "terminate", x.ID, err)
	}
	return nil
}

// Find returns the status of the execution; the zero Status when there is none, or none any more.
func (e *Engine) Find(ctx context.Context, x Execution) (Status, error) {
	reply, err := e.client.DescribeWorkflowExecution(ctx, x.ID, x.Run)
	if _, missing := errors.AsType[*serviceerror.NotFound](err); missing {
		return Status{}, nil
	} else if err != nil {
		return Status{}, callError(ctx, "look for", x.ID, err)
	}
	return status(reply.GetWorkflowExecutionInfo()), nil
}

// Open returns all open executions, the latest first. It may lag behind Start by some milliseconds.
func (e *Engine) Open(ctx context.Context) ([]Status, error) {
	var open []Status
	for token := []byte(nil); ; {
		reply, err := e.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: Namespace, Query: "ExecutionStatus = 'Running'", NextPageToken: token,
		})
		if err != nil {
			return nil, callError(ctx, "list", "open executions", err)
		}
		for _, info := range reply.GetExecutions() {
			open = append(open, status(info))
		}
		if token = reply.GetNextPageToken(); len(token) == 0 {
			return open, nil
		}
	}
}

func status(info *workflow.WorkflowExecutionInfo) Status {
	s := Status{
		Execution: Execution{ID: info.GetExecution().GetWorkflowId(), Run: info.GetExecution().GetRunId()},
		Name:      info.GetType().GetName(), Queue: info.GetTaskQueue(),
		Open:    info.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING,
		Outcome: info.GetStatus().String(), Started: info.GetStartTime().AsTime(),
	}
	if info.GetCloseTime() != nil {
		closed := info.GetCloseTime().AsTime()
		s.Closed = &closed
	}
	return s
}

// callError translates an error of a call to the engine.
func callError(ctx context.Context, verb, id string, err error) *fault.Error {
	switch {
	case ctx.Err() != nil:
		return fault.New(fault.Interrupted, "cannot %s %s: %w", verb, id, ctx.Err())
	case isA[*serviceerror.WorkflowExecutionAlreadyStarted](err):
		return fault.New(fault.Locked, "cannot %s %s: it is running already", verb, id)
	case isA[*serviceerror.NotFound](err):
		return fault.New(fault.Invalid, "cannot %s %s: no such run is open", verb, id)
	case isA[*serviceerror.InvalidArgument](err):
		return fault.New(fault.Failed, "cannot %s %s: %w", verb, id, err)
	default:
		return fault.New(fault.Unavailable, "cannot %s %s: the engine does not answer: %w", verb, id, err).
			WithHint("nothing is lost: run the command again")
	}
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
