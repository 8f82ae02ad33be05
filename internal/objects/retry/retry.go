// Package retry says which errors time may mend, which are about everything and which about one object, and waits for clusters that do not
// answer or cannot do what they are asked to.
package retry

import (
	"context"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/apierror"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
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

// ErrOverwhelmed is in the tree of an error that says that a cluster answers, and cannot do what it is asked to.
var ErrOverwhelmed = errors.New("takes no writes")

// Stops reports whether an error ends the copy of everything, rather than of one object or kind.
func Stops(err error) bool { return errors.Is(err, ErrOverwhelmed) || apierror.Unreachable(err) }

// Passes reports whether an error is one that time may mend: a cluster does not answer, cannot do what it is asked to, or is busy. What a
// webhook keeps from being done is about some objects only, and is not waited for.
func Passes(err error) bool { return Stops(err) || fault.Retryable(err) && !apierror.ByWebhook(err) }

// Patience waits for the two clusters of a copy as long as it lasts, and knows when there is no point in it. It may be used by many
// goroutines.
type Patience struct {
	from, to *kube.Cluster
	lasts    time.Duration
	progress cluster.Progress

	lock    sync.Mutex
	refused int // writes in a row that the other cluster was not able to do
	wrote   int // objects written
}

// New makes the patience of a copy that waits for a cluster that long, each time; 0 for not at all.
func New(from, to *kube.Cluster, lasts time.Duration, progress cluster.Progress) *Patience {
	return &Patience{from: from, to: to, lasts: lasts, progress: progress}
}

// Ends reports whether an error ends the copy of everything. A request that is not answered while both clusters are ready to serve
// does not: something of its own holds it up, such as a webhook that converts.
func (p *Patience) Ends(ctx context.Context, err error) bool {
	return ctx.Err() != nil || Stops(err) && (!apierror.Unreachable(err) || p.Away(ctx))
}

// Insist does something, again while a cluster does not answer or cannot do it, until nothing was written for as long as
// patience lasts. What was not answered is done once more in any case if both clusters are ready to serve by now: one may have been away
// just then.
func (p *Patience) Insist(ctx context.Context, do func() error) error {
	wrote, pause, deadline, told := -1, lookAgain, time.Time{}, ""
	for again := false; ; again = true {
		err := do()
		if !Passes(err) || ctx.Err() != nil {
			return err
		}
		if p.lasts == 0 {
			if !again && apierror.Unreachable(err) && !p.Away(ctx) {
				continue
			}
			return err
		}
		if now := p.written(); now != wrote {
			wrote, pause, deadline = now, lookAgain, time.Now().Add(p.lasts)
		}
		if text := p.waitsFor(ctx) + ": " + err.Error(); text != told {
			told = text
			p.progress("waiting%s", text)
		}
		if !p.bothAnswer(ctx, max(pause, apierror.RetryAfter(err)), deadline) {
			return err
		}
		pause = min(2*pause, longestLook)
	}
}

// waitsFor says which cluster is not ready to serve, "" when both are.
func (p *Patience) waitsFor(ctx context.Context) string {
	for _, c := range []*kube.Cluster{p.from, p.to} {
		if c.Healthy(ctx) != nil {
			return " for the cluster " + c.Access().Context
		}
	}
	return ""
}

// bothAnswer waits for a while, and then until both clusters are ready to serve. It reports false when they are not by the deadline.
func (p *Patience) bothAnswer(ctx context.Context, pause time.Duration, deadline time.Time) bool {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
		if !p.Away(ctx) {
			return true
		}
		pause = lookAgain
	}
}

// Away reports whether one of the clusters is not ready to serve.
func (p *Patience) Away(ctx context.Context) bool { return p.waitsFor(ctx) != "" }

// Accepted notes that the other cluster takes writes.
func (p *Patience) Accepted(action outcome.Action) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.refused = 0
	if action == outcome.Create || action == outcome.Update {
		p.wrote++
	}
}

// written is how many objects were written so far.
func (p *Patience) written() int {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.wrote
}

// Overwhelmed notes an error, and reports whether the other cluster is unable to write anything, as opposed to this object: what an
// API server cannot do, and no webhook kept it from doing, many times in a row.
func (p *Patience) Overwhelmed(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code < 500 || apierror.ByWebhook(err) {
		return false
	}
	p.lock.Lock()
	defer p.lock.Unlock()
	p.refused++
	return p.refused >= refusedLimit
}
