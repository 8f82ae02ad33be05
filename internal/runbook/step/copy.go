package step

import (
	"context"
	"fmt"
	"time"

	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/backlog"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// lagTold is the time between two events that tell how far the new generation is behind.
const lagTold = 10 * time.Second

// Copy recreates in the new generation what runs in the live one and no pipeline owns. The live one is only read.
func (t *Toolbox) Copy(ctx context.Context, id ID) error {
	return t.do(ctx, id, "copying what no pipeline owns", "copied", func(ctx context.Context, j *job) error {
		report, err := j.copy(ctx)
		if err != nil {
			return err
		}
		return report.Err()
	})
}

// Sync copies once more, at the end of a following: what it did not carry over is written now. An object that was changed in the new
// generation, where the users are by now, is left so and told of.
func (t *Toolbox) Sync(ctx context.Context, id ID) error {
	return t.do(ctx, id, "copying what has changed since", "in step", func(ctx context.Context, j *job) error { return j.sync(ctx) })
}

func (j *job) sync(ctx context.Context) error {
	report, err := j.copy(ctx)
	if err != nil {
		return err
	}
	for _, c := range report.Conflicts {
		j.say("%s was left as it is in %s: %s", c.Object, j.plan.Generation, c.Error)
	}
	report.Conflicted, report.Conflicts = 0, nil
	return report.Err()
}

func (j *job) copy(ctx context.Context) (outcome.Report, error) {
	from, err := j.connect(ctx, j.plan.Previous)
	if err != nil {
		return outcome.Report{}, err
	}
	to, err := j.connect(ctx, j.plan.Generation)
	if err != nil {
		return outcome.Report{}, err
	}
	report, err := objects.Copy(ctx, from, to, j.copying())
	j.data, j.done = report, report.Summary()
	return report, err
}

// copying are the options of copies by this plan.
func (j *job) copying() objects.Options {
	return objects.Options{Rules: j.rules(), Progress: j.say}
}

// rules say what is copied by this plan, and what belongs to its pipelines.
func (j *job) rules() decide.Rules {
	return decide.Rules{Copy: j.plan.Copy.Rules, Owned: j.plan.Copy.Owned}
}

// Follow carries every change of the live generation over to the new one until it is cancelled; FollowEnds records its end.
func (t *Toolbox) Follow(ctx context.Context, id ID) error {
	return t.do(ctx, id, "carrying changes over", "", func(ctx context.Context, j *job) error {
		from, err := j.connect(ctx, j.plan.Previous)
		if err != nil {
			return err
		}
		to, err := j.connect(ctx, j.plan.Generation)
		if err != nil {
			return err
		}
		return objects.Follow(ctx, from, to, objects.Following{Options: j.copying(), Lag: j.tellLag, Every: lagTold})
	})
}

// tellLag records what was carried over since it was called before.
func (j *job) tellLag(lag backlog.Lag) {
	if lag.Changes == 0 && lag.Waiting == 0 {
		return
	}
	j.tell(record.Event{
		Kind: record.Progress, Key: j.id.key("lag/" + j.Now().UTC().Format(time.RFC3339Nano)), Detail: jsonOf(lag),
		Message: fmt.Sprintf("carried %d changes over, 99 %% of them within %v; %d wait", lag.Changes, lag.P99.Round(time.Millisecond), lag.Waiting),
	})
}

// FollowEnds records the end of a following.
func (t *Toolbox) FollowEnds(ctx context.Context, id ID) error {
	return t.record(ctx, id, record.Event{Kind: record.StepDone, Key: id.key("done"), Message: "the new generation follows no longer"})
}
