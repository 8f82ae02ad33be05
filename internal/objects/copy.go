// Package objects copies what runs in one cluster and no pipeline owns into another, keeps it in step and proves it. It finds out which
// kinds can be copied (survey), reads everything that the API lists, side by side with what is there (pair), decides object by object
// (decide), takes away what belongs to the old cluster (clean), rewrites what names others by UID (relate), holds back what would act
// on the world outside (withhold), and writes (write) in the order of a graph (order). What lacks something is put off until it is there
// (waiting), and copies whose originals are gone are deleted (prune). It works on objects as the API gives them, without knowing their
// types, so that custom resources are no exception, and it holds no more than a page of them at a time.
package objects

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/gather"
	"github.com/crossfade-dev/crossfade/internal/objects/order"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/prune"
	"github.com/crossfade-dev/crossfade/internal/objects/quiesce"
	"github.com/crossfade-dev/crossfade/internal/objects/relate"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
	"github.com/crossfade-dev/crossfade/internal/objects/stamp"
	"github.com/crossfade-dev/crossfade/internal/objects/survey"
	"github.com/crossfade-dev/crossfade/internal/objects/waiting"
	"github.com/crossfade-dev/crossfade/internal/objects/write"
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
	tally       *outcome.Tally
	waiting     *waiting.List
	controllers *quiesce.Controllers // of the other cluster that are stopped for the time of the copy
	patience    *retry.Patience
	writer      *write.Writer
	pruner      *prune.Pruner
	served      []kube.Resource // by the other cluster; nil when it has to be asked

	lock  sync.Mutex
	began map[schema.GroupResource]string // the version of each list, from which a watch goes on
}

func newCopier(ctx context.Context, from, to *kube.Cluster, o Options) (*copier, error) {
	o.Tell = inTurn(o.Tell)
	stopped := o.Quiesce
	if o.DryRun {
		stopped = nil
	}
	c := &copier{
		Options: o, from: from, to: to, decide: decide.New(o.Rules, decide.OwnersIn(from)), tally: outcome.New(o.DryRun, o.Tell),
		waiting: &waiting.List{}, controllers: quiesce.New(to, stopped, o.Progress), patience: retry.New(from, to, o.Patience, o.Progress),
		began: map[schema.GroupResource]string{},
	}
	err := c.patience.Insist(ctx, func() (err error) {
		c.mark, err = stamp.Of(ctx, from)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.writer = &write.Writer{
		From: from, To: to, Rules: o.Rules, DryRun: o.DryRun, Mark: c.mark, Relate: relate.New(to, o.References, relate.Remembered),
		Controllers: c.controllers, Patience: c.patience, Progress: o.Progress, Note: c.tally.Note,
	}
	c.pruner = &prune.Pruner{From: from, To: to, Decide: c.decide, Mark: c.mark, Writer: c.writer, Tally: c.tally}
	return c, nil
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

// run copies level by level, then what had to wait for others, and deletes at the end what is gone.
func (c *copier) run(ctx context.Context) error {
	surveyor := &survey.Surveyor{From: c.from, To: c.to, Decide: c.decide, Tally: c.tally, Progress: c.Progress}
	var resources []kube.Resource
	err := c.patience.Insist(ctx, func() (err error) {
		resources, err = surveyor.Kinds(ctx)
		return err
	})
	if err != nil {
		return err
	}
	references := gather.New(c.from, c.Rules, c.decide, c.patience)
	if err := references.Gather(ctx, resources); err != nil {
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
		if err := c.patience.Insist(ctx, func() error { return c.pruner.All(ctx, missed) }); err != nil {
			return err
		}
	}
	if err := c.patience.Insist(ctx, func() error { return references.Missing(ctx, c.to, c.tally) }); err != nil {
		return err
	}
	return c.patience.Insist(ctx, func() error { return c.controllers.Start(ctx) })
}
