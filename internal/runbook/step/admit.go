package step

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// turnEvery is the time between two looks at whose turn it is.
const turnEvery = 500 * time.Millisecond

// Admit waits until no roll-over of the environment is under way that has not moved the users over yet, and finds out which generation is live
// then. While a run is admitted, no roll-over goes past its beginning: each side says that it wants to before it looks at the other.
func (t *Toolbox) Admit(ctx context.Context, id ID) error {
	return t.do(ctx, id, "waiting for its turn", "", func(ctx context.Context, j *job) error {
		for turn := 1; ; turn++ {
			rollover, err := j.frozen(ctx)
			if err == nil && rollover == "" {
				j.tell(record.Event{Kind: record.Progress, Key: j.id.key(fmt.Sprintf("%s%d", admitted, turn)), Message: "admitted"})
				if rollover, err = j.frozen(ctx); err == nil && rollover == "" {
					return j.aim(ctx)
				}
				j.tell(record.Event{Kind: record.Progress, Key: j.id.key(fmt.Sprintf("%s%d", withdrawn, turn)), Message: "lets a roll-over go first"})
			}
			if err != nil {
				return err
			}
			j.say("waiting for %s: until it has moved the users, the environment is frozen", rollover)
			if err := pause(ctx, turnEvery); err != nil {
				return err
			}
		}
	})
}

// What Admit records, followed by which of its tries it is.
const (
	admitted  = "admitted/"
	withdrawn = "withdrawn/"
)

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
	seen, err := j.observe(ctx, scope{Environment: j.plan.Environment, Prefix: j.plan.Prefix, Cluster: j.plan.Cluster, Routes: j.plan.Routes})
	if err != nil {
		return err
	}
	if seen.Live == "" {
		return fault.New(fault.Failed, "environment %s has no live generation any more", j.plan.Environment).WithHint("see crossfade status %s", j.plan.Environment)
	}
	j.done = fmt.Sprintf("%s goes to %s", j.plan.Deploy.Unit.Name, seen.Live)
	r := j.run
	r.Generation = seen.Live
	return j.Records.UpdateRun(ctx, r)
}

// frozen names the roll-over that keeps services from being deployed into the environment; "" when none does.
func (j *job) frozen(ctx context.Context) (string, error) {
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

// open lists the runs of an operation that are under way in the environment.
func (j *job) open(ctx context.Context, operation string) ([]record.Run, error) {
	runs, err := j.Records.Runs(ctx, j.plan.Environment, recent)
	return slices.DeleteFunc(runs, func(r record.Run) bool { return r.Operation != operation || r.Ended != nil }), err
}

// awaitDeploys waits until no service is being deployed into the environment.
func (j *job) awaitDeploys(ctx context.Context) error {
	for {
		busy, err := j.deploying(ctx)
		if err != nil || busy == "" {
			return err
		}
		j.say("waiting for %s", busy)
		if err := pause(ctx, turnEvery); err != nil {
			return err
		}
	}
}

// deploying names a run that was admitted and has not ended.
func (j *job) deploying(ctx context.Context) (string, error) {
	runs, err := j.open(ctx, Deploy)
	if err != nil {
		return "", err
	}
	for _, r := range runs {
		events, err := j.Records.Events(ctx, r.ID, 0)
		if err != nil {
			return "", err
		}
		in := 0
		for _, e := range events {
			switch {
			case strings.Contains(e.Key, "/"+admitted):
				in++
			case strings.Contains(e.Key, "/"+withdrawn):
				in--
			}
		}
		if in > 0 {
			return r.ID, nil
		}
	}
	return "", nil
}
