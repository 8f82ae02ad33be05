package step

import (
	"cmp"
	"context"
	"slices"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// Enqueue records a run that waits for another one of its service to end.
func (t *Toolbox) Enqueue(ctx context.Context, s Start) error {
	return t.begin(ctx, s, record.Queued)
}

// AwaitPlace waits until no other deployment of the service is under way in the environment. Of those that wait, the newest is the one that
// goes on: the others end with an error of code fault.Locked, which says for which.
func (t *Toolbox) AwaitPlace(ctx context.Context, id ID) error {
	return t.do(ctx, id, "waiting for the deployment that is under way", "", func(ctx context.Context, j *job) error {
		for {
			if err := j.superseded(ctx); err != nil {
				return err
			}
			runs, err := j.open(ctx, Deploy)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(runs, func(r record.Run) bool {
				return r.Service == j.run.Service && r.State != record.Queued && r.ID != j.run.ID
			})
			if i < 0 {
				j.done = "it is its turn"
				return nil
			}
			if runs[i].State == record.Waiting {
				j.say("waiting for %s: %s (crossfade approve or crossfade abort)", runs[i].ID, runs[i].Reason)
			} else {
				j.say("waiting for %s", runs[i].ID)
			}
			if err := pause(ctx, turnEvery); err != nil {
				return err
			}
		}
	})
}

// superseded is an error of code fault.Locked when a newer deployment of the service waits.
func (j *job) superseded(ctx context.Context) error {
	runs, err := j.open(ctx, Deploy)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if r.Service == j.run.Service && r.State == record.Queued && cmp.Or(r.Started.Compare(j.run.Started), cmp.Compare(r.ID, j.run.ID)) > 0 {
			return fault.New(fault.Locked, "superseded by %s of %s, which is newer", r.ID, r.By).WithHint("crossfade logs %s shows it", r.ID)
		}
	}
	return nil
}
