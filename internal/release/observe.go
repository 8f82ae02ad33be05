package release

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// State is what of a service stands in the cluster.
type State struct {
	Live     colour.Colour   // where users are led, and not all of them to Next; colour.None when nowhere
	Next     colour.Colour   // of the version that the run deploys
	Old      colour.Colour   // of the version that was live before that; colour.None when there is none
	Led      []colour.Colour // that any Service or the front leads to, in order: a switch that was interrupted has several
	Staged   bool            // the version of Next is the run's
	Replicas int64           // that the live version has been told to have
}

// Observe finds out what stands.
func (b *BlueGreen) Observe(ctx context.Context) (State, error) {
	_, state, err := b.observe(ctx)
	return state, err
}

func (b *BlueGreen) observe(ctx context.Context) (map[colour.Colour]*unstructured.Unstructured, State, error) {
	var s State
	versions, err := b.versions(ctx)
	if err != nil {
		return nil, s, err
	}
	if s.Led, err = b.led(ctx); err != nil {
		return nil, s, err
	}
	for _, c := range []colour.Colour{colour.Plain, colour.Blue, colour.Green} {
		if d := versions[c]; d != nil && d.GetAnnotations()[RunAnnotation] == b.Run {
			s.Next, s.Staged = c, true
		}
	}
	live := colour.None
	for _, c := range s.Led {
		if live == colour.None || live == s.Next {
			live = c
		}
	}
	if !s.Staged {
		s.Next = live.Other() // not where Services lead to, even when no version is there
	}
	if versions[live] != nil {
		s.Live, s.Replicas = live, replicasOf(versions[live])
	}
	s.Old = s.Live
	if s.Live == s.Next { // it has been switched
		s.Old = colour.None
		if before := colour.Colour(versions[s.Next].GetAnnotations()[BeforeAnnotation]); versions[before] != nil {
			s.Old = before
		}
	}
	return versions, s, nil
}

// versions are the Deployments that are there, by colour. A coloured one is found by its labels, as its name may have been another; one
// that somebody else has copied with its labels is none.
func (b *BlueGreen) versions(ctx context.Context) (map[colour.Colour]*unstructured.Unstructured, error) {
	found := map[colour.Colour]*unstructured.Unstructured{}
	query := kube.Query{Namespace: b.Parts.Workload.GetNamespace(), Labels: ServiceLabel + "=" + b.Name + "," + colour.Label}
	for d, err := range b.Cluster.List(ctx, deployments, query) {
		if err != nil {
			return nil, err
		}
		if manager.Origin(d) != "" {
			found[colour.Colour(d.GetLabels()[colour.Label])] = d
		}
	}
	plain, err := b.Cluster.Get(ctx, b.Parts.Workload)
	if plain != nil {
		found[colour.Plain] = plain
	}
	return found, err
}

// led are the colours that the Services which are there, and the front, lead to.
func (b *BlueGreen) led(ctx context.Context) ([]colour.Colour, error) {
	outside, err := b.front().Led(ctx)
	if err != nil {
		return nil, err
	}
	inside, err := b.inside(ctx)
	led := slices.Concat(outside, inside)
	slices.Sort(led)
	return slices.Compact(led), err
}

// inside are the colours that the Services which are there lead to.
func (b *BlueGreen) inside(ctx context.Context) ([]colour.Colour, error) {
	var led []colour.Colour
	for _, service := range b.Parts.Services {
		found, err := b.Cluster.Get(ctx, service)
		if err != nil {
			return nil, err
		}
		if found != nil {
			led = append(led, LedTo(found))
		}
	}
	slices.Sort(led)
	return slices.Compact(led), nil
}

// LedTo is the colour that a Kubernetes Service leads to.
func LedTo(service *unstructured.Unstructured) colour.Colour {
	if c := field.String(service, "spec", "selector", colour.Label); c != "" {
		return colour.Colour(c)
	}
	return colour.Plain
}

func replicasOf(deployment *unstructured.Unstructured) int64 {
	n, _, _ := unstructured.NestedInt64(deployment.Object, "spec", "replicas")
	return n
}
