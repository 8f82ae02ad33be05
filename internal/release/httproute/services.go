package httproute

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

var endpointSlices = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}

// live is the colour that the Kubernetes Services lead to; colour.None when they are not there.
func (f *Front) live(ctx context.Context) (colour.Colour, error) {
	found, err := f.Cluster.Get(ctx, f.routes.backends[0])
	if found == nil {
		return colour.None, err
	}
	return release.LedTo(found), nil
}

// provide makes the Kubernetes Services of a version, and of the live one where it has none yet, and returns when they have as many endpoints
// as they need.
func (f *Front) provide(ctx context.Context, c, live colour.Colour) error {
	var made []*unstructured.Unstructured
	for _, service := range f.routes.backends {
		made = append(made, f.own(service, c))
		if live == c || live == colour.None {
			continue
		}
		shared, err := f.Cluster.Get(ctx, service)
		if err != nil {
			return err
		}
		found, err := f.Cluster.Get(ctx, f.own(service, live))
		if err != nil {
			return err
		}
		if shared != nil && found == nil {
			made = append(made, f.own(bare(shared), live)) // as that version has it, not as the manifests of this one
		}
	}
	if err := f.apply(ctx, made...); err != nil {
		return err
	}
	return f.await(ctx, "leading the users of "+f.routes.service, func(ctx context.Context) (string, error) {
		for _, service := range made {
			if n, err := f.ready(ctx, service); err != nil || n == 0 {
				return ident.Of(service) + " has no ready endpoint", err
			}
		}
		return "", nil
	})
}

// own is the Kubernetes Service that leads to the version of a colour.
func (f *Front) own(service *unstructured.Unstructured, c colour.Colour) *unstructured.Unstructured {
	own := colour.Beside(service, c, serviceName(service, c))
	if field.String(own, "spec", "type") != "" {
		field.Map(own, "spec")["type"] = "ClusterIP" // controllers of Gateways need no more
	}
	own.SetLabels(map[string]string{release.ServiceLabel: f.routes.service, colour.Label: string(c)})
	own.SetAnnotations(service.GetAnnotations()) // they tell controllers how to speak to the pods
	field.DropPrefixed(own, []string{"external-dns.alpha.kubernetes.io/", "kubectl.kubernetes.io/", "crossfade.dev/"}, "metadata", "annotations")
	return own
}

// bare is what of an object in the cluster is not the cluster's.
func bare(found *unstructured.Unstructured) *unstructured.Unstructured {
	obj := ident.Reference(found)
	obj.SetAnnotations(found.GetAnnotations())
	obj.Object["spec"] = found.DeepCopy().Object["spec"]
	for _, key := range []string{"ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy", "sessionAffinity"} {
		field.Drop(obj, "spec", key)
	}
	return obj
}

// ready counts the endpoints of a Kubernetes Service that are ready.
func (f *Front) ready(ctx context.Context, service *unstructured.Unstructured) (int, error) {
	count := 0
	query := kube.Query{Namespace: service.GetNamespace(), Labels: "kubernetes.io/service-name=" + service.GetName()}
	for slice, err := range f.Cluster.List(ctx, endpointSlices, query) {
		if err != nil {
			return 0, err
		}
		for _, e := range field.List(slice, "endpoints") {
			if is, set := field.Child(field.AsMap(e), "conditions")["ready"].(bool); is || !set {
				count++
			}
		}
	}
	return count, nil
}

// port reports whether a Kubernetes Service has a port of a number, or the reference names none.
func port(service *unstructured.Unstructured, ref map[string]any) bool {
	for _, p := range field.List(service, "spec", "ports") {
		if ref["port"] == nil || field.Equal(field.AsMap(p)["port"], ref["port"]) {
			return true
		}
	}
	return false
}

func describePort(ref map[string]any) string { return fmt.Sprintf("port %v", ref["port"]) }
