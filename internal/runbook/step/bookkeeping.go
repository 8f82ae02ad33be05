package step

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// Rollover is the name of the operation that makes a generation. All others are about generations that stand.
const Rollover = "rollover"

// Start is what a run begins with.
type Start struct {
	Run       string    `json:"run"`
	Operation string    `json:"operation"`
	By        string    `json:"by"` // user@host
	Plan      plan.Plan `json:"plan"`
}

// Waiting is a run's wait for a person.
type Waiting struct {
	Step    ID     `json:"step"`
	Why     string `json:"why"`
	Service string `json:"service,omitempty"` // of a set: the one that is to be looked at
	Gate    bool   `json:"gate,omitempty"`    // it is before anything is there to be looked at
}

// Pause is a wait for time to pass.
type Pause struct {
	Step ID            `json:"step"`
	For  time.Duration `json:"for"`
	Why  string        `json:"why,omitempty"` // that the way back stays open, unless set
}

// Remark is an event outside of steps.
type Remark struct {
	Step    ID             `json:"step"`
	By      string         `json:"by,omitempty"`
	Text    string         `json:"text"`
	Command *CommandDetail `json:"command,omitempty"`
}

// CommandDetail is the detail of the event that tells of a command.
type CommandDetail struct {
	Command  string `json:"command"`
	Accepted bool   `json:"accepted"`      // whether the run was where the command is possible
	Why      string `json:"why,omitempty"` // why it was not accepted; that the run was elsewhere, unless set
}

// BeginKey is the key of a run's first event.
const BeginKey = "begin"

// EndKey is the key of a run's last event.
const EndKey = "end"

// End is how a run ended.
type End struct {
	Run    string          `json:"run"`
	State  record.RunState `json:"state"`
	Reason string          `json:"reason,omitempty"`
}

// Begin records the run, and the generations of a roll-over: both are known from here on. One that was recorded as it waited for its place
// waits no longer.
func (t *Toolbox) Begin(ctx context.Context, s Start) error {
	if err := t.begin(ctx, s, record.Running); err != nil {
		return err
	}
	return t.setState(ctx, s.Run, record.Running, "", nil)
}

func (t *Toolbox) begin(ctx context.Context, s Start, state record.RunState) error {
	raw, err := json.Marshal(s.Plan)
	if err != nil {
		return fault.New(fault.Failed, "cannot record the plan: %w", err)
	}
	now := t.Now()
	p := s.Plan
	err = t.Records.PutRun(ctx, record.Run{
		ID: s.Run, Operation: s.Operation, Environment: p.Environment, Service: p.Service(), Generation: p.Generation, Previous: p.Previous,
		By: s.By, State: state, Plan: raw, Started: now,
	})
	if err == nil {
		note := record.Event{Kind: record.Note, Key: BeginKey, Message: wish(s) + " was asked for", By: s.By}
		err = t.record(ctx, ID{Run: s.Run}, note)
	}
	if err != nil || s.Operation != Rollover {
		return err
	}
	if p.Previous != "" { // also when somebody else made it
		err := t.Records.PutGeneration(ctx, record.Generation{
			Environment: p.Environment, Name: p.Previous, Phase: record.Live, Verified: true, Run: s.Run, Created: now, Changed: now,
		})
		if err != nil {
			return err
		}
	}
	return t.Records.PutGeneration(ctx, record.Generation{
		Environment: p.Environment, Name: p.Generation, Phase: record.Building, Run: s.Run, Created: now, Changed: now,
	})
}

// wish says in words what a run is to do.
func wish(s Start) string {
	p := s.Plan
	text := s.Operation + " of " + p.Environment
	switch d := p.Deploy; {
	case p.Set != nil:
		text = fmt.Sprintf("promotion of the set %s from %s to %s", p.Set.Name, p.Promotion.From.Environment, p.Environment)
		for i, d := range p.Set.Deploys {
			text += map[bool]string{true: ": ", false: ", "}[i == 0] + d.Unit.Name + " " + d.Version()
		}
		if len(p.Set.Stands) > 0 {
			text += " (left as it is: " + strings.Join(p.Set.Stands, ", ") + ")"
		}
	case d == nil:
	case d.Restart:
		text = fmt.Sprintf("restart of %s %s in %s", d.Unit.Name, d.Version(), p.Environment)
	case d.Back:
		text = fmt.Sprintf("roll-back of %s in %s to %s", d.Unit.Name, p.Environment, d.Version())
	case d.Promoted:
		text = fmt.Sprintf("promotion of %s %s from %s to %s", d.Unit.Name, d.Version(), p.Promotion.From.Environment, p.Environment)
	default:
		text = fmt.Sprintf("deployment of %s %s to %s", d.Unit.Name, d.Version(), p.Environment)
	}
	if commits := plan.Commits(p.Premises.Sources); commits != "" {
		text += " (commit " + commits + ")"
	}
	return text
}

// Wait records that the run waits for a person, and where that person can look at the next version of a service, if that is what it is about.
func (t *Toolbox) Wait(ctx context.Context, w Waiting) error {
	where, err := t.preview(ctx, w)
	if err != nil {
		return err
	}
	if where != "" {
		w.Why += ": " + where
	}
	if err := t.setState(ctx, w.Step.Run, record.Waiting, w.Why, nil); err != nil {
		return err
	}
	return t.record(ctx, w.Step, record.Event{Kind: record.StepStarted, Key: w.Step.key("started"), Message: w.Why})
}

// Approval is the end of a wait for a person.
type Approval struct {
	ID
	By string `json:"by,omitempty"` // who has approved
}

// GoOn records that the run waits no longer.
func (t *Toolbox) GoOn(ctx context.Context, a Approval) error {
	if err := t.setState(ctx, a.Run, record.Running, "", nil); err != nil {
		return err
	}
	text := "approved"
	if a.By != "" {
		text += " by " + a.By
	}
	return t.record(ctx, a.ID, record.Event{Kind: record.StepDone, Key: a.key("done"), Message: text, By: a.By})
}

// PauseBegins records the beginning of a pause, PauseEnds its end.
func (t *Toolbox) PauseBegins(ctx context.Context, p Pause) error {
	text := fmt.Sprintf("%s for %v", cmp.Or(p.Why, "the way back stays open"), p.For)
	return t.record(ctx, p.Step, record.Event{Kind: record.StepStarted, Key: p.Step.key("started"), Message: text})
}

// PauseEnds records the end of a pause.
func (t *Toolbox) PauseEnds(ctx context.Context, id ID) error {
	return t.record(ctx, id, record.Event{Kind: record.StepDone, Key: id.key("done"), Message: "the time is over"})
}

// Note records an event outside of steps.
func (t *Toolbox) Note(ctx context.Context, r Remark) error {
	key := r.Step.key("note")
	r.Step.Name = ""
	var detail json.RawMessage
	if r.Command != nil {
		detail = jsonOf(r.Command)
	}
	return t.record(ctx, r.Step, record.Event{Kind: record.Note, Key: key, Message: r.Text, By: r.By, Detail: detail})
}

// Finish records how the run ended.
func (t *Toolbox) Finish(ctx context.Context, end End) error {
	text := string(end.State)
	switch {
	case strings.HasPrefix(end.Reason, text):
		text = end.Reason
	case end.Reason != "":
		text += ": " + end.Reason
	}
	if err := t.record(ctx, ID{Run: end.Run}, record.Event{Kind: record.Note, Key: EndKey, Message: text}); err != nil {
		return err
	}
	now := t.Now()
	return t.setState(ctx, end.Run, end.State, end.Reason, &now)
}

// setState records where a run is.
func (t *Toolbox) setState(ctx context.Context, run string, state record.RunState, reason string, ended *time.Time) error {
	r, err := t.Records.Run(ctx, run)
	if err != nil {
		return err
	}
	r.State, r.Reason, r.Ended = state, reason, ended
	return t.Records.UpdateRun(ctx, r)
}
