package release

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
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

// lead has the Services that are there lead to the version of a colour.
func (b *BlueGreen) lead(ctx context.Context, c colour.Colour) error {
	for _, service := range b.Parts.Services {
		found, err := b.Cluster.Get(ctx, service)
		if err != nil {
			return err
		}
		if found == nil || field.String(found, "spec", "selector", colour.Label) == string(c) {
			continue
		}
		if err := b.patch(ctx, found, map[string]any{"selector": map[string]any{colour.Label: string(c)}}); err != nil {
			return err
		}
	}
	return nil
}

func (b *BlueGreen) patch(ctx context.Context, obj *unstructured.Unstructured, spec map[string]any) error {
	raw, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return err
	}
	_, err = b.Cluster.Patch(ctx, obj, raw)
	return err
}

// routed are the Services as they lead to the version of a colour. Each keeps by whose ports and selector it led to the one before: the
// next version may have others, and the way back needs those.
func (b *BlueGreen) routed(ctx context.Context, c colour.Colour) ([]*unstructured.Unstructured, error) {
	routed := b.Parts.Route(c)
	for _, service := range routed {
		found, err := b.Cluster.Get(ctx, service)
		if err != nil {
			return nil, err
		}
		if found == nil {
			continue
		}
		before := found.GetAnnotations()[BeforeAnnotation]
		if LedTo(found) != c {
			raw, err := json.Marshal(map[string]any{"selector": field.Map(found, "spec", "selector"), "ports": field.List(found, "spec", "ports")})
			if err != nil {
				return nil, err
			}
			before = string(raw)
		}
		if before != "" {
			annotate(service, BeforeAnnotation, before)
		}
	}
	return routed, nil
}

// restore has the Services lead to the version before, as they did before the switch, and returns those that there were.
func (b *BlueGreen) restore(ctx context.Context, c colour.Colour) ([]*unstructured.Unstructured, error) {
	var before []*unstructured.Unstructured
	for _, service := range b.Parts.Services {
		found, err := b.Cluster.Get(ctx, service)
		if err != nil {
			return nil, err
		}
		if found == nil {
			continue
		}
		spec := map[string]any{"selector": map[string]any{}}
		if was := found.GetAnnotations()[BeforeAnnotation]; was != "" {
			if err := json.Unmarshal([]byte(was), &spec); err != nil {
				return nil, fault.New(fault.Failed, "cannot read how %s led to the version before: %w", ident.Of(service), err)
			}
			before = append(before, service)
		}
		if LedTo(found) == c {
			continue
		}
		selector := field.AsMap(spec["selector"])
		for key := range field.Map(found, "spec", "selector") {
			if _, had := selector[key]; !had && len(selector) > 0 {
				selector[key] = nil
			}
		}
		selector[colour.Label] = string(c)
		if err := b.patch(ctx, found, spec); err != nil {
			return nil, err
		}
	}
	return before, nil
}

func annotate(obj *unstructured.Unstructured, key, value string) {
	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	obj.SetAnnotations(annotations)
}

// awaitRoute returns when every one of the Services has endpoints of the version of a colour, and of no other one.
func (b *BlueGreen) awaitRoute(ctx context.Context, c colour.Colour, services []*unstructured.Unstructured) error {
	limit := cmp.Or(b.RoutedWithin, routedWithin)
	bound, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	wrong := "it could not be looked"
	for {
		now, err := b.astray(bound, c, services)
		switch {
		case err == nil && now == "":
			return nil
		case err == nil:
			wrong = now
		case bound.Err() == nil:
			return err
		}
		select {
		case <-bound.Done():
			if ctx.Err() != nil {
				return fault.New(fault.Interrupted, "stopped while the users of %s were led to its %s version: %w", b.Name, c, ctx.Err())
			}
			return fault.New(fault.Refused, "the users of %s are not led to its %s version after %s: %s", b.Name, c, limit, wrong).
				WithHint("see whether the cluster's controllers run, and who else changes the Service")
		case <-tick.C:
		}
	}
}

// astray says which of the Services does not lead to the version of a colour alone, and why; "" when all do.
func (b *BlueGreen) astray(ctx context.Context, c colour.Colour, services []*unstructured.Unstructured) (string, error) {
	which, err := b.selector(ctx, c)
	if err != nil {
		return "", err
	}
	ours, err := b.podsOf(ctx, which)
	if err != nil {
		return "", err
	}
	for _, service := range services {
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

// selector selects the pods of the version of a colour, by the Deployment that is there; by the one that is to be when there is none.
func (b *BlueGreen) selector(ctx context.Context, c colour.Colour) (string, error) {
	versions, err := b.versions(ctx)
	if err != nil {
		return "", err
	}
	deployment := versions[c]
	if deployment == nil {
		deployment = b.Parts.Workload
	}
	var parsed metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(field.Map(deployment, "spec", "selector"), &parsed); err != nil {
		return "", fault.New(fault.Failed, "cannot read the selector of %s: %w", ident.Of(deployment), err)
	}
	return metav1.FormatLabelSelector(metav1.AddLabelToSelector(&parsed, colour.Label, string(c))), nil
}

// podsOf names the pods of a selector.
func (b *BlueGreen) podsOf(ctx context.Context, selector string) (map[string]bool, error) {
	names := map[string]bool{}
	for pod, err := range b.Cluster.List(ctx, pods, kube.Query{Namespace: b.Parts.Workload.GetNamespace(), Labels: selector}) {
		if err != nil {
			return nil, err
		}
		names[pod.GetName()] = true
	}
	return names, nil
}
