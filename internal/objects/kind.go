package objects

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/pair"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
)

// Limits of what one copy has under way at once. The API servers set the pace beyond them.
const (
	kindsAtOnce  = 16 // most kinds have few objects, or none
	writesAtOnce = 24 // of each kind, so that what holds up the writes of one holds up no other
)

// copyLevel copies kinds that need not wait for one another. What the other cluster serves is asked for anew when it does not serve all of
// them, as the levels before may have defined kinds. It returns copies of the other cluster whose originals were not met.
func (c *copier) copyLevel(ctx context.Context, kinds []kube.Resource) (gone []*unstructured.Unstructured, err error) {
	err = c.patience.Insist(ctx, func() (err error) {
		if c.served == nil || slices.ContainsFunc(kinds, c.unknown) {
			c.served, _, err = c.to.Resources(ctx)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	served := c.served
	var lock sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(kindsAtOnce)
	for _, resource := range kinds {
		group.Go(func() error {
			version, ok := pair.Version(resource, served)
			if ok {
				resource.Version = version
			}
			missed, err := c.copyKind(ctx, resource, ok)
			lock.Lock()
			defer lock.Unlock()
			gone = append(gone, missed...)
			return err
		})
	}
	return gone, group.Wait()
}

// unknown reports whether the other cluster did not serve a kind when it was asked.
func (c *copier) unknown(resource kube.Resource) bool {
	_, ok := pair.Version(resource, c.served)
	return !ok
}

// copyKind copies the objects of one kind. One that cannot be read is in the report, and stops nothing. It returns copies whose originals
// were not met.
func (c *copier) copyKind(ctx context.Context, resource kube.Resource, served bool) (gone []*unstructured.Unstructured, err error) {
	gone, err = c.tryKind(ctx, resource, served)
	if err != nil && !c.patience.Ends(ctx, err) {
		c.tally.FailKind(resource, err)
		return nil, nil
	}
	return gone, err
}

// tryKind is copyKind without the report. The kind is copied from the beginning again when a cluster goes away and comes back.
func (c *copier) tryKind(ctx context.Context, resource kube.Resource, served bool) (gone []*unstructured.Unstructured, err error) {
	attempt := newAttempt(c)
	err = c.patience.Insist(ctx, func() error {
		attempt.again()
		return attempt.copy(ctx, resource, served)
	})
	attempt.end()
	if n := attempt.tally.Copied(); n > 0 && !c.DryRun {
		c.Progress("copied %d %s", n, resource.GroupResource())
	}
	if err != nil {
		return nil, err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.began[resource.GroupResource()] = attempt.began
	return attempt.gone, nil
}

// attempt is one try at one kind. Its counts are merged into those of the copy at the end.
type attempt struct {
	*copier
	tally *outcome.Tally
	gone  []*unstructured.Unstructured
	began string
	wrote int // by tries before this one
}

func newAttempt(c *copier) *attempt { return &attempt{copier: c, tally: outcome.New(c.DryRun, c.Tell)} }

// again forgets what a try that was cut off has counted, but for what it has written.
func (a *attempt) again() {
	done := a.tally.Result()
	a.wrote += done.Copied()
	a.tally = outcome.New(a.DryRun, a.Tell)
	a.tally.Merge(outcome.Report{Created: done.Created, Updated: done.Updated})
	a.gone = nil
}

func (a *attempt) end() {
	done := a.tally.Result()
	done.Unchanged = max(0, done.Unchanged-a.wrote) // the last try found what those before it had written
	a.copier.tally.Merge(done)
}

// copy streams the objects of the kind from one cluster to the other, side by side with those that are there.
func (a *attempt) copy(ctx context.Context, resource kube.Resource, served bool) error {
	theirs := pair.None()
	if served {
		theirs = pair.New(a.to.List(ctx, resource.GroupVersionResource, kube.Query{}))
	}
	theirs.Alone = func(alone *unstructured.Unstructured) { a.orphan(resource, alone) }
	defer theirs.Close()
	group, writing := errgroup.WithContext(ctx)
	group.SetLimit(writesAtOnce)
	query := kube.Query{Began: func(version string) { a.began = version }}
	for obj, err := range a.from.List(writing, resource.GroupVersionResource, query) {
		if err != nil {
			return cmp.Or(group.Wait(), err) // a writer's error comes first: it is why the list was cut off
		}
		existing, err := theirs.Find(obj)
		if err != nil {
			return cmp.Or(group.Wait(), err)
		}
		group.Go(func() error { return a.one(writing, resource, obj, existing, served) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return theirs.Rest()
}

// one decides about one object and copies it.
func (a *attempt) one(ctx context.Context, resource kube.Resource, obj, existing *unstructured.Unstructured, served bool) error {
	reason, err := a.decide.Object(ctx, resource, obj)
	if retry.Passes(err) {
		return err
	}
	if err != nil {
		a.tally.Fail(obj, err)
		return nil
	}
	if reason == decide.None {
		reason = a.decide.Keep(resource, obj, existing)
	}
	if reason != decide.None {
		a.tally.Skip(obj, reason)
		return nil
	}
	if !served && !a.DryRun {
		a.tally.Add(obj, outcome.Fail, "the other cluster does not serve its kind")
		return nil
	}
	t := &turn{copier: a.copier, tally: a.tally, from: obj, first: true, hasty: existing == nil}
	return t.copy(ctx, existing)
}

// orphan notes a copy whose original was not met, if the rules ask for such objects.
func (a *attempt) orphan(resource kube.Resource, theirs *unstructured.Unstructured) {
	if a.mark.Made(theirs) && a.decide.Asked(resource, theirs) {
		a.gone = append(a.gone, ident.Reference(theirs))
	}
}
