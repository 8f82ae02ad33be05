package objects

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/apierror"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/backlog"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/definition"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/pair"
	"github.com/crossfade-dev/crossfade/internal/objects/relate"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
)

// Following says how a following is told of.
type Following struct {
	Options
	Synced func(outcome.Report) // told once, when everything that was there has been copied
	Lag    func(backlog.Lag)    // told how far the other cluster is behind, at every interval; may be nil
	Every  time.Duration        // the interval of Lag
}

// followers is how many changes are carried over at once.
const followers = 16

// hopefulTries is how often a change is tried until it counts as failed. Then it is tried on in silence.
const hopefulTries = 8

// Pauses between two tries at a watch.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = time.Second
)

// Follow copies like Copy, and then carries every change of the first cluster over to the other until ctx ends, which is no error. A
// change is carried over as the object then is, so that changes in quick succession may be seen as one. A watch that is lost is
// healed by what has changed since, or by a list that writes only differences. It may be stopped anywhere and begun again.
func Follow(ctx context.Context, from, to *kube.Cluster, f Following) error {
	c, err := newCopier(ctx, from, to, f.Options)
	if err != nil {
		return err
	}
	if err := c.run(ctx); err != nil {
		return ended(ctx, err)
	}
	if f.Synced != nil {
		f.Synced(c.tally.Result())
	}
	c.writer.Relate = relate.New(to, f.References, 0) // an owner may be replaced at any time from here on
	w := &follower{copier: c, backlog: backlog.New(), watched: map[schema.GroupResource]bool{}}
	return ended(ctx, w.run(ctx, f))
}

// ended is nil for an error that came of the end of ctx.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// follower carries changes over.
type follower struct {
	*copier
	backlog *backlog.Backlog
	group   *errgroup.Group

	guard   sync.Mutex
	watched map[schema.GroupResource]bool
}

// run watches and works until ctx ends.
func (f *follower) run(ctx context.Context, o Following) error {
	f.group, ctx = errgroup.WithContext(ctx)
	f.group.Go(func() error { return f.patience.Insist(ctx, func() error { return f.watchAll(ctx) }) })
	for range followers {
		f.group.Go(func() error {
			for f.next(ctx) {
			}
			return nil
		})
	}
	f.group.Go(func() error {
		<-ctx.Done()
		f.backlog.Close()
		return nil
	})
	if o.Lag != nil {
		f.group.Go(func() error { return f.tellLag(ctx, o) })
	}
	return f.group.Wait()
}

// watchAll begins to watch every kind that is copied and not watched yet.
func (f *follower) watchAll(ctx context.Context) error {
	ours, _, err := f.from.Resources(ctx)
	if err != nil {
		return err
	}
	theirs, _, err := f.to.Resources(ctx)
	if err != nil {
		return err
	}
	for _, r := range ours {
		version, ok := pair.Version(r, theirs)
		if !ok || f.decide.Kind(r) != decide.None || !f.begin(r.GroupResource()) {
			continue
		}
		r.Version = version
		f.group.Go(func() error { return f.watch(ctx, r) })
	}
	return nil
}

// begin notes that a resource is watched, and reports whether it was not.
func (f *follower) begin(r schema.GroupResource) bool {
	f.guard.Lock()
	defer f.guard.Unlock()
	if f.watched[r] {
		return false
	}
	f.watched[r] = true
	return true
}

// watch follows one kind until ctx ends or the kind does.
func (f *follower) watch(ctx context.Context, r kube.Resource) error {
	version, pause := f.listedAt(r), shortestPause
	for ctx.Err() == nil {
		was, err := version, error(nil)
		if version == "" {
			err = f.relist(ctx, r)
			version = f.listedAt(r)
		} else {
			version, err = f.from.Watch(ctx, r.GroupVersionResource, version, func(c kube.Change) { f.backlog.Add(r, c) })
		}
		switch {
		case errors.Is(err, kube.ErrExpired):
			f.Progress("listing %s again: %v", r.GroupResource(), err)
			f.forget(r)
			version = ""
		case apierror.NotServed(err):
			f.unwatch(r)
			return nil
		case err == nil && version != was:
			pause = shortestPause
			continue
		case err != nil && pause == shortestPause && ctx.Err() == nil:
			f.Progress("waiting: %v", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
	return nil
}

// listedAt is the version of the latest list of a kind; "" when it was not listed.
func (f *follower) listedAt(r kube.Resource) string {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.began[r.GroupResource()]
}

func (f *follower) unwatch(r kube.Resource) {
	f.forget(r)
	f.guard.Lock()
	defer f.guard.Unlock()
	delete(f.watched, r.GroupResource())
}

// forget has a kind listed anew.
func (f *follower) forget(r kube.Resource) {
	f.lock.Lock()
	defer f.lock.Unlock()
	delete(f.began, r.GroupResource())
}

// relist copies a kind anew: only differences are written, and what is gone is deleted.
func (f *follower) relist(ctx context.Context, r kube.Resource) error {
	gone, err := f.tryKind(ctx, r, true)
	if err == nil {
		err = f.patience.Insist(ctx, func() error { return f.settleRest(ctx) })
	}
	if err == nil {
		err = f.patience.Insist(ctx, func() error { return f.pruner.All(ctx, gone) })
	}
	if err != nil {
		f.forget(r)
	}
	return err
}

// next carries one change over. It reports false when the following has ended.
func (f *follower) next(ctx context.Context) bool {
	return f.backlog.Next(func(c backlog.Change, tries int) (done, wrote bool) {
		done, wrote, err := f.carry(ctx, c, tries)
		if err != nil && ctx.Err() == nil && tries == 0 && retry.Stops(err) {
			f.Progress("waiting: %v", err)
		}
		return done && err == nil && ctx.Err() == nil, wrote
	})
}

// carry brings one object of the other cluster to where its original is, and reports whether anything had to be written. It is done or
// must be tried again.
func (f *follower) carry(ctx context.Context, c backlog.Change, tries int) (done, wrote bool, err error) {
	if c.Gone {
		if !f.decide.Asked(c.Resource, c.Object) {
			return true, false, nil
		}
		wrote, err := f.pruner.One(ctx, c.Object)
		return err == nil, wrote, err
	}
	reason, err := f.decide.Object(ctx, c.Resource, c.Object)
	if err != nil || reason != decide.None {
		return err == nil, false, err
	}
	existing, err := f.to.Get(ctx, c.Object)
	if err != nil {
		return false, false, err
	}
	if f.decide.Keep(c.Resource, c.Object, existing) != decide.None {
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

func (f *follower) tellLag(ctx context.Context, o Following) error {
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		o.Lag(f.backlog.Lag())
	}
}
