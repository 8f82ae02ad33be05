package release

import (
	"context"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/kube/workload"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

var services = schema.GroupVersionResource{Version: "v1", Resource: "services"}

// guard refuses when a Kubernetes Service that the manifests do not have would lead users to pods of the next version, or leads to the live
// one, which goes.
func (b *BlueGreen) guard(ctx context.Context, painted []*unstructured.Unstructured) error {
	known := map[string]bool{b.Parts.PreviewName(): true}
	for _, service := range b.Parts.Services {
		known[service.GetName()] = true
	}
	i := slices.IndexFunc(painted, func(obj *unstructured.Unstructured) bool { return obj.GetKind() == b.Parts.Workload.GetKind() })
	labels := field.Map(painted[i], "spec", "template", "metadata", "labels")
	for service, err := range b.Cluster.List(ctx, services, kube.Query{Namespace: b.Parts.Workload.GetNamespace()}) {
		if err != nil {
			return err
		}
		selector := maps.Clone(field.Map(service, "spec", "selector"))
		if len(selector) == 0 || known[service.GetName()] || service.GetLabels()[ServiceLabel] == b.Name && manager.Origin(service) != "" {
			continue
		}
		delete(selector, colour.Label)
		if field.Within(selector, labels) {
			return fault.New(fault.Refused, "cannot deploy %s: %s leads to its pods, and is not in its manifests", b.Name, ident.Of(service)).
				WithHint("add it to the manifests, so that it leads to the version that is live, or delete it")
		}
	}
	return nil
}

// vacate takes away what an earlier run has left in the place of the next version, if that cannot become the next version. What is there
// and is not the service's is refused. An autoscaler goes in any case: it comes again with the switch.
func (b *BlueGreen) vacate(ctx context.Context, c colour.Colour, painted []*unstructured.Unstructured) error {
	preview, err := b.Cluster.Get(ctx, b.Parts.Preview(c))
	if err != nil {
		return err
	}
	if preview != nil && LedTo(preview) == colour.Plain {
		return b.inTheWay(preview)
	}
	stuck, err := b.renamed(ctx, c)
	if err != nil {
		return err
	}
	for _, obj := range painted {
		found, err := b.Cluster.Get(ctx, obj)
		if err != nil {
			return err
		}
		if found == nil {
			continue
		}
		if found.GetLabels()[ServiceLabel] != b.Name {
			return b.inTheWay(found)
		}
		stuck = stuck || fixed(found, obj)
	}
	if stuck {
		b.Progress("removing the version that was left in %s: it cannot become the next one", c)
		return b.clear(ctx, c)
	}
	autoscalers, err := b.own(ctx, c, kinds[:1])
	if err != nil {
		return err
	}
	for _, obj := range autoscalers {
		if err := b.Cluster.Delete(ctx, obj); err != nil {
			return err
		}
	}
	return nil
}

// renamed reports whether a version of a colour is there whose Deployment has another name: its pods would be led to, too.
func (b *BlueGreen) renamed(ctx context.Context, c colour.Colour) (bool, error) {
	left, err := b.own(ctx, c, []schema.GroupVersionResource{deployments})
	return slices.ContainsFunc(left, func(d *unstructured.Unstructured) bool { return d.GetName() != b.ref(c).GetName() }), err
}

func (b *BlueGreen) inTheWay(found *unstructured.Unstructured) error {
	return fault.New(fault.Refused, "cannot deploy %s: %s is in the way, and not of this service", b.Name, ident.Of(found)).
		WithHint("rename or delete it")
}

// fixed reports whether what is there cannot be changed into what is wanted: the selector of a Deployment, the type of a Secret, the content
// of what is immutable. That could be made anew by itself, but nodes go on with what they know while pods use it (KEP-1412).
func fixed(found, wanted *unstructured.Unstructured) bool {
	if found.GetDeletionTimestamp() != nil {
		return true
	}
	switch found.GetKind() {
	case "Deployment":
		return !field.Equal(field.Map(found, "spec", "selector"), field.Map(wanted, "spec", "selector"))
	case "Secret":
		if kind := field.String(wanted, "type"); kind != "" && kind != field.String(found, "type") || field.Map(wanted, "stringData") != nil && field.Bool(found, "immutable") {
			return true
		}
	case "ConfigMap":
	default:
		return false
	}
	same := field.Bool(wanted, "immutable")
	for _, key := range []string{"data", "binaryData"} {
		same = same && field.Equal(field.Map(found, key), field.Map(wanted, key))
	}
	return field.Bool(found, "immutable") && !same
}

// mark has the pods and the Services of a version without a colour say so, as the Services would lead to the next version, too.
func (b *BlueGreen) mark(ctx context.Context, s State) error {
	switch {
	case s.Live == colour.None && len(s.Led) > 0 && s.Led[0] == colour.Plain:
		return b.claim(ctx)
	case s.Live != colour.Plain:
		return nil
	}
	deployment, err := b.Cluster.Get(ctx, b.Parts.Workload)
	if err != nil {
		return err
	}
	if field.String(deployment, "spec", "template", "metadata", "labels", colour.Label) == "" {
		if field.String(deployment, "spec", "strategy", "type") == "Recreate" {
			return fault.New(fault.Refused, "cannot deploy %s: %s has the strategy Recreate, and its pods must be replaced once", b.Name, ident.Of(deployment)).
				WithHint("give it the strategy RollingUpdate first, so that users notice nothing")
		}
		b.Progress("replacing the pods of %s by some that can be told apart", ident.Of(deployment))
		labels := map[string]any{colour.Label: string(colour.Plain)}
		if err := b.patch(ctx, deployment, map[string]any{"template": map[string]any{"metadata": map[string]any{"labels": labels}}}); err != nil {
			return err
		}
	}
	if err := workload.WaitReady(ctx, b.Cluster, []*unstructured.Unstructured{b.Parts.Workload}, b.Progress); err != nil {
		return err
	}
	return b.lead(ctx, colour.Plain)
}

// claim has Services that lead nowhere, but would lead to the next version, go on to lead nowhere. Those that lead to pods of something else
// are refused.
func (b *BlueGreen) claim(ctx context.Context) error {
	for _, service := range b.Parts.Services {
		ready, pod, err := b.endpoints(ctx, service, nil)
		if err != nil {
			return err
		}
		if ready > 0 || pod != "" {
			return fault.New(fault.Refused, "cannot deploy %s: %s leads to pods that are not of %s", b.Name, ident.Of(service), ident.Of(b.Parts.Workload)).
				WithHint("keep the name of the Deployment for the first deployment as blueGreen, or take the Service away from those pods first")
		}
	}
	return b.lead(ctx, colour.Plain)
}
