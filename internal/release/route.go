package release

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

var (
	endpointSlices = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
	pods           = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
)

// routedWithin bounds how long the endpoints of the Services may take to follow their selectors, lookEvery is the time between two looks.
const (
	routedWithin = 30 * time.Second
	lookEvery    = 100 * time.Millisecond
)

// awaitRoute returns when every Service has endpoints of the version of a colour, and of no other one.
func (b *BlueGreen) awaitRoute(ctx context.Context, c colour.Colour) error {
	ctx, cancel := context.WithTimeout(ctx, routedWithin)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		wrong, err := b.astray(ctx, c)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil && wrong == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Refused, "the users of %s are not led to its %s version after %s: %s", b.Name, c, routedWithin, wrong).
				WithHint("see whether the cluster's controllers run, and who else changes the Service")
		case <-tick.C:
		}
	}
}

// awaitGone returns when objects that were deleted, and the pods of their version, are gone.
func (b *BlueGreen) awaitGone(ctx context.Context, c colour.Colour, own []*unstructured.Unstructured) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		left, err := b.left(ctx, c, own)
		if err != nil || left == "" {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Failed, "%s is still there after it was deleted", left).WithHint("see which finalizers it has, and who should take them off")
		case <-tick.C:
		}
	}
}

// left names something of a version that is still there.
func (b *BlueGreen) left(ctx context.Context, c colour.Colour, own []*unstructured.Unstructured) (string, error) {
	for _, obj := range own {
		found, err := b.Cluster.Get(ctx, obj)
		if err != nil {
			return "", err
		}
		if found != nil {
			return ident.Of(found), nil
		}
	}
	running, err := b.podsOf(ctx, c)
	if err != nil || len(running) == 0 {
		return "", err
	}
	return "Pod " + b.Parts.Workload.GetNamespace() + "/" + slices.Sorted(maps.Keys(running))[0], nil
}

// astray says which Service does not lead to the version of a colour alone, and why; "" when all do.
func (b *BlueGreen) astray(ctx context.Context, c colour.Colour) (string, error) {
	ours, err := b.podsOf(ctx, c)
	if err != nil {
		return "", err
	}
	for _, service := range b.Parts.Services {
		ready, why, err := b.endpoints(ctx, service, ours)
		if err != nil || why != "" {
			return why, err
		}
		if ready == 0 {
			return fmt.Sprintf("Service %s has no ready endpoint", service.GetName()), nil
		}
	}
	return "", nil
}

// endpoints counts the endpoints of a Service that are ready; why names one that is not of the given pods.
func (b *BlueGreen) endpoints(ctx context.Context, service *unstructured.Unstructured, ours map[string]bool) (ready int, why string, err error) {
	query := kube.Query{Namespace: service.GetNamespace(), Labels: "kubernetes.io/service-name=" + service.GetName()}
	for slice, err := range b.Cluster.List(ctx, endpointSlices, query) {
		if err != nil {
			return 0, "", err
		}
		for _, e := range field.List(slice, "endpoints") {
			endpoint := field.AsMap(e)
			pod, _ := field.Child(endpoint, "targetRef")["name"].(string)
			if is, set := field.Child(endpoint, "conditions")["ready"].(bool); set && !is {
				continue
			}
			if !ours[pod] {
				return 0, fmt.Sprintf("Service %s leads to pod %s", service.GetName(), pod), nil
			}
			ready++
		}
	}
	return ready, "", nil
}

// podsOf names the pods of the version of a colour.
func (b *BlueGreen) podsOf(ctx context.Context, c colour.Colour) (map[string]bool, error) {
	selector := field.Map(b.Parts.Services[0], "spec", "selector")
	query := kube.Query{Namespace: b.Parts.Workload.GetNamespace(), Labels: colour.Label + "=" + string(c)}
	names := map[string]bool{}
	for pod, err := range b.Cluster.List(ctx, pods, query) {
		if err != nil {
			return nil, err
		}
		if field.Within(selector, field.Map(pod, "metadata", "labels")) {
			names[pod.GetName()] = true
		}
	}
	return names, nil
}
