package objects

import (
	"context"
	"errors"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
)

// attempts is how often a write is tried while the API server says "not now", with doubling pauses from firstPause; until everything else
// is there it is tried firstAttempts times only. One that takes as long as slowTry is not tried again: something holds it up.
const (
	attempts      = 5
	firstAttempts = 2
	firstPause    = 100 * time.Millisecond
	slowTry       = 5 * time.Second
)

// refusedLimit is how many writes in a row the other cluster may be unable to do before the copy stops and says why: a full
// disk shows like this.
const refusedLimit = 24

// lookAgain is how often a cluster that does not answer is asked whether it does, longestLook how long one that does and cannot do what
// it is asked is left alone at most.
const (
	lookAgain   = 250 * time.Millisecond
	longestLook = 5 * time.Second
)

// errOverwhelmed is in the tree of an error that says that a cluster answers, and cannot do what it is asked to.
var errOverwhelmed = errors.New("takes no writes")

// stops reports whether an error ends the copy of everything, rather than of one object or kind.
func stops(err error) bool { return errors.Is(err, errOverwhelmed) || kube.Unreachable(err) }

// ends reports whether an error ends the copy of everything. A request that is not answered while both clusters are ready to serve
// does not: something of its own holds it up, such as a webhook that converts.
func (c *copier) ends(ctx context.Context, err error) bool {
	return ctx.Err() != nil || stops(err) && (!kube.Unreachable(err) || c.away(ctx))
}

// passes reports whether an error is one that time may mend: a cluster does not answer, cannot do what it is asked to, or is busy. What a
// webhook keeps from being done is about some objects only, and is not waited for.
func passes(err error) bool { return stops(err) || fault.Retryable(err) && !kube.ByWebhook(err) }

// insist does something, again while a cluster does not answer or cannot do it, until nothing was written for as long as patience
// lasts.
func (c *copier) insist(ctx context.Context, do func() error) error {
	wrote, pause, deadline, told := -1, lookAgain, time.Time{}, ""
	for {
		err := do()
		if !passes(err) || ctx.Err() != nil || c.Patience == 0 {
			return err
		}
		if now := c.written(); now != wrote {
			wrote, pause, deadline = now, lookAgain, time.Now().Add(c.Patience)
		}
		if text := c.waitsFor(ctx) + ": " + err.Error(); text != told {
			told = text
			c.Progress("waiting%s", text)
		}
		if !c.bothAnswer(ctx, max(pause, kube.RetryAfter(err)), deadline) {
			return err
		}
		pause = min(2*pause, longestLook)
	}
}

// waitsFor says which cluster is not ready to serve, "" when both are.
func (c *copier) waitsFor(ctx context.Context) string {
	for _, cluster := range []*kube.Cluster{c.from, c.to} {
		if cluster.Healthy(ctx) != nil {
			return " for the cluster " + cluster.Access().Context
		}
	}
	return ""
}

// bothAnswer waits for a while, and then until both clusters are ready to serve. It reports false when they are not by the deadline.
func (c *copier) bothAnswer(ctx context.Context, pause time.Duration, deadline time.Time) bool {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
		if !c.away(ctx) {
			return true
		}
		pause = lookAgain
	}
}

// away reports whether one of the clusters is not ready to serve.
func (c *copier) away(ctx context.Context) bool { return c.waitsFor(ctx) != "" }
