package objects

import (
	"context"
	"time"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/definition"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
)

// change is the latest that is known of an object.
type change struct {
	kube.Change
	resource kube.Resource
	seen     time.Time // when the first change was seen that is not carried over yet
}

// add notes a change to be carried over.
func (f *follower) add(r kube.Resource, c kube.Change) {
	name := ident.Of(c.Object)
	f.guard.Lock()
	seen := time.Now()
	if before, waits := f.latest[name]; waits {
		seen = before.seen
	}
	f.latest[name] = change{Change: c, resource: r, seen: seen}
	f.guard.Unlock()
	f.queue.Add(name)
}

// next carries one change over. It reports false when the following has ended.
func (f *follower) next(ctx context.Context) bool {
	name, ended := f.queue.Get()
	if ended {
		return false
	}
	defer f.queue.Done(name)
	f.guard.Lock()
	c, waits := f.latest[name]
	f.guard.Unlock()
	if !waits {
		return true
	}
	tries := f.queue.NumRequeues(name)
	done, wrote, err := f.carry(ctx, c, tries)
	switch {
	case ctx.Err() != nil:
		return true
	case done && err == nil:
		f.carried(name, c, wrote)
	default:
		if err != nil && tries == 0 && retry.Stops(err) {
			f.Progress("waiting: %v", err)
		}
		f.queue.AddRateLimited(name)
	}
	return true
}

// carried forgets a change that was carried over, unless another came meanwhile.
func (f *follower) carried(name string, c change, wrote bool) {
	f.queue.Forget(name)
	f.guard.Lock()
	if now := f.latest[name]; now.Object == c.Object {
		delete(f.latest, name)
	}
	f.guard.Unlock()
	if wrote {
		f.lag.add(time.Since(c.seen))
	}
}

// carry brings one object of the other cluster to where its original is, and reports whether anything had to be written. It is done or
// must be tried again.
func (f *follower) carry(ctx context.Context, c change, tries int) (done, wrote bool, err error) {
	if c.Gone {
		if !f.decide.Asked(c.resource, c.Object) {
			return true, false, nil
		}
		wrote, err := f.pruner.One(ctx, c.Object)
		return err == nil, wrote, err
	}
	reason, err := f.decide.Object(ctx, c.resource, c.Object)
	if err != nil || reason != decide.None {
		return err == nil, false, err
	}
	existing, err := f.to.Get(ctx, c.Object)
	if err != nil {
		return false, false, err
	}
	if f.decide.Keep(c.resource, c.Object, existing) != decide.None {
		return true, false, nil
	}
	want, missing, err := f.writer.Prepare(ctx, c.Object, false)
	if err == nil && len(missing) > 0 && tries < hopefulTries {
		return false, false, nil
	}
	var action outcome.Action
	var why string
	if err == nil {
		action, why, err = f.writer.Put(ctx, c.Object, want, existing, false)
	}
	switch {
	case err == nil:
		f.tally.Add(c.Object, action, why)
		if definition.Is(want) {
			err = f.watchAll(ctx)
		}
		return true, action == outcome.Create || action == outcome.Update, err
	case !retry.Stops(err) && tries == hopefulTries:
		f.tally.Fail(c.Object, err)
		f.Progress("cannot carry over %s: %v", ident.Of(c.Object), err)
	}
	return false, false, err
}

// behind is how many changes are not carried over.
func (f *follower) behind() (count int, longest time.Duration) {
	f.guard.Lock()
	defer f.guard.Unlock()
	for _, c := range f.latest {
		longest = max(longest, time.Since(c.seen))
	}
	return len(f.latest), longest
}

func (f *follower) tellLag(ctx context.Context, o Following) error {
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		lag := f.lag.take()
		lag.Waiting, lag.Oldest = f.behind()
		o.Lag(lag)
	}
}
