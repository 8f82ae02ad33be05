package objects

import (
	"context"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
)

// QuiescedAnnotation keeps the replicas that a controller had before it was stopped for the time of a copy.
const QuiescedAnnotation = "crossfade.dev/quiesced-replicas"

// quiesce stops the controllers of the other cluster that the rules name, so that they do not act on half of what they look after,
// and returns what starts them again. A copy that is stopped in between leaves them marked, and the next one starts them.
func (c *copier) quiesce(ctx context.Context) (release func() error, err error) {
	if len(c.Quiesce) == 0 || c.DryRun {
		return func() error { return nil }, nil
	}
	err = c.insist(ctx, func() error {
		return c.eachController(ctx, func(obj *unstructured.Unstructured) error {
			if obj.GetAnnotations()[QuiescedAnnotation] != "" {
				return nil
			}
			replicas, found, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas")
			if !found {
				replicas = 1
			}
			c.Progress("stopped %s while it is copied to", ident.Of(obj))
			return c.scale(ctx, obj, 0, strconv.Quote(fmt.Sprint(replicas)))
		})
	})
	return func() error {
		return c.insist(ctx, func() error {
			return c.eachController(ctx, func(obj *unstructured.Unstructured) error { return c.wake(ctx, obj) })
		})
	}, err
}

func (c *copier) wake(ctx context.Context, obj *unstructured.Unstructured) error {
	replicas, err := strconv.Atoi(obj.GetAnnotations()[QuiescedAnnotation])
	if err != nil {
		return nil //nolint:nilerr // it was not stopped
	}
	c.Progress("started %s again", ident.Of(obj))
	return c.scale(ctx, obj, replicas, "null")
}

func (c *copier) scale(ctx context.Context, obj *unstructured.Unstructured, replicas int, annotation string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}},"spec":{"replicas":%d}}`, QuiescedAnnotation, annotation, replicas)
	_, err := c.to.Patch(ctx, obj, []byte(patch))
	return err
}

// eachController visits the Deployments and StatefulSets of the other cluster that the rules name.
func (c *copier) eachController(ctx context.Context, visit func(*unstructured.Unstructured) error) error {
	for kind, resource := range map[string]string{"Deployment": "deployments", "StatefulSet": "statefulsets"} {
		r := kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: resource}, Kind: kind, Namespaced: true}
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
