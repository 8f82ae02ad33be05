package step

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// turnEvery is the time between two looks at whose turn it is.
const turnEvery = 500 * time.Millisecond

// Admit waits until no roll-over of the environment is under way that has not moved the users over yet, and finds out which generation is live
// then. While a run is admitted, no roll-over goes past its beginning: each side says that it wants to before it looks at the other. What it has
// said it reads from the record, as an execution before this one may have said it.
func (t *Toolbox) Admit(ctx context.Context, id ID) error {
	return t.do(ctx, id, "waiting for its turn", "", func(ctx context.Context, j *job) error {
		for {
			said, err := j.admission(ctx, j.run.ID)
			if err != nil {
				return err
			}
			rollover, err := j.frozen(ctx)
			switch {
			case err != nil:
				return err
			case rollover == "" && said.in:
				return j.aim(ctx)
			case rollover == "":
				if err := j.announceTurn(ctx, admitted, said.turns+1, "admitted"); err != nil {
					return err
				}
				continue // and look once more
			case said.in:
				if err := j.announceTurn(ctx, withdrawn, said.turns, "lets a roll-over go first"); err != nil {
					return err
				}
			}
			if err := j.superseded(ctx); err != nil {
				return err
			}
			j.say("waiting for %s: until it has moved the users, the environment is frozen", rollover)
			if err := pause(ctx, turnEvery); err != nil {
				return err
			}
		}
	})
}

// What Admit records, followed by which of its turns it is.
const (
	admitted  = "admitted/"
	withdrawn = "withdrawn/"
)

// announceTurn records what the other side looks for; unlike talk it must be there before anything else is done.
func (j *job) announceTurn(ctx context.Context, what string, turn int, text string) error {
	return j.record(ctx, j.id, record.Event{Kind: record.Progress, Key: j.id.key(fmt.Sprintf("%s%d", what, turn)), Message: text})
}

// admission is what a run that deploys a service has said of its turn.
type admission struct {
	turns int  // how often it was admitted
	in    bool // whether it is, and may change the service
}

func (t *Toolbox) admission(ctx context.Context, run string) (admission, error) {
	var a admission
	events, err := t.Records.Events(ctx, run, 0)
	for _, e := range events {
		_, what, _ := strings.Cut(e.Key, "/")
		switch {
		case strings.HasPrefix(what, admitted):
			a.turns, a.in = a.turns+1, true
		case strings.HasPrefix(what, withdrawn), e.Step == Kept && e.Kind == record.StepStarted:
			a.in = false
		}
	}
	return a, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// aim has the run deploy into the generation that is live now.
func (j *job) aim(ctx context.Context) error {
	seen, err := j.look(ctx)
	if err != nil {
		return err
	}
	if seen.Live == "" {
		return fault.New(fault.Failed, "environment %s has no live generation any more", j.plan.Environment).WithHint("see crossfade status %s", j.plan.Environment)
	}
	j.done = fmt.Sprintf("%s goes to %s", j.plan.Names(), seen.Live)
	r := j.run
	r.Generation = seen.Live
	return j.Records.UpdateRun(ctx, r)
}

// clears reports whether the run may take a version away: while it is admitted, and after that as long as its generation is live and no
// roll-over is about to change that.
func (j *job) clears(ctx context.Context) (bool, error) {
	said, err := j.admission(ctx, j.run.ID)
	if err != nil || said.in {
		return said.in, err
	}
	if rollover, err := j.frozen(ctx); err != nil || rollover != "" {
		return false, err
	}
	seen, err := j.look(ctx)
	return seen.Live == j.plan.Generation, err
}

// look observes the plan's environment.
func (j *job) look(ctx context.Context) (plan.Observed, error) {
	return j.observe(ctx, scope{Environment: j.plan.Environment, Prefix: j.plan.Prefix, Cluster: j.plan.Cluster, Routes: j.plan.Routes})
}

// frozen names the roll-over that keeps services from being deployed into the environment; "" when none does.
func (j *job) frozen(ctx context.Context) (string, error) {
	if set, err := j.promoting(ctx); err != nil || set != "" {
		return set, err
	}
	runs, err := j.open(ctx, Rollover)
	if err != nil {
		return "", err
	}
	for _, r := range runs {
		events, err := j.Records.Events(ctx, r.ID, 0)
		if err != nil {
			return "", err
		}
		moved := false
		for _, e := range events {
			switch {
			case e.Step == "settle" && e.Kind == record.StepDone:
				moved = true
			case e.Step == "switch-back" && e.Kind == record.StepStarted:
				moved = false
			}
		}
		if !moved {
			return r.ID, nil
		}
	}
	return "", nil
}

// promoting names another run that brings a set into the environment, from where it looks whether somebody is deploying; "" when none does.
func (j *job) promoting(ctx context.Context) (string, error) {
	runs, err := j.open(ctx, Promote)
	if err != nil {
		return "", err
	}
	for _, r := range runs {
		if r.ID == j.run.ID {
			continue
		}
		events, err := j.Records.Events(ctx, r.ID, 0)
		if err != nil || slices.ContainsFunc(events, func(e record.Event) bool { return e.Step == "admit" }) {
			return r.ID, err
		}
	}
	return "", nil
}

// open lists the runs of an operation that are under way in the environment.
func (j *job) open(ctx context.Context, operation string) ([]record.Run, error) {
	return j.Toolbox.open(ctx, j.plan.Environment, operation)
}

func (t *Toolbox) open(ctx context.Context, environment, operation string) ([]record.Run, error) {
	runs, err := t.Records.Runs(ctx, environment, recent)
	return slices.DeleteFunc(runs, func(r record.Run) bool { return r.Operation != operation || r.Ended != nil }), err
}

// awaitDeploys waits until no service is being deployed into the environment.
func (j *job) awaitDeploys(ctx context.Context) error {
	for {
		busy, err := j.Deploying(ctx, j.plan.Environment)
		if err != nil || busy == "" {
			return err
		}
		j.say("waiting for %s", busy)
		if err := pause(ctx, turnEvery); err != nil {
			return err
		}
	}
}

// Deploying names a run that deploys a service into an environment, was admitted, and has not ended, but for those that only keep the version
// before; "" when there is none.
func (t *Toolbox) Deploying(ctx context.Context, environment string) (string, error) {
	runs, err := t.open(ctx, environment, Deploy)
	if err != nil {
		return "", err
	}
	for _, r := range runs {
		if said, err := t.admission(ctx, r.ID); err != nil || said.in {
			return r.ID, err
		}
	}
	return "", nil
}
