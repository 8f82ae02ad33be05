// Package diff compares what runs in two clusters: what a copy from one to the other would write, and what the other has. It says what
// is not the same, field by field, and why.
package diff

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/apierror"
	apischema "github.com/crossfade-dev/crossfade/internal/kube/schema"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/model"
	"github.com/crossfade-dev/crossfade/internal/objects/pair"
	"github.com/crossfade-dev/crossfade/internal/objects/survey"
)

// Limits of what one comparison has under way at once.
const (
	kindsAtOnce   = 4
	objectsAtOnce = 8    // of each kind
	lookedAtAgain = 1000 // differences of each kind: among more, one that is no longer true does not matter
)

// Compare finds out what is not the same in two clusters, of what the rules have copied from the first to the second. It only reads.
// Kinds that cannot be read are the report's Trouble, and the rest is compared. An error means that nothing can be said: a
// cluster does not answer (fault.Unavailable), or does not tell what it serves.
func Compare(ctx context.Context, from, to *kube.Cluster, rules decide.Rules) (Report, error) {
	found := newCollector(from.Access().Context, to.Access().Context)
	ours, err := served(ctx, from, found)
	if err != nil {
		return Report{}, err
	}
	theirs, err := served(ctx, to, found)
	if err != nil {
		return Report{}, err
	}
	copying, err := model.New(ctx, from, to, rules, ours)
	if err != nil {
		return Report{}, err
	}
	c := &comparer{from: from, to: to, model: copying, ours: apischema.New(from.OpenAPI), theirs: apischema.New(to.OpenAPI)}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(kindsAtOnce)
	for _, k := range pairs(ours, theirs) {
		if !copying.MayCopy(k.resource) {
			continue
		}
		group.Go(func() error { return c.compareKind(ctx, k, found) })
	}
	if err := group.Wait(); err != nil {
		return Report{}, err
	}
	return found.result(), nil
}

// served asks a cluster what it serves. Groups whose own API server does not answer are trouble, unless nothing of theirs is ever
// copied: metrics are read only.
func served(ctx context.Context, c *kube.Cluster, found *collector) ([]kube.Resource, error) {
	resources, missing, err := c.Resources(ctx)
	for _, group := range missing {
		if name, _, _ := strings.Cut(group, "/"); name == "metrics.k8s.io" || strings.HasSuffix(name, ".metrics.k8s.io") {
			continue
		}
		trouble := Trouble{Kind: group, Cluster: c.Access().Context, Error: "its own API server does not answer"}
		found.with(func(r *Report) { r.Trouble = append(r.Trouble, trouble) })
	}
	return resources, err
}

// kind is a kind of which one cluster or both have objects.
type kind struct {
	resource kube.Resource
	from, to bool   // which of the clusters serve it, in the resource's version
	reason   string // why the second does not
}

// pairs are the kinds of both clusters, each once, in the version in which they are compared.
func pairs(ours, theirs []kube.Resource) []kind {
	var all []kind
	for _, r := range ours {
		if version, ok := pair.Version(r, theirs); ok {
			r.Version = version
			all = append(all, kind{resource: r, from: true, to: true})
			continue
		}
		all = append(all, kind{resource: r, from: true, reason: survey.WhyUnserved(r, theirs)})
	}
	for _, r := range theirs {
		if !slices.ContainsFunc(ours, func(o kube.Resource) bool { return o.GroupResource() == r.GroupResource() }) {
			all = append(all, kind{resource: r, to: true})
		}
	}
	return all
}

// comparer is one comparison.
type comparer struct {
	from, to     *kube.Cluster
	model        *model.Model
	ours, theirs *apischema.Schemas
}

// compareKind compares the objects of one kind. What cannot be read is trouble; only what stops everything is an error.
func (c *comparer) compareKind(ctx context.Context, k kind, found *collector) error {
	part := newCollector("", "")
	w := walk{comparer: c, kind: k, found: part}
	err := w.run(ctx)
	if apierror.Unreachable(err) || ctx.Err() != nil {
		return err
	}
	found.with(func(r *Report) {
		if err != nil {
			trouble := Trouble{Kind: k.resource.GroupResource().String(), Error: err.Error()}
			if in, ok := errors.AsType[*inCluster](err); ok {
				trouble.Cluster = in.context
			}
			r.Trouble = append(r.Trouble, trouble)
			return
		}
		r.merge(part.result())
	})
	return nil
}

// inCluster is an error of one of the two clusters.
type inCluster struct {
	error
	context string
}

// Unwrap returns what the cluster answered.
func (e *inCluster) Unwrap() error { return e.error }

func in(c *kube.Cluster, err error) error {
	if err == nil {
		return nil
	}
	return &inCluster{error: err, context: c.Access().Context}
}

// walk goes through the objects of one kind in both clusters side by side.
type walk struct {
	*comparer
	kind  kind
	found *collector
	again atomic.Int32 // differences that were looked at again
}

func (w *walk) run(ctx context.Context) error {
	group, judging := errgroup.WithContext(ctx)
	group.SetLimit(objectsAtOnce)
	theirs := pair.None()
	if w.kind.to {
		theirs = pair.New(w.to.List(judging, w.kind.resource.GroupVersionResource, kube.Query{}))
	}
	defer theirs.Close()
	judge := func(obj, existing *unstructured.Unstructured) {
		doubtful := !theirs.Ordered()
		group.Go(func() error { return w.judge(judging, obj, existing, doubtful) })
	}
	theirs.Alone = func(existing *unstructured.Unstructured) { judge(nil, existing) }
	err := w.each(judging, func(obj *unstructured.Unstructured) error {
		existing, err := theirs.Find(obj)
		if err == nil {
			judge(obj, existing)
		}
		return in(w.to, err)
	})
	if err == nil {
		err = in(w.to, theirs.Rest())
	}
	if judged := group.Wait(); judged != nil {
		return judged // it comes first: it is why the lists were cut off
	}
	return err
}

// each visits the objects of the first cluster.
func (w *walk) each(ctx context.Context, visit func(*unstructured.Unstructured) error) error {
	if !w.kind.from {
		return nil
	}
	for obj, err := range w.from.List(ctx, w.kind.resource.GroupVersionResource, kube.Query{}) {
		if err != nil {
			return in(w.from, err)
		}
		if err := visit(obj); err != nil {
			return err
		}
	}
	return nil
}

// gvk is the kind in the version in which it is compared.
func (k kind) gvk() schema.GroupVersionKind {
	return k.resource.GroupVersion().WithKind(k.resource.Kind)
}
