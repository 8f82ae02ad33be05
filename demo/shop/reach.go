package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	pollInterval = time.Second
	// unreachedAfter is how long the orders API may stay silent before /healthz says so: more than a slow moment.
	unreachedAfter = 10 * time.Second
)

// reach remembers when a peer last answered, so that a health check costs nothing and one slow answer is no alarm.
type reach struct {
	now  func() time.Time
	last atomic.Int64 // Unix nanoseconds; 0 for never
}

// note records that the peer answered.
func (r *reach) note() { r.last.Store(r.now().UnixNano()) }

// ever reports whether the peer has answered at least once.
func (r *reach) ever() bool { return r.last.Load() != 0 }

// recent reports whether the peer has answered lately.
func (r *reach) recent() bool {
	return r.ever() && r.now().Sub(time.Unix(0, r.last.Load())) <= unreachedAfter
}

// every calls act at once and then at each interval until ctx ends. It logs when act begins to fail and when it succeeds
// again, not each time.
func every(ctx context.Context, interval time.Duration, log *slog.Logger, act func(context.Context) error) {
	t := time.NewTicker(interval)
	defer t.Stop()
	failing := false
	for {
		err := act(ctx)
		if ctx.Err() != nil {
			return
		}
		if (err != nil) != failing {
			failing = err != nil
			if failing {
				log.Warn(err.Error())
			} else {
				log.Info("it works again")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
