// Package objects copies what runs in one cluster and no pipeline owns into another, keeps it in step and proves it. It reads
// everything that the API lists, decides object by object (decide), takes away what belongs to the old cluster (clean),
// rewrites what names others by UID (relate), holds back what would act on the world outside (withhold), and writes in the
// order of a graph (order). It works on objects as the API gives them, without knowing their types, so that custom resources are
// no exception, and it holds no more than a page of them at a time.
package objects

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/order"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/pair"
	"github.com/crossfade-dev/crossfade/internal/objects/quiesce"
	"github.com/crossfade-dev/crossfade/internal/objects/refer"
	"github.com/crossfade-dev/crossfade/internal/objects/relate"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
	"github.com/crossfade-dev/crossfade/internal/objects/stamp"
	"github.com/crossfade-dev/crossfade/internal/objects/waiting"
)

// Limits of what one copy has under way at once. The API servers set the pace beyond them.
const (
	kindsAtOnce  = 16 // most kinds have few objects, or none
	writesAtOnce = 24 // of each kind, so that what holds up the writes of one holds up no other
)

// Options say what is copied, and who is told.
type Options struct {
	decide.Rules
	DryRun   bool                   // decide and compare, write nothing
	Patience time.Duration          // how long a cluster that does not answer is waited for, each time; 0 for not at all
	Tell     func(outcome.Decision) // told of every object, one at a time; may be nil
	Progress cluster.Progress       // told what happens, for people
}

// Copy brings the objects that the options choose from one cluster into another. It may be called again at any time, also after it was
// stopped anywhere: what is there already is not written again, and what was copied once and is gone from the first cluster is
// deleted. One object that cannot be copied does not stop the others; it is in the report, whose Err says so. An error means that a
// cluster could not be read or written at all: of code fault.Unavailable when trying again can help.
func Copy(ctx context.Context, from, to *kube.Cluster, o Options) (outcome.Report, error) {
	c, err := newCopier(ctx, from, to, o)
	if err != nil {
		return outcome.New(o.DryRun, nil).Result(), err
	}
	err = c.run(ctx)
	return c.tally.Result(), err
}

// copier is one copy, or following, under way.
type copier struct {
	Options
	from, to    *kube.Cluster
	mark        stamp.Mark // of from, on every object that is copied from it
	decide      *decide.Decider
	relate      *relate.Relater
	tally       *outcome.Tally
	waiting     *waiting.List
	controllers *quiesce.Controllers // of the other cluster that are stopped for the time of the copy
	patience    *retry.Patience
	served      []kube.Resource // by the other cluster; nil when it has to be asked
	inactive    atomic.Bool     // the other cluster was not active when it was asked last

	lock    sync.Mutex
	began   map[schema.GroupResource]string // the version of each list, from which a watch goes on
	left    map[refer.Ref]string            // what copied objects refer to and is not copied, and one that refers to it
	changed map[string]bool                 // kinds of which the other cluster makes something else than is written
}

func newCopier(ctx context.Context, from, to *kube.Cluster, o Options) (*copier, error) {
	o.Tell = inTurn(o.Tell)
	stopped := o.Quiesce
	if o.DryRun {
		stopped = nil
	}
	c := &copier{
		Options: o, from: from, to: to, relate: relate.New(to, o.References, relate.Remembered), tally: outcome.New(o.DryRun, o.Tell),
		waiting: &waiting.List{}, controllers: quiesce.New(to, stopped, o.Progress), patience: retry.New(from, to, o.Patience, o.Progress),
		began: map[schema.GroupResource]string{}, left: map[refer.Ref]string{}, changed: map[string]bool{},
	}
	c.decide = decide.New(o.Rules, ownersIn(from))
	err := c.patience.Insist(ctx, func() (err error) {
		c.mark, err = stamp.Of(ctx, from)
		return err
	})
	return c, err
}

// inTurn is a Tell that may be used by many goroutines.
func inTurn(tell func(outcome.Decision)) func(outcome.Decision) {
	if tell == nil {
		return nil
	}
	var lock sync.Mutex
	return func(d outcome.Decision) {
		lock.Lock()
		defer lock.Unlock()
		tell(d)
	}
}

// ownersIn looks up the owners of objects of a cluster.
func ownersIn(c *kube.Cluster) decide.Lookup {
	return func(ctx context.Context, ref metav1.OwnerReference, namespace string) (*unstructured.Unstructured, error) {
		gv, err := schema.ParseGroupVersion(ref.APIVersion)
		if err != nil {
			return nil, nil //nolint:nilerr,nilnil // an owner that cannot exist is none
		}
		return c.Find(ctx, gv.WithKind(ref.Kind).GroupKind(), namespace, ref.Name)
	}
}

// run copies level by level, then what had to wait for others, and deletes at the end what is gone.
func (c *copier) run(ctx context.Context) error {
	var resources []kube.Resource
	err := c.patience.Insist(ctx, func() (err error) {
		resources, err = c.survey(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if err := c.gather(ctx, resources); err != nil {
		return err
	}
	if err := c.patience.Insist(ctx, func() error { return c.controllers.Stop(ctx) }); err != nil {
		return err
	}
	var gone [][]*unstructured.Unstructured // by level: copies whose originals were not met
	for _, level := range order.Levels(resources) {
		missed, err := c.copyLevel(ctx, level)
		if err != nil {
			return err
		}
		gone = append(gone, missed)
		if err := c.patience.Insist(ctx, func() error { return c.settleOwners(ctx) }); err != nil {
			return err
		}
	}
	if err := c.patience.Insist(ctx, func() error { return c.settleRest(ctx) }); err != nil {
		return err
	}
	for _, missed := range slices.Backward(gone) {
		if err := c.patience.Insist(ctx, func() error { return c.prune(ctx, missed) }); err != nil {
			return err
		}
	}
	if err := c.patience.Insist(ctx, func() error { return c.missing(ctx) }); err != nil {
		return err
	}
	return c.patience.Insist(ctx, func() error { return c.controllers.Start(ctx) })
}

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
	w := &writer{copier: a.copier, tally: a.tally, from: obj, first: true, hasty: existing == nil}
	return w.copy(ctx, existing)
}

// orphan notes a copy whose original was not met, if the rules ask for such objects.
func (a *attempt) orphan(resource kube.Resource, theirs *unstructured.Unstructured) {
	if a.mark.Made(theirs) && a.decide.Asked(resource, theirs) {
		a.gone = append(a.gone, ident.Reference(theirs))
	}
}
