package step

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

const (
	countEvery = time.Second
	// quiet is how long no connection must be seen: right after the switch a node may not know of it yet, and lead somebody on.
	quiet = 3 * time.Second
)

// DrainVersion waits until no connection to the version before is left, and for as long as the strategy says at the longest. Where connections
// cannot be counted, all of that time is waited.
func (t *Toolbox) DrainVersion(ctx context.Context, id ID) error {
	return t.do(ctx, id, "connections to the version before may go on", "", func(ctx context.Context, j *job) error {
		b, err := j.blueGreen(ctx)
		if err != nil {
			return err
		}
		state, err := b.Observe(ctx)
		if err != nil {
			return err
		}
		if state.Old == colour.None {
			j.done = "there is no version before"
			return nil
		}
		since, err := j.began(ctx)
		if err != nil {
			return err
		}
		j.done, err = j.drained(ctx, b, state.Old, since.Add(j.plan.Deploy.Strategy.BlueGreen.Drain.Or(0)))
		return err
	})
}

// drained waits until no connection to a version is left, or a time has come, and says how it was.
func (j *job) drained(ctx context.Context, b *release.BlueGreen, c colour.Colour, until time.Time) (string, error) {
	gone, first := time.Time{}, 0
	for counted := true; ; {
		n := 0
		if counted {
			var err error
			if n, err = b.Connections(ctx, c); fault.Retryable(err) {
				return "", err
			} else if err != nil {
				counted = false
				j.say("connections cannot be counted, so all of the time is waited: %v", err)
			}
		}
		now := j.Now()
		switch {
		case !counted || n > 0:
			gone = time.Time{}
		case gone.IsZero():
			gone = now
		case now.Sub(gone) >= quiet:
			return "no connection is left", nil
		}
		if !now.Before(until) {
			if n > 0 {
				return fmt.Sprintf("the time is over; %d connections are left, and end with their pods", n), nil
			}
			return "the time is over", nil
		}
		if first = cmp.Or(first, n); first > 0 {
			j.say("connections are left, %d at first", first)
		}
		if err := pause(ctx, min(countEvery, until.Sub(now))); err != nil {
			return "", err
		}
	}
}

// began is when this execution of the step was begun, by whichever process.
func (j *job) began(ctx context.Context) (time.Time, error) {
	events, err := j.Records.Events(ctx, j.id.Run, 0)
	for _, e := range events {
		if e.Key == j.id.key("started") && e.Kind == record.StepStarted {
			return e.At, nil
		}
	}
	return j.Now(), err
}
