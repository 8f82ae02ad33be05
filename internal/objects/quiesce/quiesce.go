// Package quiesce stops controllers of a cluster for the time that it is copied to.
package quiesce

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Annotation keeps the replicas that a controller had before it was stopped for the time of a copy.
const Annotation = "crossfade.dev/quiesced-replicas"

// kinds are the kinds of workloads that controllers are.
var kinds = []kube.Resource{
	{GroupVersionResource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, Kind: "Deployment", Namespaced: true},
	{GroupVersionResource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, Kind: "StatefulSet", Namespaced: true},
}

// Controllers are those of a cluster that rules name.
type Controllers struct {
	in       *kube.Cluster
	named    []spec.Selector
	progress cluster.Progress
	stopped  bool
}

// New makes what stops the named controllers of a cluster that is copied to.
func New(in *kube.Cluster, named []spec.Selector, progress cluster.Progress) *Controllers {
	return &Controllers{in: in, named: named, progress: progress}
}

// Stop stops the controllers, so that they do not act on half of what they look after. A copy that is stopped before Start leaves them
// marked, and the next one starts them.
func (c *Controllers) Stop(ctx context.Context) error {
	c.stopped = true
	return c.each(ctx, func(obj *unstructured.Unstructured) error {
		if obj.GetAnnotations()[Annotation] != "" {
			return nil
		}
		c.progress("stopped %s while it is copied to", ident.Of(obj))
		return c.scale(ctx, obj, 0, strconv.Quote(fmt.Sprint(replicas(obj))))
	})
}

// Start starts those again that were stopped, with the replicas that they had.
func (c *Controllers) Start(ctx context.Context) error {
	c.stopped = false
	return c.each(ctx, func(obj *unstructured.Unstructured) error { return c.wake(ctx, obj) })
}

// Still is an object as it is written while controllers are stopped: one that the rules name starts with the others, when everything
// has been copied. One that was stopped with other replicas than were last copied, because something scales it, gets those again.
func (c *Controllers) Still(want, existing *unstructured.Unstructured) *unstructured.Unstructured {
	i := slices.IndexFunc(kinds, func(r kube.Resource) bool { return r.GroupKind() == want.GroupVersionKind().GroupKind() })
	if !c.stopped || i < 0 || !decide.MatchesAny(c.named, kinds[i], want) {
		return want
	}
	before := fmt.Sprint(replicas(want))
	if existing != nil && manager.Copied(existing) == want.GetLabels()[manager.CopiedLabel] && existing.GetAnnotations()[Annotation] != "" {
		before = existing.GetAnnotations()[Annotation]
	}
	stopped := want.DeepCopy()
	_ = unstructured.SetNestedField(stopped.Object, int64(0), "spec", "replicas") // it has a spec, as every workload
	_ = unstructured.SetNestedField(stopped.Object, before, "metadata", "annotations", Annotation)
	return stopped
}

// replicas are those that a workload asks for; one is the API's default.
func replicas(obj *unstructured.Unstructured) int64 {
	if n, found, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas"); found {
		return n
	}
	return 1
}

func (c *Controllers) wake(ctx context.Context, obj *unstructured.Unstructured) error {
	before, err := strconv.Atoi(obj.GetAnnotations()[Annotation])
	if err != nil {
		return nil //nolint:nilerr // it was not stopped
	}
	c.progress("started %s again", ident.Of(obj))
	return c.scale(ctx, obj, before, "null")
}

func (c *Controllers) scale(ctx context.Context, obj *unstructured.Unstructured, to int, annotation string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}},"spec":{"replicas":%d}}`, Annotation, annotation, to)
	_, err := c.in.Patch(ctx, obj, []byte(patch))
	return err
}

// each visits the Deployments and StatefulSets of the cluster that the rules name.
func (c *Controllers) each(ctx context.Context, visit func(*unstructured.Unstructured) error) error {
	if len(c.named) == 0 {
		return nil
	}
	for _, r := range kinds {
		for obj, err := range c.in.List(ctx, r.GroupVersionResource, kube.Query{}) {
			if err != nil {
				return err
			}
			if !decide.MatchesAny(c.named, r, obj) {
				continue
			}
			if err := visit(obj); err != nil {
				return err
			}
		}
	}
	return nil
}
