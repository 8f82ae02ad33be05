// Package backlog holds the changes of a cluster that are not carried over to another yet, of each object the latest, and measures how
// far behind the other cluster is.
package backlog

import (
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
)

// Pauses between two tries at a change that cannot be carried over yet, because what it needs is not there.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = 10 * time.Second
)

// Change is the latest that is known of an object.
type Change struct {
	kube.Change
	Resource kube.Resource
	seen     time.Time // when the first change was seen that is not carried over yet
}

// Backlog is a queue of changes. It may be used by many goroutines; changes of one object are never carried over side by side.
type Backlog struct {
	queue workqueue.TypedRateLimitingInterface[string]
	times *times

	lock   sync.Mutex
	latest map[string]Change // by name of object
}

// New makes a backlog of nothing.
func New() *Backlog {
	pauses := workqueue.NewTypedItemExponentialFailureRateLimiter[string](shortestPause, longestPause)
	return &Backlog{queue: workqueue.NewTypedRateLimitingQueue(pauses), times: newTimes(), latest: map[string]Change{}}
}

// Close has Next report false when nothing is left in the queue.
func (b *Backlog) Close() { b.queue.ShutDown() }

// Add notes a change to be carried over.
func (b *Backlog) Add(r kube.Resource, c kube.Change) {
	name := ident.Of(c.Object)
	b.lock.Lock()
	seen := time.Now()
	if before, waits := b.latest[name]; waits {
		seen = before.seen
	}
	b.latest[name] = Change{Change: c, Resource: r, seen: seen}
	b.lock.Unlock()
	b.queue.Add(name)
}

// Next waits for a change and has it carried over, again after a pause when it is not done; tries is how often that was in vain. What is
// done and has written nothing does not count in the lag. It reports false when the backlog was closed.
func (b *Backlog) Next(carry func(c Change, tries int) (done, wrote bool)) bool {
	name, closed := b.queue.Get()
	if closed {
		return false
	}
	defer b.queue.Done(name)
	b.lock.Lock()
	c, waits := b.latest[name]
	b.lock.Unlock()
	if !waits {
		return true
	}
	done, wrote := carry(c, b.queue.NumRequeues(name))
	if !done {
		b.queue.AddRateLimited(name)
		return true
	}
	b.carried(name, c)
	if wrote {
		b.times.add(time.Since(c.seen))
	}
	return true
}

// carried forgets a change that was carried over, unless another came meanwhile.
func (b *Backlog) carried(name string, c Change) {
	b.queue.Forget(name)
	b.lock.Lock()
	defer b.lock.Unlock()
	if now := b.latest[name]; now.Object == c.Object {
		delete(b.latest, name)
	}
}

// Lag says how far the other cluster is behind, of what was carried over since it was called before, and of what was not until now.
func (b *Backlog) Lag() Lag {
	lag := b.times.take()
	lag.Waiting, lag.Oldest = b.behind()
	return lag
}

// behind is how many changes are not carried over, and how long the oldest of them has waited.
func (b *Backlog) behind() (count int, longest time.Duration) {
	b.lock.Lock()
	defer b.lock.Unlock()
	for _, c := range b.latest {
		longest = max(longest, time.Since(c.seen))
	}
	return len(b.latest), longest
}
