// Package release takes a service from one version to the next in a cluster that serves users: the next version is started beside the
// live one, in the other colour, and the Kubernetes Services are led to it when it has proved itself. It keeps nothing in memory: which
// colour is live is what the Services say, and whose version a colour is stands on its Deployment. Every method observes first, may be
// stopped anywhere, and may be called again.
package release

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/workload"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// What is on everything that a version has of its own: the label with the service, and on its Deployment the annotations with the run that
// deployed it last, and with the colour that was live then.
const (
	ServiceLabel     = "crossfade.dev/service"
	RunAnnotation    = "crossfade.dev/run"
	BeforeAnnotation = "crossfade.dev/before"
)

// readyWithin bounds how long pods may take that the next version gets in addition at the switch, as the live one has more by then.
const readyWithin = 5 * time.Minute

// BlueGreen is a service that is deployed in two colours.
type BlueGreen struct {
	Name         string // of the service
	Run          string // the run that deploys it
	Parts        colour.Parts
	Front        Front // what leads users from outside ahead of the Kubernetes Services; nil when nothing does
	Cluster      *kube.Cluster
	Progress     cluster.Progress // told what happens, for people
	RoutedWithin time.Duration    // how long endpoints may take to follow the selectors of their Services; 30 s when zero
}

// Stage starts the next version beside the live one, with as many replicas as that runs with now, within the bounds of its autoscaler,
// which comes with the switch: without users it would take the pods away. It returns when every pod is ready. The live version is not
// touched, but for one that was deployed before the service had colours: its pods are replaced once by pods that can be told apart.
//
// Errors of code fault.Refused: a service that is to run with no replica; a Kubernetes Service that would lead users to pods that have
// not proved themselves; an object of somebody else in the way.
func (b *BlueGreen) Stage(ctx context.Context) error {
	state, err := b.Observe(ctx)
	if err != nil {
		return err
	}
	if state.Staged && slices.Contains(state.Led, state.Next) {
		return nil // it serves the users already
	}
	if state, err = b.gather(ctx, state); err != nil {
		return err
	}
	if err := b.agree(state); err != nil {
		return err
	}
	if err := b.check(ctx); err != nil {
		return err
	}
	painted, err := b.paint(state)
	if err != nil {
		return err
	}
	if err := b.guard(ctx, painted); err != nil {
		return err
	}
	if err := b.vacate(ctx, state.Next, painted); err != nil {
		return err
	}
	if err := b.mark(ctx, state); err != nil {
		return err
	}
	_, others := scalers(painted)
	staged := append(slices.Concat(b.Parts.Shared, others), b.Parts.Preview(state.Next))
	if _, err := b.Cluster.Apply(ctx, staged, b.Progress); err != nil {
		return err
	}
	if err := b.grow(ctx, state.Next, b.replicas(state)); err != nil {
		return err
	}
	if err := workload.WaitReady(ctx, b.Cluster, staged, b.Progress); err != nil {
		return err
	}
	return b.front().Prepare(ctx, state.Next)
}

// agree checks that the users are led to one version.
func (b *BlueGreen) agree(s State) error {
	if len(s.Led) < 2 {
		return nil
	}
	refused := fault.New(fault.Refused, "cannot deploy %s: some of its users are led to its %s version and some to its %s one", b.Name, s.Led[0], s.Led[1])
	if b.Front != nil {
		return refused.WithHint("see which of them is good, and have the selectors of all Services of %s (%s=%s or %s) and what leads its users from outside lead there", b.Name, colour.Label, s.Led[0], s.Led[1])
	}
	return refused.WithHint("see which of them is good, and give it to the selectors of all Services of %s: %s=%s or %s", b.Name, colour.Label, s.Led[0], s.Led[1])
}

// Switch leads the users to the next version, those from outside first, and returns when no endpoint of the Services is of another one. It
// is not done unless that version was staged by this run, is ready, and has as many replicas as the live version has now.
func (b *BlueGreen) Switch(ctx context.Context) error {
	state, err := b.fit(ctx)
	if err != nil {
		return err
	}
	if err := b.front().Lead(ctx, state.Next, state.Old, 100); err != nil {
		return err
	}
	routed, err := b.routed(ctx, state.Next)
	if err != nil {
		return err
	}
	if _, err := b.Cluster.Apply(ctx, routed, b.Progress); err != nil {
		return err
	}
	if err := b.awaitRoute(ctx, state.Next, b.Parts.Services); err != nil {
		return err
	}
	painted, err := b.Parts.Paint(state.Next)
	if err != nil {
		return err
	}
	if autoscalers, _ := scalers(b.labelled(painted)); len(autoscalers) > 0 {
		_, err = b.Cluster.Apply(ctx, autoscalers, b.Progress)
	}
	return err
}

// fit observes the service, and returns when the next version can take its users.
func (b *BlueGreen) fit(ctx context.Context) (State, error) {
	state, err := b.Observe(ctx)
	if err != nil {
		return state, err
	}
	if !state.Staged {
		return state, fault.New(fault.Failed, "cannot lead the users of %s to the next version: it is not there", b.Name).WithHint("deploy it again")
	}
	if state.Live == state.Next {
		return state, nil
	}
	return state, b.catchUp(ctx, state)
}

// catchUp gives the next version as many replicas as the live one has by now, and waits until all of its pods are ready.
func (b *BlueGreen) catchUp(ctx context.Context, s State) error {
	if err := b.grow(ctx, s.Next, b.replicas(s)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	return workload.WaitReady(ctx, b.Cluster, []*unstructured.Unstructured{b.ref(s.Next)}, b.Progress)
}

// Back leads the users to the version that was live before the run, if there was one, by the ports and selectors that it had, and
// returns when no endpoint is of another one. That version gets as many replicas as the next one has, which are not waited for.
func (b *BlueGreen) Back(ctx context.Context) error {
	versions, state, err := b.observe(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(state.Led, state.Next) {
		return nil
	}
	if state.Old == colour.None {
		return fault.New(fault.Failed, "cannot lead the users of %s back: the version before it is gone", b.Name).
			WithHint("deploy that version again")
	}
	if wanted := replicasOf(versions[state.Next]); replicasOf(versions[state.Old]) < wanted {
		if err := b.scale(ctx, versions[state.Old], wanted); err != nil {
			return err
		}
	}
	before, err := b.restore(ctx, state.Old)
	if err != nil {
		return err
	}
	if err := b.front().Lead(ctx, state.Old, state.Next, 100); err != nil {
		return err
	}
	return b.awaitRoute(ctx, state.Old, before)
}

// Remove deletes what a version has of its own, and returns when it is gone. A version that users are led to is never removed. Of a
// version that is colour.Plain, the ConfigMaps and Secrets stay: others than the service may use them by their names.
func (b *BlueGreen) Remove(ctx context.Context, c colour.Colour) error {
	state, err := b.Observe(ctx)
	if err != nil || c == colour.None {
		return err
	}
	if slices.Contains(state.Led, c) {
		return fault.New(fault.Failed, "cannot remove the %s version of %s: it is live", c, b.Name).
			WithHint("lead the users of %s to its other version first", b.Name)
	}
	return b.clear(ctx, c)
}

// ref names the Deployment that the version of a colour is to have.
func (b *BlueGreen) ref(c colour.Colour) *unstructured.Unstructured {
	ref := ident.Reference(b.Parts.Workload)
	if c != colour.Plain {
		ref.SetName(ref.GetName() + "-" + string(c))
	}
	return ref
}
