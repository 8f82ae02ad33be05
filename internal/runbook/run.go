// Package runbook holds the procedures, each readable as a list of steps, and what starts and steers them. A procedure runs in
// the durable engine and has no effect but by the steps that it calls, which are in package step.
package runbook

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/engine"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// The commands that a person may send to a run.
const (
	Approve    = "approve"
	Abort      = "abort"
	SwitchBack = "switch-back"
	RetireNow  = "retire"
	MakeWay    = "make-way" // of the next run of a place: what only keeps the way back open need not go on
)

// controlSignal is the name of the signal that carries commands.
const controlSignal = "control"

// Command is what a person asks of a run under way.
type Command struct {
	Name  string `json:"name"`
	By    string `json:"by"`              // user@host
	Clean bool   `json:"clean,omitempty"` // with abort: remove the new generation
}

// phase is a part of a procedure.
type phase func(workflow.Context) error

// run is a procedure under way: its plan, what people asked of it, and how it will be recorded. Its state is derived from the
// engine's history alone.
type run struct {
	in       step.Start
	plan     *plan.Plan
	tools    *step.Toolbox // never called here: it only names the activities
	times    map[string]int
	accepts  []string // the commands that interrupt the phase under way
	cancel   workflow.CancelFunc
	command  Command  // the command that interrupted a phase
	crowded  bool     // the next run of the place waits
	notes    string   // names the remarks of this procedure among those of its run
	waiting  bool     // for an approval
	barred   []string // who must not give it
	approve  bool
	approver string
	outcome  record.RunState // "" to derive it from the error

	following phase // ends the following that is under way; nil when there is none
}

// interrupted is the error of a phase that a person's command ended.
type interrupted struct{ Command }

// Error says which command ended the phase and who sent it; people read it as the reason why the run ended.
func (e interrupted) Error() string { return fmt.Sprintf("%s was asked for by %s", e.Name, e.By) }

// faultOf returns what a person should see of an error in a procedure.
func faultOf(err error) *fault.Error {
	var asked interrupted
	if errors.As(err, &asked) {
		return fault.New(fault.Failed, "%w", asked)
	}
	if f := engine.Fault(err); f != nil {
		return f
	}
	return fault.New(fault.Failed, "%w", err)
}

// begin records the run and starts to listen to commands.
func begin(ctx workflow.Context, in step.Start) (*run, error) {
	r := prepare(ctx, in)
	return r, r.call(ctx, r.tools.Begin, in)
}

// prepare starts to listen to commands.
func prepare(ctx workflow.Context, in step.Start) *run {
	r := &run{in: in, plan: &in.Plan, times: map[string]int{}, notes: "note"}
	workflow.GoNamed(ctx, "commands", r.listen)
	return r
}

// listen takes commands as they come: one that the phase under way accepts ends it, the others are noted and left.
func (r *run) listen(ctx workflow.Context) {
	commands := workflow.GetSignalChannel(ctx, controlSignal)
	for {
		var c Command
		if !commands.Receive(ctx, &c) {
			return
		}
		if c.Name == MakeWay {
			r.crowded = true
			if !slices.Contains(r.accepts, MakeWay) {
				continue
			}
		}
		detail := &step.CommandDetail{Command: c.Name, Accepted: true}
		switch {
		case c.Name == Approve && r.waiting && slices.ContainsFunc(r.barred, func(author string) bool { return samePerson(author, c.By) }):
			detail.Accepted, detail.Why = false, "an approval must be by somebody other than "+strings.Join(people(r.barred), ", ")
		case c.Name == Approve && r.waiting:
			r.approve, r.approver = true, c.By
		case slices.Contains(r.accepts, c.Name):
			r.command = c
			r.cancel()
		default:
			detail.Accepted = false
		}
		text := c.Name + " was asked for"
		if !detail.Accepted {
			text += ", and is not possible now"
		}
		if detail.Why != "" {
			text = c.Name + " is not possible: " + detail.Why + "; it was asked for"
		}
		r.remark(ctx, step.Remark{By: c.By, Text: text, Command: detail})
	}
}

// unless runs a phase that the given commands interrupt. It returns once the phase has really ended.
func (r *run) unless(ctx workflow.Context, commands []string, do phase) error {
	ctx, cancel := workflow.WithCancel(ctx)
	accepts, around := r.accepts, r.cancel
	r.accepts, r.cancel, r.command = commands, cancel, Command{}
	err := do(ctx)
	r.accepts, r.cancel = accepts, around
	if r.command.Name != "" { // also when the phase had come to its end by then: somebody was told that it is ended
		return interrupted{r.command}
	}
	return err
}

// asked reports whether err is the end of a phase by the named command.
func (r *run) asked(err error, command string) bool {
	var e interrupted
	return errors.As(err, &e) && e.Name == command
}

// reason says in words why a phase ended.
func reason(err error) string {
	return faultOf(err).Message
}

// inOrder is phases one after the other.
func inOrder(phases ...phase) phase {
	return func(ctx workflow.Context) error {
		for _, do := range phases {
			if err := do(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// await waits for an approval, recorded with who gave it.
func (r *run) await(ctx workflow.Context, why string) error {
	return r.awaitOf(ctx, step.Waiting{Why: why})
}

// awaitOf is await, with all that can be said of what is to be approved. The commands that end the phase around it end it, too.
func (r *run) awaitOf(ctx workflow.Context, w step.Waiting) error {
	ends := r.accepts
	if len(ends) == 0 {
		ends = []string{Abort}
	}
	return r.unless(ctx, ends, func(ctx workflow.Context) error {
		r.approve, r.waiting = false, true
		defer func() { r.waiting = false }()
		w.Step = r.next("approve")
		if err := r.call(ctx, r.tools.Wait, w); err != nil {
			return err
		}
		if err := workflow.Await(ctx, func() bool { return r.approve }); err != nil {
			return err
		}
		return r.call(ctx, r.tools.GoOn, step.Approval{ID: r.at("approve"), By: r.approver})
	})
}

// rest is pause for a length of time that may be none, with words of its own.
func (r *run) rest(ctx workflow.Context, name, why string, d spec.Duration) error {
	if d == 0 {
		return nil
	}
	return r.pause(ctx, name, why, d.Or(0))
}

// pause waits for a length of time, as a step of its own; why is what for, if not to keep the way back open.
func (r *run) pause(ctx workflow.Context, name, why string, d time.Duration) error {
	id := r.next(name)
	if err := r.call(ctx, r.tools.PauseBegins, step.Pause{Step: id, For: d, Why: why}); err != nil {
		return err
	}
	if err := workflow.Sleep(ctx, d); err != nil {
		return err
	}
	return r.call(ctx, r.tools.PauseEnds, id)
}

// weigh gives the new generation a share of the users, in percent, and watches it.
func (r *run) weigh(ctx workflow.Context, name string, share int) error {
	return r.call(ctx, r.tools.Weigh, step.Weight{Step: r.next(name), Share: share})
}

// step runs one activity as a step of the plan.
func (r *run) step(ctx workflow.Context, name string, activity any) error {
	return r.call(ctx, activity, r.next(name))
}

// has reports whether the run began with a procedure that has the named change, which runs of before go on without.
func (r *run) has(ctx workflow.Context, change string) bool {
	return workflow.GetVersion(ctx, change, workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

// next is the step of the given name, in its next execution; at is the one under way.
func (r *run) next(name string) step.ID {
	r.times[name]++
	return r.at(name)
}

func (r *run) at(name string) step.ID {
	return step.ID{Run: r.in.Run, Name: name, Time: r.times[name]}
}

// call executes an activity until it has succeeded or failed for good. A killed worker's activity is started again; an
// interrupted one has ended when call returns.
func (r *run) call(ctx workflow.Context, activity, in any) error {
	ctx = workflow.WithActivityOptions(ctx, engine.Step(callLimit))
	return workflow.ExecuteActivity(ctx, activity, in).Get(ctx, nil)
}

// callLimit bounds a call with all its repetitions, the time in which nobody works for the run included. What a step itself
// may take is bounded by the step.
const callLimit = 30 * 24 * time.Hour

// note records an event outside of steps.
func (r *run) note(ctx workflow.Context, format string, args ...any) {
	r.remark(ctx, step.Remark{Text: fmt.Sprintf(format, args...)})
}

// remark records a remark. A record that cannot be written fails the step after it, so its error is not lost.
func (r *run) remark(ctx workflow.Context, m step.Remark) {
	m.Step = r.next(r.notes)
	if err := r.call(ctx, r.tools.Note, m); err != nil {
		workflow.GetLogger(ctx).Warn("cannot record a remark", "error", err)
	}
}

// finish records how the run ended, and returns what the engine keeps as its failure.
func (r *run) finish(ctx workflow.Context, err error) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if left := r.unfollow(ctx); left != nil {
		err = errors.Join(err, left)
	}
	end := step.End{Run: r.in.Run, State: r.outcome}
	if end.State == "" {
		end.State = outcomeOf(err)
	}
	if err != nil {
		end.Reason = reason(err)
	}
	if recorded := r.call(ctx, r.tools.Finish, end); recorded != nil {
		err = errors.Join(err, recorded)
	}
	if err == nil {
		return nil
	}
	return faultOf(err)
}

// outcomeOf says how a run that ended with err is recorded.
func outcomeOf(err error) record.RunState {
	var asked interrupted
	switch {
	case err == nil:
		return record.Done
	case errors.As(err, &asked):
		return record.Aborted
	case faultOf(err).Code == fault.Refused:
		return record.RunRefused
	case faultOf(err).Code == fault.Locked: // nothing but a newer run locks out one that was begun
		return record.Superseded
	default:
		return record.RunFailed
	}
}
