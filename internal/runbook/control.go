package runbook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"
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

// Place is what a run has to itself: an environment, or one service of it. Runs of both may be under way side by side; which waits for
// which is seen to by their steps.
type Place struct {
	Environment string
	Service     string // empty for the environment as a whole
}

// PlaceOf is the place of the runs of a plan.
func PlaceOf(p *plan.Plan) Place { return Place{p.Environment, p.Service()} }

// id is the lock in the engine, so that one operation at a time changes a place.
func (p Place) id() string {
	if p.Service == "" {
		return "environment/" + p.Environment
	}
	return "environment/" + p.Environment + "/service/" + p.Service
}

// String is the place, for people.
func (p Place) String() string {
	if p.Service == "" {
		return "environment " + p.Environment
	}
	return p.Service + " in " + p.Environment
}

func (p Place) execution() engine.Execution { return engine.Execution{ID: p.id()} }

// of is the place of a run.
func of(r *record.Run) Place { return Place{r.Environment, r.Service} }

// executionOf is where a run is carried out: at its place, or in the queue ahead of it.
func executionOf(r *record.Run) engine.Execution {
	if r.State == record.Queued {
		return queued(of(r), r.ID)
	}
	return of(r).execution()
}

func queued(at Place, id string) engine.Execution {
	return engine.Execution{ID: at.id() + "/queue/" + id}
}

// Person names who asks, for the record: $CROSSFADE_USER where several people or a pipeline share an account, else user@host.
func Person() string {
	if said := strings.TrimSpace(os.Getenv("CROSSFADE_USER")); said != "" {
		return said
	}
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
	r.RegisterWorkflowWithOptions(Deploy, workflow.RegisterOptions{Name: OperationDeploy})
	r.RegisterWorkflowWithOptions(Promote, workflow.RegisterOptions{Name: OperationPromote})
	r.RegisterWorkflowWithOptions(Queue, workflow.RegisterOptions{Name: operationQueue})
	r.RegisterWorkflowWithOptions(Retire, workflow.RegisterOptions{Name: OperationRetire})
}

// Attend takes the right to attend the runs of a place, so that the same command in two terminals does not mix up who
// resumes what. The error is of code Locked when another living process has it.
func (c *Control) Attend(at Place) (io.Closer, error) {
	claim, err := c.Engine.Claim(at.id())
	if fault.CodeOf(err) == fault.Locked {
		return nil, fault.New(fault.Locked, "another crossfade is at work on %s", at).
			WithHint("watch it: crossfade status %s; crossfade logs RUN --follow", at.Environment)
	}
	return claim, err
}

// Start starts the operation of a plan and returns the id of its run. The error is of code Locked when its place has a
// run under way.
func (c *Control) Start(ctx context.Context, operation string, p *plan.Plan) (string, error) {
	in, err := c.begins(operation, p)
	if err != nil {
		return "", err
	}
	at := PlaceOf(p)
	_, err = c.Engine.Start(ctx, engine.Workflow{ID: at.id(), Name: operation, Queue: queue, Input: in})
	if fault.CodeOf(err) == fault.Locked {
		return "", fault.New(fault.Locked, "%s has a run under way", at).WithHint("see it with crossfade status %s", p.Environment)
	}
	return in.Run, err
}

// Queue has the deployment of a plan wait for the one under way at its place, and returns the id of its run. Of those that wait the newest goes
// on; the others end as superseded.
func (c *Control) Queue(ctx context.Context, p *plan.Plan) (string, error) {
	in, err := c.begins(OperationDeploy, p)
	if err != nil {
		return "", err
	}
	_, err = c.Engine.Start(ctx, engine.Workflow{ID: queued(PlaceOf(p), in.Run).ID, Name: operationQueue, Queue: queue, Input: in})
	return in.Run, err
}

// begins is what a new run of a plan begins with.
func (c *Control) begins(operation string, p *plan.Plan) (step.Start, error) {
	at, what := PlaceOf(p), operation
	if at.Service != "" {
		what += "-" + at.Service
	}
	id := fmt.Sprintf("%s-%s-%s", p.Environment, what, c.Tools.Now().UTC().Format("20060102T150405.000Z"))
	in := step.Start{Run: id, Operation: operation, By: Person(), Plan: *p}
	raw, err := json.Marshal(in)
	if err != nil {
		return in, fault.New(fault.Failed, "cannot write the plan: %w", err)
	}
	if len(raw) > planLimit {
		return in, fault.New(fault.Invalid, "the plan of %s has %d bytes, and the engine takes %d", p.Environment, len(raw), planLimit).
			WithHint("split the environment: its units list too many objects")
	}
	return in, nil
}

// planLimit is what the engine takes as the input of a run, in bytes, with room for its own.
const planLimit = 1_900_000

// Open returns the run that is under way at a place, or nil. One that was started a moment ago and was never worked
// for has no record yet: it is returned with its environment alone.
func (c *Control) Open(ctx context.Context, at Place) (*record.Run, error) {
	status, err := c.Engine.Find(ctx, at.execution())
	if err != nil || !status.Open {
		return nil, err
	}
	runs, err := c.Tools.Records.Runs(ctx, at.Environment, recent)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(runs, func(r record.Run) bool { return r.Ended == nil && r.Service == at.Service && r.State != record.Queued })
	if i < 0 {
		return &record.Run{Environment: at.Environment, Service: at.Service, Operation: status.Name, State: record.Running}, nil
	}
	return &runs[i], nil
}

// Queued returns the newest run that waits for the one under way at a place, or nil.
func (c *Control) Queued(ctx context.Context, at Place) (*record.Run, error) {
	runs, err := c.Tools.Records.Runs(ctx, at.Environment, recent)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(runs, func(r record.Run) bool { return r.State == record.Queued && r.Service == at.Service })
	if i < 0 {
		return nil, nil //nolint:nilnil // none waits
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

// Send asks something of a run under way.
func (c *Control) Send(ctx context.Context, r *record.Run, command Command) error {
	return c.Engine.Signal(ctx, executionOf(r), controlSignal, command)
}

// Wait waits until the run under way at a place has ended, and returns its error as one of package fault.
func (c *Control) Wait(ctx context.Context, at Place) error {
	return c.Engine.Wait(ctx, at.execution(), nil)
}

// WaitQueued is Wait for a run that Queue has started.
func (c *Control) WaitQueued(ctx context.Context, at Place, id string) error {
	return c.Engine.Wait(ctx, queued(at, id), nil)
}
