package history

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// Entry is a release and how it came about.
type Entry struct {
	record.Release
	Operation  string          `json:"operation"`            // of the run: rollover, deploy, promote
	By         string          `json:"by"`                   // who started it
	State      record.RunState `json:"state"`                // of the run
	Ended      string          `json:"ended,omitempty"`      // why the run ended as it did
	From       string          `json:"from,omitempty"`       // the stage before in which the version was good
	Set        string          `json:"set,omitempty"`        // with which it was promoted
	Promoted   bool            `json:"promoted,omitempty"`   // what was good in that stage was asked for, and not a version
	Restarted  bool            `json:"restarted,omitempty"`  // the version that ran was to run anew
	RolledBack bool            `json:"rolledBack,omitempty"` // what was good before was asked for
	Skipped    []string        `json:"skipped,omitempty"`    // stages in which the version was never good
	Reason     string          `json:"reason,omitempty"`     // why these were skipped
	ApprovedBy []string        `json:"approvedBy,omitempty"`
	Sources    []plan.Source   `json:"sources,omitempty"` // the commits of configuration and manifests
	Took       time.Duration   `json:"took,omitempty"`    // from the beginning of the run until it was good, or had ended; in nanoseconds
	Checks     []Check         `json:"checks,omitempty"`  // that held; what one that did not hold said is in its step
	Steps      []Step          `json:"steps,omitempty"`   // of the run, but for those of other services
}

// Check is a check that held.
type Check struct {
	Step     string        `json:"step"`
	Name     string        `json:"name"`
	Detail   string        `json:"detail"`   // what was seen
	Duration time.Duration `json:"duration"` // until it held, in nanoseconds
}

// Step is a step of a run.
type Step struct {
	Step    string           `json:"step"`
	Outcome record.EventKind `json:"outcome"` // done or failed; started while it is under way, or was interrupted
	Message string           `json:"message"`
	Took    time.Duration    `json:"took,omitempty"` // in nanoseconds
}

// Of lists the releases of a service in an environment, in all when it is "", the latest first.
func Of(ctx context.Context, store *record.Store, environment, service string) ([]Entry, error) {
	releases, err := store.Releases(ctx, environment, service)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, r := range releases {
		e := Entry{Release: r}
		if err := e.read(ctx, store); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// read fills in what is known of the run.
func (e *Entry) read(ctx context.Context, store *record.Store) error {
	run, err := store.Run(ctx, e.Run)
	if err != nil {
		return err
	}
	var p plan.Plan
	if err := json.Unmarshal(run.Plan, &p); err != nil {
		return fault.New(fault.Failed, "cannot read the plan of run %s: %w", run.ID, err)
	}
	if err := p.Pick(e.Service); err != nil {
		return err
	}
	e.Operation, e.By, e.State, e.Ended, e.Sources = run.Operation, run.By, run.State, run.Reason, p.Premises.Sources
	switch {
	case !e.Verified.IsZero():
		e.Took = e.Verified.Sub(run.Started)
	case run.Ended != nil:
		e.Took = run.Ended.Sub(run.Started)
	}
	if p.Deploy != nil {
		e.Promoted, e.Restarted, e.RolledBack = p.Deploy.Promoted, p.Deploy.Restart, p.Deploy.Back
	}
	if p.Set != nil {
		e.Set = p.Set.Name
	}
	if from := p.Promotion; from != nil {
		e.Skipped, e.Reason = from.Skips, from.Reason
		if from.From != nil {
			e.From = from.From.Environment
		}
	}
	events, err := store.Events(ctx, e.Run, 0)
	if err != nil {
		return err
	}
	e.tell(events, p.Services)
	return nil
}

// tell goes through the story of the run.
func (e *Entry) tell(events []record.Event, units []plan.Unit) {
	begun := map[string]int{} // by step: its index while it is under way
	for _, v := range events {
		if v.Kind == record.Note && approved(v) && !slices.Contains(e.ApprovedBy, v.By) {
			e.ApprovedBy = append(e.ApprovedBy, v.By)
		}
		_, of, _ := strings.Cut(v.Step, "/")
		if of != e.Service && slices.ContainsFunc(units, func(u plan.Unit) bool { return u.Name == of }) {
			continue
		}
		switch v.Kind {
		case record.StepStarted:
			begun[v.Step] = len(e.Steps)
			e.Steps = append(e.Steps, Step{Step: v.Step, Outcome: v.Kind, Message: v.Message, Took: time.Duration(v.At.UnixNano())})
		case record.StepDone, record.StepFailed:
			i, ok := begun[v.Step]
			if !ok {
				continue
			}
			s := &e.Steps[i]
			s.Outcome, s.Message, s.Took = v.Kind, v.Message, v.At.Sub(time.Unix(0, int64(s.Took)))
			delete(begun, v.Step)
			e.Checks = append(e.Checks, checksOf(v)...)
		}
	}
	for _, i := range begun {
		e.Steps[i].Took = 0 // it is not over
	}
}

// approved reports whether an event tells of an approval that was accepted.
func approved(e record.Event) bool {
	var d struct {
		Command  string `json:"command"`
		Accepted bool   `json:"accepted"`
	}
	return json.Unmarshal(e.Detail, &d) == nil && d.Command == "approve" && d.Accepted
}

// checksOf are the checks that an event tells of: they are its detail, or part of it.
func checksOf(e record.Event) []Check {
	var part struct {
		Checks []Check `json:"checks"`
	}
	if json.Unmarshal(e.Detail, &part) != nil && json.Unmarshal(e.Detail, &part.Checks) != nil {
		return nil
	}
	for i := range part.Checks {
		part.Checks[i].Step = e.Step
	}
	return slices.DeleteFunc(part.Checks, func(c Check) bool { return c.Name == "" })
}
