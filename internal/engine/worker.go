package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

const (
	beat        = time.Second     // between the heartbeats of a running step
	beatTimeout = 5 * time.Second // without a heartbeat, until a step is given to another worker
	// stickyTimeout is how long a workflow task waits for the worker that has the workflow in memory, before any may take it.
	stickyTimeout = time.Second
	// deadlock is how long workflow code may compute at a stretch. The default of 1 s is exceeded on a busy machine.
	deadlock  = 4 * time.Second
	stopLimit = 5 * time.Second // for running steps to notice that the worker ends
)

// Step returns the options of a step that may take the given time in all, with every repetition. A step is repeated when it
// failed with code Unavailable, when its worker was killed (about five seconds later), and when its worker ended (at once).
func Step(limit time.Duration) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		ScheduleToCloseTimeout: limit,
		HeartbeatTimeout:       beatTimeout,
		// A cancelled step gets to its end before the workflow goes on: nothing is written behind its back.
		WaitForCancellation: true,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 1.5, MaximumInterval: 5 * time.Second,
		},
	}
}

// Work executes workflows and steps of the task queue until ctx ends; it returns nil then, after the running steps have ended
// (their contexts are cancelled) but within seconds. The function registers workflows and steps. Steps return faults; their
// heartbeats are taken care of, a panic in one is a fault of code Failed, and no step runs twice at a time in one process.
func (e *Engine) Work(ctx context.Context, queue string, register func(worker.Registry)) error {
	background, cancel := context.WithCancel(context.Background())
	defer cancel()
	fatal := make(chan error, 1)
	w := worker.New(e.client, queue, worker.Options{
		BackgroundActivityContext: background, WorkerStopTimeout: stopLimit,
		StickyScheduleToStartTimeout: stickyTimeout, DeadlockDetectionTimeout: deadlock,
		MaxHeartbeatThrottleInterval: beat, DefaultHeartbeatThrottleInterval: beat,
		Interceptors: []interceptor.WorkerInterceptor{&steps{stopping: background, running: map[string]chan struct{}{}}},
		OnFatalError: func(err error) { fatal <- err },
	})
	register(w)
	if err := w.Start(); err != nil {
		return callError(ctx, "work on", queue, err)
	}
	defer w.Stop()
	defer cancel() // before Stop, so that running steps end now
	select {
	case <-ctx.Done():
		return nil
	case err := <-fatal:
		return callError(ctx, "work on", queue, err)
	}
}

// steps wraps every step and workflow of a worker.
type steps struct {
	interceptor.WorkerInterceptorBase
	stopping context.Context //nolint:containedctx // its end says that the worker ends

	mu      sync.Mutex
	running map[string]chan struct{} // closed at the end of the step
}

// InterceptActivity wraps a step.
func (s *steps) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &step{ActivityInboundInterceptorBase: interceptor.ActivityInboundInterceptorBase{Next: next}, steps: s}
}

// InterceptWorkflow wraps a workflow.
func (s *steps) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &workflowErrors{interceptor.WorkflowInboundInterceptorBase{Next: next}}
}

// enter waits until no other attempt at the same step runs in this process, which can be when an attempt was given up because
// its heartbeats came late and it has not noticed yet. The returned function ends the attempt.
func (s *steps) enter(ctx context.Context, key string) (leave func(), err error) {
	for {
		s.mu.Lock()
		other, busy := s.running[key]
		if !busy {
			done := make(chan struct{})
			s.running[key] = done
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.running, key)
				close(done)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type step struct {
	interceptor.ActivityInboundInterceptorBase
	steps *steps
}

// ExecuteActivity runs one attempt at a step.
func (s *step) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (result any, err error) {
	stop := heartbeats(ctx)
	defer stop()
	info := activity.GetInfo(ctx)
	leave, err := s.steps.enter(ctx, info.WorkflowExecution.RunID+"/"+info.ActivityID)
	if err != nil {
		return nil, s.outcome(ctx, err)
	}
	defer leave()
	defer func() {
		if p := recover(); p != nil {
			activity.GetLogger(ctx).Error("a step panicked", "panic", p, "stack", string(debug.Stack()))
			result, err = nil, toTemporal(fault.New(fault.Failed, "cannot finish step %s: internal error: %v", info.ActivityType.Name, p))
		}
	}()
	result, err = s.Next.ExecuteActivity(ctx, in)
	return result, s.outcome(ctx, err)
}

// outcome translates the error of a step. One that failed while its worker was ending is tried again by the next worker; one
// that failed after it was cancelled has done as it was told.
func (s *step) outcome(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case s.steps.stopping.Err() != nil:
		return application(fmt.Sprintf("interrupted: %v", err), fault.Unavailable, "", interruptedDelay)
	case errors.Is(ctx.Err(), context.Canceled):
		return temporal.NewCanceledError()
	default:
		return toTemporal(err)
	}
}

// heartbeats tells the engine every second that the step is running, until the returned function is called. In return the
// engine tells when the step was cancelled, and the SDK cancels the step's context.
func heartbeats(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	})
	return func() { close(done); beating.Wait() }
}

type workflowErrors struct {
	interceptor.WorkflowInboundInterceptorBase
}

// ExecuteWorkflow runs a workflow and translates its error.
func (w *workflowErrors) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	result, err := w.Next.ExecuteWorkflow(ctx, in)
	return result, toTemporal(err)
}
