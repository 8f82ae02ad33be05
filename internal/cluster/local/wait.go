package local

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/process"
)

// waitFor observes until nothing is missing, and fails with what was missing last when that takes longer than the limit.
// Observe returns what is missing, or ""; an error of it ends the wait. It gets a context that bounds one look.
func waitFor(ctx context.Context, limit time.Duration, what string, observe func(context.Context) (string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	missing := "no answer"
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		look, done := context.WithTimeout(ctx, 5*time.Second)
		now, err := observe(look)
		done()
		switch {
		case err != nil:
			return fault.New(fault.Unavailable, "cannot go on waiting for %s: %w", what, err)
		case now == "":
			return nil
		case ctx.Err() == nil: // what the end of the context made of the answer says nothing
			missing = now
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "cannot wait any longer for %s: %s (%w)", what, missing, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// ended returns an error with the last words of a daemon when the process that it was started as is no more.
func ended(d process.Daemon, pid int) error {
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
		return nil
	}
	words := "it said nothing"
	if raw, err := os.ReadFile(d.LogFile()); err == nil && len(bytes.TrimSpace(raw)) > 0 {
		lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
		words = strings.ToValidUTF8(string(lines[len(lines)-1]), "?")
	}
	return fault.New(fault.Failed, "%s ended: %.400s", d.Name, words).WithHint("its log is %s", d.LogFile())
}
