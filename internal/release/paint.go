package release

import (
	"cmp"
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// First is the objects of the service as they are in a cluster in which no version of it serves users yet: in the colour that the Services lead
// to already, blue if they lead nowhere. Open follows when they are ready.
func (b *BlueGreen) First(ctx context.Context) ([]*unstructured.Unstructured, error) {
	state, err := b.Observe(ctx)
	if err != nil {
		return nil, err
	}
	if state.Live == colour.Plain {
		state.Live = colour.None
	}
	first := State{Next: colour.Colour(cmp.Or(string(state.Live), string(colour.Blue)))}
	painted, err := b.paint(first)
	return slices.Concat(b.Parts.Shared, painted, b.Parts.Route(first.Next)), err
}

// paint is the next version, with its replicas and marks.
func (b *BlueGreen) paint(s State) ([]*unstructured.Unstructured, error) {
	replicas := b.replicas(s)
	if replicas == 0 {
		idle := b.Parts.Workload
		if s.Live != colour.None {
			idle = b.ref(s.Live)
		}
		return nil, fault.New(fault.Refused, "cannot deploy %s: it runs with no replica, and nothing would show that the next version works", b.Name).
			WithHint("give %s replicas first", ident.Of(idle))
	}
	painted, err := b.Parts.Paint(s.Next)
	if err != nil {
		return nil, err
	}
	for _, obj := range b.labelled(painted) {
		if obj.GetKind() != b.Parts.Workload.GetKind() {
			continue
		}
		annotate(obj, RunAnnotation, b.Run)
		if s.Live != colour.None {
			annotate(obj, BeforeAnnotation, string(s.Live))
		}
		if err := unstructured.SetNestedField(obj.Object, replicas, "spec", "replicas"); err != nil {
			return nil, err
		}
	}
	return painted, nil
}

// labelled puts the label of the service on painted objects.
func (b *BlueGreen) labelled(painted []*unstructured.Unstructured) []*unstructured.Unstructured {
	for _, obj := range painted {
		labels := obj.GetLabels()
		labels[ServiceLabel] = b.Name
		obj.SetLabels(labels)
	}
	return painted
}

// scalers parts the autoscalers from other objects.
func scalers(objs []*unstructured.Unstructured) (autoscalers, others []*unstructured.Unstructured) {
	for _, obj := range objs {
		if obj.GetKind() == "HorizontalPodAutoscaler" {
			autoscalers = append(autoscalers, obj)
		} else {
			others = append(others, obj)
		}
	}
	return autoscalers, others
}

// replicas is how many pods the next version starts with.
func (b *BlueGreen) replicas(s State) int64 {
	number := func(obj *unstructured.Unstructured, unset int64, path ...string) int64 {
		if n, found, _ := unstructured.NestedInt64(obj.Object, path...); found {
			return n
		}
		return unset
	}
	replicas := s.Replicas
	if s.Live == colour.None {
		replicas = number(b.Parts.Workload, 1, "spec", "replicas")
	}
	if scaler := b.Parts.Autoscaler(); scaler != nil && replicas > 0 {
		replicas = min(max(replicas, number(scaler, 1, "spec", "minReplicas")), number(scaler, replicas, "spec", "maxReplicas"))
	}
	return replicas
}

// grow gives the version of a colour as many replicas at least.
func (b *BlueGreen) grow(ctx context.Context, c colour.Colour, replicas int64) error {
	deployment, err := b.Cluster.Get(ctx, b.ref(c))
	if err != nil || deployment == nil || replicasOf(deployment) >= replicas {
		return err
	}
	return b.scale(ctx, deployment, replicas)
}

func (b *BlueGreen) scale(ctx context.Context, deployment *unstructured.Unstructured, replicas int64) error {
	b.Progress("scaling %s from %d to %d pods", ident.Of(deployment), replicasOf(deployment), replicas)
	return b.patch(ctx, deployment, map[string]any{"replicas": replicas})
}
