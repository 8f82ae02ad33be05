package local

import (
	"context"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// waitFor observes until nothing is missing, and fails with what was missing last when that takes longer than the limit.
// Observe returns what is missing, or "". It gets a context that bounds one look.
func waitFor(ctx context.Context, limit time.Duration, what string, observe func(context.Context) string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	missing := "no answer"
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		look, done := context.WithTimeout(ctx, 5*time.Second)
		now := observe(look)
		done()
		if now == "" {
			return nil
		}
		if ctx.Err() == nil { // what the end of the context made of the answer says nothing
			missing = now
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "cannot wait any longer for %s: %s", what, missing)
		case <-time.After(wait):
		}
	}
}
