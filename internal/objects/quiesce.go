package objects

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
)

// QuiescedAnnotation keeps the replicas that a controller had before it was stopped for the time of a copy.
const QuiescedAnnotation = "crossfade.dev/quiesced-replicas"

// controllers are the kinds of workloads that controllers are.
var controllers = []kube.Resource{
	{GroupVersionResource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, Kind: "Deployment", Namespaced: true},
	{GroupVersionResource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, Kind: "StatefulSet", Namespaced: true},
}

// quiesce stops the controllers of the other cluster that the rules name, so that they do not act on half of what they look after,
// and returns what starts them again. A copy that is stopped in between leaves them marked, and the next one starts them.
func (c *copier) quiesce(ctx context.Context) (release func() error, err error) {
	if len(c.Quiesce) == 0 || c.DryRun {
		return func() error { return nil }, nil
	}
	c.quiescing = true
	err = c.insist(ctx, func() error {
		return c.eachController(ctx, func(obj *unstructured.Unstructured) error {
			if obj.GetAnnotations()[QuiescedAnnotation] != "" {
				return nil
			}
			c.Progress("stopped %s while it is copied to", ident.Of(obj))
			return c.scale(ctx, obj, 0, strconv.Quote(fmt.Sprint(replicas(obj))))
		})
	})
	return func() error {
		c.quiescing = false
		return c.insist(ctx, func() error {
			return c.eachController(ctx, func(obj *unstructured.Unstructured) error { return c.wake(ctx, obj) })
		})
	}, err
}

// still is an object as it is written while controllers are stopped: one that the rules name starts with the others, when everything
// has been copied. One that was stopped with other replicas than were last copied, because something scales it, gets those again.
func (c *copier) still(want, existing *unstructured.Unstructured) *unstructured.Unstructured {
	i := slices.IndexFunc(controllers, func(r kube.Resource) bool { return r.GroupKind() == want.GroupVersionKind().GroupKind() })
	if !c.quiescing || i < 0 || !decide.MatchesAny(c.Quiesce, controllers[i], want) {
		return want
	}
	before := fmt.Sprint(replicas(want))
	if existing != nil && kube.Copied(existing) == want.GetLabels()[kube.CopiedLabel] && existing.GetAnnotations()[QuiescedAnnotation] != "" {
		before = existing.GetAnnotations()[QuiescedAnnotation]
	}
	stopped := want.DeepCopy()
	_ = unstructured.SetNestedField(stopped.Object, int64(0), "spec", "replicas") // it has a spec, as every workload
	_ = unstructured.SetNestedField(stopped.Object, before, "metadata", "annotations", QuiescedAnnotation)
	return stopped
}

// replicas are those that a workload asks for; one is the API's default.
func replicas(obj *unstructured.Unstructured) int64 {
	if n, found, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas"); found {
		return n
	}
	return 1
}

func (c *copier) wake(ctx context.Context, obj *unstructured.Unstructured) error {
	before, err := strconv.Atoi(obj.GetAnnotations()[QuiescedAnnotation])
	if err != nil {
		return nil //nolint:nilerr // it was not stopped
	}
	c.Progress("started %s again", ident.Of(obj))
	return c.scale(ctx, obj, before, "null")
}

func (c *copier) scale(ctx context.Context, obj *unstructured.Unstructured, to int, annotation string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}},"spec":{"replicas":%d}}`, QuiescedAnnotation, annotation, to)
	_, err := c.to.Patch(ctx, obj, []byte(patch))
	return err
}

// eachController visits the Deployments and StatefulSets of the other cluster that the rules name.
func (c *copier) eachController(ctx context.Context, visit func(*unstructured.Unstructured) error) error {
	for _, r := range controllers {
		for obj, err := range c.to.List(ctx, r.GroupVersionResource, kube.Query{}) {
			if err != nil {
				return err
			}
			if !decide.MatchesAny(c.Quiesce, r, obj) {
				continue
			}
			if err := visit(obj); err != nil {
				return err
			}
		}
	}
	return nil
}
