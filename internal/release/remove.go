package release

import (
	"context"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// kinds are those that a version has objects of. What scales it goes first, and last what shows that it is there: stopped in between, all of
// it is found again.
var kinds = []schema.GroupVersionResource{
	{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
	{Version: "v1", Resource: "configmaps"},
	{Version: "v1", Resource: "secrets"},
	services, // of a front
	{Group: "apps", Version: "v1", Resource: "deployments"},
}

// clear deletes what a version has of its own, and the preview, and returns when it and its pods are gone.
func (b *BlueGreen) clear(ctx context.Context, c colour.Colour) error {
	if err := b.front().Remove(ctx, c); err != nil {
		return err
	}
	which, err := b.selector(ctx, c)
	if err != nil {
		return err
	}
	own, err := b.own(ctx, c, kinds)
	if err != nil {
		return err
	}
	preview, err := b.Cluster.Get(ctx, b.Parts.Preview(c))
	if err != nil {
		return err
	}
	if preview != nil && LedTo(preview) != colour.Plain { // it leads to the next version, which is this one or serves the users
		own = slices.Insert(own, 0, preview)
	}
	for _, obj := range own {
		if err := b.Cluster.Delete(ctx, obj); err != nil {
			return err
		}
	}
	return b.awaitGone(ctx, which, own)
}

// own are the objects of some kinds of a version that are in the cluster. What somebody else has copied with its labels is not among them.
func (b *BlueGreen) own(ctx context.Context, c colour.Colour, kinds []schema.GroupVersionResource) ([]*unstructured.Unstructured, error) {
	var own []*unstructured.Unstructured
	if c == colour.Plain {
		var err error
		if own, err = b.plain(ctx); err != nil {
			return nil, err
		}
		kinds = []schema.GroupVersionResource{services} // nothing else bears the label
	}
	query := kube.Query{Namespace: b.Parts.Workload.GetNamespace(), Labels: ServiceLabel + "=" + b.Name + "," + colour.Label + "=" + string(c)}
	for _, resource := range kinds {
		for obj, err := range b.Cluster.List(ctx, resource, query) {
			if err != nil {
				return nil, err
			}
			if manager.Origin(obj) != "" {
				own = append(own, obj)
			}
		}
	}
	return own, nil
}

// plain are the Deployment and the autoscalers of the version without a colour that are in the cluster.
func (b *BlueGreen) plain(ctx context.Context) ([]*unstructured.Unstructured, error) {
	painted, err := b.Parts.Paint(colour.Plain)
	if err != nil {
		return nil, err
	}
	autoscalers, _ := scalers(painted)
	var own []*unstructured.Unstructured
	for _, obj := range append(autoscalers, b.Parts.Workload) {
		found, err := b.Cluster.Get(ctx, obj)
		if err != nil {
			return nil, err
		}
		if found != nil {
			own = append(own, found)
		}
	}
	return own, nil
}

// awaitGone returns when objects that were deleted, and the pods that a selector selects, are gone.
func (b *BlueGreen) awaitGone(ctx context.Context, which string, own []*unstructured.Unstructured) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for seen := ""; ; {
		left, err := b.left(ctx, which, own)
		if err != nil && ctx.Err() != nil && seen != "" {
			left, err = seen, nil // the time was over while it was looked
		}
		if err != nil || left == "" {
			return err
		}
		seen = left
		select {
		case <-ctx.Done():
			return fault.New(fault.Failed, "%s is still there after it was deleted", left).WithHint("see which finalizers it has, and who should take them off")
		case <-tick.C:
		}
	}
}

// left names something of a version that is still there.
func (b *BlueGreen) left(ctx context.Context, which string, own []*unstructured.Unstructured) (string, error) {
	for _, obj := range own {
		found, err := b.Cluster.Get(ctx, obj)
		if err != nil {
			return "", err
		}
		if found != nil && found.GetUID() == obj.GetUID() {
			return ident.Of(found), nil
		}
	}
	running, err := b.podsOf(ctx, which)
	if err != nil || len(running) == 0 {
		return "", err
	}
	return "Pod " + b.Parts.Workload.GetNamespace() + "/" + slices.Sorted(maps.Keys(running))[0], nil
}
