// Package objects copies what runs in one cluster and no pipeline owns into another: it reads everything that the API
// lists, decides object by object, cleans away what belongs to the old cluster, and writes in the order of a graph of
// kinds. It works on objects as the API gives them, without knowing their types, so that custom resources are no exception.
package objects

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// writers is how many objects are written at once.
const writers = 16

// Rules say what is copied.
type Rules struct {
	spec.Copy
	// Owned names the objects (ident.Of) that belong to a service or to priming.
	Owned []string
}

// Failure is an object that could not be copied.
type Failure struct {
	Object string `json:"object"`
	Error  string `json:"error"`
}

// maxFailures bounds how many failures are reported one by one.
const maxFailures = 100

// Report says what came of a copy.
type Report struct {
	Copied    int            `json:"copied"`              // created or changed
	Unchanged int            `json:"unchanged"`           // there already, as they should be
	Skipped   map[string]int `json:"skipped"`             // by reason
	Failures  []Failure      `json:"failures,omitempty"`  // the first 100
	Failed    int            `json:"failed"`              // all that failed
	NotServed []string       `json:"notServed,omitempty"` // kinds that one of the two clusters does not serve now
}

// Summary is the report in a line.
func (r Report) Summary() string {
	skipped := 0
	for _, n := range r.Skipped {
		skipped += n
	}
	return fmt.Sprintf("copied %d objects, %d unchanged, %d skipped, %d failed", r.Copied, r.Unchanged, skipped, r.Failed)
}

// Err is nil when everything that should have been copied was, and otherwise an error of code fault.Failed that names the
// first object that was not.
func (r Report) Err() error {
	if r.Failed == 0 {
		return nil
	}
	first := r.Failures[0]
	return fault.New(fault.Failed, "cannot copy %d of %d objects; the first is %s: %s", r.Failed, r.Failed+r.Copied+r.Unchanged, first.Object, first.Error).
		WithHint("correct the objects in the live generation, or leave them out with copy.exclude; the report names them all")
}

// Copy copies the objects that the rules choose. It may be called again at any time, also after it was interrupted: what is
// there already is not written again. One object that cannot be copied does not stop the others; it is in the report. An
// error means that a cluster could not be read or reached: of code fault.Unavailable when trying again can help. CronJobs
// arrive suspended, see HandOver.
func Copy(ctx context.Context, from, to *kube.Cluster, rules Rules, progress cluster.Progress) (Report, error) {
	c := &copier{from: from, to: to, decide: newDecider(rules), progress: progress, report: Report{Skipped: map[string]int{}}}
	resources, missing, err := from.Resources(ctx)
	if err != nil {
		return c.report, err
	}
	c.report.NotServed = missing
	for _, level := range levels(resources) {
		if err := c.copyLevel(ctx, level); err != nil {
			return c.report, err
		}
	}
	return c.report, nil
}

// copier is one copy under way.
type copier struct {
	from, to *kube.Cluster
	decide   *decider
	progress cluster.Progress

	lock   sync.Mutex
	report Report
}

// copyLevel copies kinds that need not wait for one another. What the other cluster serves is asked for each level anew, as
// the level before may have defined kinds.
func (c *copier) copyLevel(ctx context.Context, level []kube.Resource) error {
	served, missing, err := c.to.Resources(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for _, resource := range level {
		group.Go(func() error {
			version, ok := common(resource, served)
			if ok {
				resource.Version = version
				return c.copyKind(ctx, resource)
			}
			return c.skipKind(ctx, resource, missing)
		})
	}
	return group.Wait()
}

// common chooses the version to copy a kind in: the first of its own that the other cluster serves too.
func common(resource kube.Resource, served []kube.Resource) (string, bool) {
	i := slices.IndexFunc(served, func(r kube.Resource) bool { return r.GroupResource() == resource.GroupResource() })
	if i < 0 {
		return "", false
	}
	for _, version := range resource.Versions {
		if slices.Contains(served[i].Versions, version) {
			return version, true
		}
	}
	return "", false
}

// skipKind counts objects of a kind that the other cluster does not serve: those that would have been copied are failures,
// as they are lost otherwise.
func (c *copier) skipKind(ctx context.Context, resource kube.Resource, missing []string) error {
	lost := false
	for obj, err := range c.from.List(ctx, resource.GroupVersionResource, kube.Query{}) {
		if err != nil {
			return err
		}
		if reason := c.decide.skip(resource, obj); reason != "" {
			c.skipped(reason)
			continue
		}
		lost = true
		c.failed(obj, "the other cluster does not serve its kind")
	}
	if lost && !slices.Contains(missing, resource.GroupVersion().String()) {
		c.lock.Lock()
		defer c.lock.Unlock()
		c.report.NotServed = append(c.report.NotServed, resource.GroupResource().String())
	}
	return nil
}

// copyKind streams the objects of one kind from one cluster to the other.
func (c *copier) copyKind(ctx context.Context, resource kube.Resource) error {
	if reason := c.decide.skipKind(resource); reason != "" {
		return nil // nobody wants to read how many events were not copied
	}
	before := c.copiedSoFar()
	theirs := newPeers(c.to.List(ctx, resource.GroupVersionResource, kube.Query{}))
	defer theirs.close()
	group, writing := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for obj, err := range c.from.List(writing, resource.GroupVersionResource, kube.Query{}) {
		if err != nil {
			return cmp.Or(group.Wait(), err) // a writer's error comes first: it is why the list was cut off
		}
		existing, err := theirs.find(obj)
		if err != nil {
			return cmp.Or(group.Wait(), err)
		}
		if reason := c.decide.skip(resource, obj); reason != "" {
			c.skipped(reason)
			continue
		}
		if reason := c.decide.keep(resource, obj, existing); reason != "" {
			c.skipped(reason)
			continue
		}
		group.Go(func() error { return c.write(writing, clean(obj), existing) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if n := c.copiedSoFar() - before; n > 0 {
		c.progress("copied %s", resource.GroupResource())
	}
	return nil
}

func (c *copier) copiedSoFar() int {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.report.Copied
}
