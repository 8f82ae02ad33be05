// Package release takes a service from one version to the next in a cluster that serves users: the next version is started beside the
// live one, in the other colour, and the Kubernetes Services are led to it when it has proved itself. It keeps nothing in memory: which
// colour is live is what the Services say, and whose version a colour is stands on its Deployment. Every method observes first, may be
// stopped anywhere, and may be called again.
package release

import (
	"cmp"
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/workload"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// What is on everything that a version has of its own: the label with the service, the annotation with the run that deployed it last.
const (
	ServiceLabel  = "crossfade.dev/service"
	RunAnnotation = "crossfade.dev/run"
)

// BlueGreen is a service that is deployed in two colours.
type BlueGreen struct {
	Name     string // of the service
	Run      string // the run that deploys it
	Parts    colour.Parts
	Cluster  *kube.Cluster
	Progress cluster.Progress // told what happens, for people
}

// State is what of a service stands in the cluster.
type State struct {
	Live     colour.Colour // where the Kubernetes Services lead; colour.None when nowhere
	Next     colour.Colour // of the version that the run deploys
	Old      colour.Colour // of the version that stands beside that; colour.None when there is none
	Replicas int64         // that the live version has been told to have
}

// Observe finds out what stands.
func (b *BlueGreen) Observe(ctx context.Context) (State, error) {
	var s State
	service, err := b.Cluster.Get(ctx, b.Parts.Services[0])
	if err != nil {
		return s, err
	}
	deployments := map[colour.Colour]*unstructured.Unstructured{}
	for _, c := range []colour.Colour{colour.Plain, colour.Blue, colour.Green} {
		if deployments[c], err = b.deployment(ctx, c); err != nil {
			return s, err
		}
	}
	if service != nil {
		s.Live = colour.Colour(field.String(service, "spec", "selector", colour.Label))
		if s.Live == colour.None {
			s.Live = colour.Plain
		}
	}
	if deployments[s.Live] == nil {
		s.Live = colour.None
	} else {
		s.Replicas, _, _ = unstructured.NestedInt64(deployments[s.Live].Object, "spec", "replicas")
	}
	s.Next = s.Live.Other()
	for c, d := range deployments {
		if d != nil && d.GetAnnotations()[RunAnnotation] == b.Run {
			s.Next = c
		}
	}
	if s.Old = s.Live; s.Live == s.Next { // it has been switched
		s.Old = colour.None
		for c, d := range deployments {
			if d != nil && c != s.Next {
				s.Old = c
			}
		}
	}
	return s, nil
}

// First is the objects of a service as they are in a cluster in which no version of it serves users yet: in the colour that the Services lead
// to already, blue if they lead nowhere.
func First(ctx context.Context, in *kube.Cluster, service, run string, objs []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	parts, err := colour.Split(service, objs)
	if err != nil {
		return nil, err
	}
	b := &BlueGreen{Name: service, Run: run, Parts: parts, Cluster: in}
	state, err := b.Observe(ctx)
	if err != nil {
		return nil, err
	}
	if state.Live == colour.Plain {
		state.Live = colour.None
	}
	first := State{Next: colour.Colour(cmp.Or(string(state.Live), string(colour.Blue)))}
	painted, err := b.paint(first)
	return slices.Concat(parts.Shared, painted, parts.Route(first.Next)), err
}

// deployment is the Deployment of the version of a colour; nil when there is none.
func (b *BlueGreen) deployment(ctx context.Context, c colour.Colour) (*unstructured.Unstructured, error) {
	ref := b.Parts.Workload.DeepCopy()
	if c != colour.Plain {
		ref.SetName(ref.GetName() + "-" + string(c))
	}
	return b.Cluster.Get(ctx, ref)
}

// Stage starts the next version beside the live one, with as many replicas as that runs with now, within the bounds of its autoscaler,
// and returns when every pod of it is ready. The live version is not touched, but for one that was deployed before the service had
// colours: its pods are replaced once by pods that can be told apart. A service that is to run with no replica is an error of code
// fault.Refused.
func (b *BlueGreen) Stage(ctx context.Context) error {
	state, err := b.Observe(ctx)
	if err != nil {
		return err
	}
	if state.Live == state.Next {
		return nil // it serves the users already
	}
	if err := b.mark(ctx, state.Live); err != nil {
		return err
	}
	painted, err := b.paint(state)
	if err != nil {
		return err
	}
	staged := append(slices.Clone(b.Parts.Shared), painted...)
	staged = append(staged, b.Parts.Preview(state.Next))
	if _, err := b.Cluster.Apply(ctx, staged, b.Progress); err != nil {
		return err
	}
	return workload.WaitReady(ctx, b.Cluster, staged, b.Progress)
}

// paint is the next version, with its replicas and marks.
func (b *BlueGreen) paint(s State) ([]*unstructured.Unstructured, error) {
	painted, err := b.Parts.Paint(s.Next)
	if err != nil {
		return nil, err
	}
	for _, obj := range painted {
		labels := obj.GetLabels()
		labels[ServiceLabel] = b.Name
		obj.SetLabels(labels)
		if obj.GetKind() != b.Parts.Workload.GetKind() {
			continue
		}
		annotations := obj.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[RunAnnotation] = b.Run
		obj.SetAnnotations(annotations)
		replicas := b.replicas(s)
		if replicas == 0 {
			return nil, fault.New(fault.Refused, "cannot deploy %s: it runs with no replica, and nothing would show that the next version works", b.Name).
				WithHint("scale %s up first, or set replicas in its manifests", ident.Of(b.Parts.Workload))
		}
		if err := unstructured.SetNestedField(obj.Object, replicas, "spec", "replicas"); err != nil {
			return nil, err
		}
	}
	return painted, nil
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

// mark has the pods and the Services of a version without a colour say so, as the Services would lead to the next version, too.
func (b *BlueGreen) mark(ctx context.Context, live colour.Colour) error {
	if live != colour.Plain {
		return nil
	}
	deployment, err := b.deployment(ctx, colour.Plain)
	if err != nil {
		return err
	}
	if field.String(deployment, "spec", "template", "metadata", "labels", colour.Label) == "" {
		b.Progress("replacing the pods of %s by some that can be told apart", ident.Of(deployment))
		patch := `{"spec":{"template":{"metadata":{"labels":{"` + colour.Label + `":"` + string(colour.Plain) + `"}}}}}`
		if _, err := b.Cluster.Patch(ctx, deployment, []byte(patch)); err != nil {
			return err
		}
	}
	if err := workload.WaitReady(ctx, b.Cluster, []*unstructured.Unstructured{b.Parts.Workload}, b.Progress); err != nil {
		return err
	}
	return b.lead(ctx, colour.Plain)
}

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
		if _, err := b.Cluster.Patch(ctx, found, []byte(`{"spec":{"selector":{"`+colour.Label+`":"`+string(c)+`"}}}`)); err != nil {
			return err
		}
	}
	return nil
}

// Switch leads the users to the next version, and returns when no endpoint of the Services is of another one.
func (b *BlueGreen) Switch(ctx context.Context) error {
	state, err := b.Observe(ctx)
	if err != nil {
		return err
	}
	if _, err := b.Cluster.Apply(ctx, b.Parts.Route(state.Next), b.Progress); err != nil {
		return err
	}
	return b.awaitRoute(ctx, state.Next)
}

// Back leads the users to the version that was live before the run, if there was one, and returns when no endpoint is of another one.
func (b *BlueGreen) Back(ctx context.Context) error {
	state, err := b.Observe(ctx)
	if err != nil {
		return err
	}
	if state.Live != state.Next {
		return nil
	}
	if state.Old == colour.None {
		return fault.New(fault.Failed, "cannot lead the users of %s back: the version before it is gone", b.Name).
			WithHint("deploy that version again")
	}
	if err := b.lead(ctx, state.Old); err != nil {
		return err
	}
	return b.awaitRoute(ctx, state.Old)
}

// Remove deletes what a version has of its own, and returns when it is gone. The version that is live is never removed.
func (b *BlueGreen) Remove(ctx context.Context, c colour.Colour) error {
	state, err := b.Observe(ctx)
	if err != nil || c == colour.None {
		return err
	}
	if state.Live == c {
		return fault.New(fault.Failed, "cannot remove the %s version of %s: it is live", c, b.Name)
	}
	own, err := b.own(ctx, c)
	if err != nil {
		return err
	}
	own = append(own, b.Parts.Preview(c)) // it leads to the next version, which is this one or serves the users
	for _, obj := range own {
		if err := b.Cluster.Delete(ctx, obj); err != nil {
			return err
		}
	}
	return b.awaitGone(ctx, c, own)
}

// kinds are those that a version has objects of.
var kinds = []schema.GroupVersionResource{
	{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Version: "v1", Resource: "configmaps"},
	{Version: "v1", Resource: "secrets"},
}

// own are the objects of a version that are in the cluster.
func (b *BlueGreen) own(ctx context.Context, c colour.Colour) ([]*unstructured.Unstructured, error) {
	if c == colour.Plain {
		return b.Parts.Paint(c)
	}
	var own []*unstructured.Unstructured
	query := kube.Query{Namespace: b.Parts.Workload.GetNamespace(), Labels: ServiceLabel + "=" + b.Name + "," + colour.Label + "=" + string(c)}
	for _, resource := range kinds {
		for obj, err := range b.Cluster.List(ctx, resource, query) {
			if err != nil {
				return nil, err
			}
			own = append(own, obj)
		}
	}
	return own, nil
}
