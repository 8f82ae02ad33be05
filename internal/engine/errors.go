package engine

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// interruptedDelay is how soon a step is tried again that stopped because its worker ended.
const interruptedDelay = 10 * time.Millisecond

// toTemporal translates an error that a step or a workflow returns into one that Temporal keeps: the code as its type, the hint
// as its detail. Only code Unavailable is tried again. What Temporal made itself, cancellations included, passes as it is.
func toTemporal(err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return application(err.Error(), f.Code, fault.HintOf(err), 0)
	}
	if ofTemporal(err) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return temporal.NewCanceledError()
	}
	return application(err.Error(), fault.Failed, "", 0)
}

// ofTemporal reports whether the error has a meaning to Temporal as it is.
func ofTemporal(err error) bool {
	return isA[*temporal.ApplicationError](err) || isA[*temporal.ActivityError](err) || isA[*temporal.CanceledError](err) ||
		isA[*temporal.TimeoutError](err) || isA[*temporal.ChildWorkflowExecutionError](err) || isA[*workflow.ContinueAsNewError](err)
}

func application(message string, code fault.Code, hint string, delay time.Duration) error {
	return temporal.NewApplicationErrorWithOptions(message, string(code), temporal.ApplicationErrorOptions{
		NonRetryable: code != fault.Unavailable, Details: []any{hint}, NextRetryDelay: delay,
	})
}

// Fault returns what a person should see of an error that came out of Temporal: of a step inside a workflow, or of a workflow.
// It is nil for nil and for errors that say nothing about a step or a workflow, such as a lost connection.
func Fault(err error) *fault.Error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if a, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return applicationFault(a)
	}
	if t, ok := errors.AsType[*temporal.TimeoutError](err); ok {
		return fault.New(fault.Failed, "%s ran out of time (%s)", failedStep(err), t.TimeoutType())
	}
	if isA[*temporal.CanceledError](err) {
		return fault.New(fault.Interrupted, "%s was cancelled", failedStep(err))
	}
	if isA[*temporal.TerminatedError](err) {
		return fault.New(fault.Failed, "the run was terminated")
	}
	if p, ok := errors.AsType[*temporal.PanicError](err); ok {
		return fault.New(fault.Failed, "%s crashed: %s", failedStep(err), p.Error())
	}
	return nil
}

func applicationFault(a *temporal.ApplicationError) *fault.Error {
	f := fault.New(fault.Failed, "%s", a.Message())
	switch code := fault.Code(a.Type()); code {
	case fault.Failed, fault.Unavailable, fault.Invalid, fault.Refused, fault.Undecided, fault.Locked, fault.Interrupted:
		f.Code = code
	}
	var hint string
	if a.HasDetails() && a.Details(&hint) == nil {
		f.Hint = hint
	}
	return f
}

func failedStep(err error) string {
	if a, ok := errors.AsType[*temporal.ActivityError](err); ok {
		return "step " + a.ActivityType().GetName()
	}
	return "the run"
}
