package runbook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"time"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/engine"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// queue is the task queue of all runbooks.
const queue = "crossfade"

// Control starts runs, speaks to those under way and works for them.
type Control struct {
	Engine *engine.Engine
	Tools  *step.Toolbox
}

// recent is how many runs of an environment are looked through, the latest first, for the one that is under way.
const recent = 1000

// execution is the one of an environment: its id is the lock, so that one operation at a time changes an environment.
func execution(environment string) engine.Execution {
	return engine.Execution{ID: "environment/" + environment}
}

// Person names who asks, for the record: user@host.
func Person() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// Work executes runbooks and their steps until ctx ends, and returns when the steps under way have stopped; they are started
// again by whoever works next.
func (c *Control) Work(ctx context.Context) error {
	return c.Engine.Work(ctx, queue, func(r worker.Registry) {
		register(r)
		r.RegisterActivity(c.Tools)
	})
}

// register registers every runbook under the name of its operation.
func register(r worker.WorkflowRegistry) {
	r.RegisterWorkflowWithOptions(Rollover, workflow.RegisterOptions{Name: OperationRollover})
	r.RegisterWorkflowWithOptions(Back, workflow.RegisterOptions{Name: OperationSwitchBack})
	r.RegisterWorkflowWithOptions(Retire, workflow.RegisterOptions{Name: OperationRetire})
}

// Attend takes the right to attend an environment's runs, so that the same command in two terminals does not mix up who
// resumes what. The error is of code Locked when another living process has it.
func (c *Control) Attend(environment string) (io.Closer, error) {
	claim, err := c.Engine.Claim("environment/" + environment)
	if fault.CodeOf(err) == fault.Locked {
		return nil, fault.New(fault.Locked, "another crossfade is at work on environment %s", environment).
			WithHint("watch it: crossfade status %s; crossfade logs RUN --follow", environment)
	}
	return claim, err
}

// Start starts the operation of a plan and returns the id of its run. The error is of code Locked when the environment has a
// run under way.
func (c *Control) Start(ctx context.Context, operation string, p *plan.Plan) (string, error) {
	id := fmt.Sprintf("%s-%s-%s", p.Environment, operation, c.Tools.Now().UTC().Format("20060102T150405.000Z"))
	in := step.Start{Run: id, Operation: operation, By: Person(), Plan: *p}
	raw, err := json.Marshal(in)
	if err != nil {
		return "", fault.New(fault.Failed, "cannot write the plan: %w", err)
	}
	if len(raw) > planLimit {
		return "", fault.New(fault.Invalid, "the plan of %s has %d bytes, and the engine takes %d", p.Environment, len(raw), planLimit).
			WithHint("split the environment: its units list too many objects")
	}
	_, err = c.Engine.Start(ctx, engine.Workflow{ID: execution(p.Environment).ID, Name: operation, Queue: queue, Input: in})
	if fault.CodeOf(err) == fault.Locked {
		return "", fault.New(fault.Locked, "environment %s has a run under way", p.Environment).
			WithHint("see it with crossfade status %s", p.Environment)
	}
	return id, err
}

// planLimit is what the engine takes as the input of a run, in bytes, with room for its own.
const planLimit = 1_900_000

// Open returns the run that is under way in an environment, or nil. One that was started a moment ago and was never worked
// for has no record yet: it is returned with its environment alone.
func (c *Control) Open(ctx context.Context, environment string) (*record.Run, error) {
	status, err := c.Engine.Find(ctx, execution(environment))
	if err != nil || !status.Open {
		return nil, err
	}
	runs, err := c.Tools.Records.Runs(ctx, environment, recent)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(runs, func(r record.Run) bool { return r.Ended == nil })
	if i < 0 {
		return &record.Run{Environment: environment, Operation: status.Name, State: record.Running}, nil
	}
	return &runs[i], nil
}

// Recorded waits until a run that was started a moment ago is in the record; somebody must work for it.
func (c *Control) Recorded(ctx context.Context, id string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := c.Tools.Records.Run(ctx, id)
		if fault.CodeOf(err) != fault.Invalid {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Send asks something of the run under way in an environment.
func (c *Control) Send(ctx context.Context, environment string, command Command) error {
	return c.Engine.Signal(ctx, execution(environment), controlSignal, command)
}

// Wait waits until the run under way in an environment has ended, and returns its error as one of package fault.
func (c *Control) Wait(ctx context.Context, environment string) error {
	return c.Engine.Wait(ctx, execution(environment), nil)
}
