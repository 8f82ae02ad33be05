package objects

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

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
		if err.Error() != told {
			told = err.Error()
			c.Progress("waiting: %s", told)
		}
		if !c.bothAnswer(ctx, max(pause, kube.RetryAfter(err)), deadline) {
			return err
		}
		pause = min(2*pause, longestLook)
	}
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
func (c *copier) away(ctx context.Context) bool {
	return c.from.Healthy(ctx) != nil || c.to.Healthy(ctx) != nil
}

// markOf returns what tells the objects copied from a cluster from all others: a digest of the UID of a namespace that every
// cluster has, or of the name of the context where that may not be read.
func markOf(ctx context.Context, c *kube.Cluster) (string, error) {
	namespace, err := c.Find(ctx, schema.GroupKind{Kind: "Namespace"}, "", "kube-system")
	identity := c.Access().Context
	switch {
	case err == nil && namespace != nil:
		identity = string(namespace.GetUID())
	case err != nil && fault.Retryable(err):
		return "", err
	}
	digest := sha256.Sum256([]byte(identity))
	return hex.EncodeToString(digest[:4]) + "-", nil
}
