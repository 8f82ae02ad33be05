package kube

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Change is what a watch tells of one object.
type Change struct {
	Object *unstructured.Unstructured // as it is now, or was last
	Gone   bool
}

// Watch tells of every change of a resource since a version, in order, and returns the version to go on from. It ends without an error
// when the connection does; with ErrExpired when the API server no longer knows the version, so that only a list can tell what
// has changed; with an error that is NotServed when the resource is not served any more.
func (c *Cluster) Watch(ctx context.Context, gvr schema.GroupVersionResource, version string, tell func(Change)) (string, error) {
	w, err := c.watching.Resource(gvr).Watch(ctx, metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true})
	if err != nil {
		return version, c.watchError(gvr, err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return version, ctx.Err()
		case event, open := <-w.ResultChan():
			if !open {
				return version, nil
			}
			if event.Type == watch.Error {
				return version, c.watchError(gvr, apierrors.FromObject(event.Object))
			}
			obj, ok := event.Object.(*unstructured.Unstructured)
			if !ok {
				continue
			}
			version = obj.GetResourceVersion()
			if event.Type != watch.Bookmark {
				tell(Change{Object: obj, Gone: event.Type == watch.Deleted})
			}
		}
	}
}

// ErrExpired is why a watch cannot go on without a list.
var ErrExpired = fault.New(fault.Unavailable, "the API server no longer knows what has changed since")

func (c *Cluster) watchError(gvr schema.GroupVersionResource, err error) error {
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return ErrExpired
	}
	return c.Fault(err, "cannot watch %s", gvr.GroupResource())
}
