package httproute

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// Check refuses what would keep the routes from leading users to the next version, with an error of code fault.Refused each: a cluster without
// the Gateway API, a Gateway that is not there or that no controller has accepted, weights that somebody has changed, a route in the cluster
// that is not in the manifests any more, a port that the live version does not have, and a Kubernetes Service of somebody else in the way.
func (f *Front) Check(ctx context.Context) error {
	live, err := f.live(ctx)
	if err != nil {
		return err
	}
	for _, route := range f.routes.objs {
		if _, err := f.Cluster.Namespaced(route.GroupVersionKind()); err != nil {
			return fault.New(fault.Refused, "cannot deploy %s: the cluster does not serve %s of the Gateway API: %w", f.routes.service, route.GetKind(), err).
				WithHint("install the Gateway API and a controller for it first")
		}
		for _, p := range field.List(route, "spec", "parentRefs") {
			if err := f.parent(ctx, route, field.AsMap(p)); err != nil {
				return err
			}
		}
		found, err := f.Cluster.Get(ctx, route)
		if err != nil {
			return err
		}
		if found != nil {
			if _, err := f.routes.shared(found); err != nil {
				return err
			}
		}
		if err := f.ports(ctx, route, live); err != nil {
			return err
		}
	}
	if err := f.vacant(ctx); err != nil {
		return err
	}
	return f.abandoned(ctx)
}

// parent checks that a controller has accepted the Gateway that a route names. One that comes with the manifests is made first.
func (f *Front) parent(ctx context.Context, route *unstructured.Unstructured, ref map[string]any) error {
	if gatewayapi.Text(ref["kind"], "Gateway") != "Gateway" || gatewayapi.Text(ref["group"], gatewayapi.Group) != gatewayapi.Group {
		return nil
	}
	kind := schema.GroupKind{Group: gatewayapi.Group, Kind: "Gateway"}
	namespace, name := gatewayapi.Text(ref["namespace"], route.GetNamespace()), gatewayapi.Text(ref["name"], "")
	gateway, err := f.Cluster.Find(ctx, kind, namespace, name)
	if err != nil {
		return err
	}
	if gateway == nil {
		for _, obj := range f.parts.Shared {
			if ident.Of(obj) == ident.Name(kind, namespace, name) {
				return nil
			}
		}
		return fault.New(fault.Refused, "cannot deploy %s: there is no %s, which %s names", f.routes.service, gatewayapi.NameParent(route, ref), ident.Of(route)).
			WithHint("make it first, or name one that is there")
	}
	if gatewayapi.Holds(field.Map(gateway, "status"), "Accepted") {
		return nil
	}
	return fault.New(fault.Refused, "cannot deploy %s: no controller has accepted %s, of the class %s", f.routes.service, gatewayapi.NameParent(route, ref), field.String(gateway, "spec", "gatewayClassName")).
		WithHint("see whether the controller of that class runs, and what the status of the Gateway says")
}

// ports checks that the live version has every port that a route leads to.
func (f *Front) ports(ctx context.Context, route *unstructured.Unstructured, live colour.Colour) error {
	for _, service := range f.routes.backends {
		found, err := f.Cluster.Get(ctx, f.own(service, live))
		if found == nil && err == nil {
			found, err = f.Cluster.Get(ctx, service)
		}
		if err != nil {
			return err
		}
		for ref := range backendRefs(route) {
			if found != nil && names(route, ref, service, service.GetName()) && !port(found, ref) {
				return fault.New(fault.Refused, "cannot deploy %s: %s leads to %s of %s, which the version that is live does not have",
					f.routes.service, ident.Of(route), describePort(ref), ident.Of(service)).
					WithHint("deploy a version whose Service has that port, too, and lead to it with the one after")
			}
		}
	}
	return nil
}

// vacant checks that the Kubernetes Services of the versions are nobody else's.
func (f *Front) vacant(ctx context.Context) error {
	for _, service := range f.routes.backends {
		for _, c := range colours {
			found, err := f.Cluster.Get(ctx, f.own(service, c))
			if err != nil {
				return err
			}
			if found != nil && found.GetLabels()[release.ServiceLabel] != f.routes.service {
				return fault.New(fault.Refused, "cannot deploy %s: %s is in the way, and not of this service", f.routes.service, ident.Of(found)).
					WithHint("rename or delete it")
			}
		}
	}
	return nil
}

// abandoned checks that no route leads to a version that would not be switched with the others: one that the manifests have no more.
func (f *Front) abandoned(ctx context.Context) error {
	known := map[string]bool{}
	for _, route := range f.routes.objs {
		known[ident.Of(route)] = true
	}
	for kind, resource := range map[string]string{"HTTPRoute": "httproutes", "GRPCRoute": "grpcroutes"} {
		version := schema.GroupVersion{Group: gatewayapi.Group, Version: "v1"}
		if _, err := f.Cluster.Namespaced(version.WithKind(kind)); err != nil {
			continue // not served: there is none
		}
		for found, err := range f.Cluster.List(ctx, version.WithResource(resource), kube.Query{}) {
			if err != nil {
				return err
			}
			if !known[ident.Of(found)] && len(f.routes.weights(found)) > 0 {
				return fault.New(fault.Refused, "cannot deploy %s: %s leads to one of its versions, and is not in its manifests", f.routes.service, ident.Of(found)).
					WithHint("delete it, or have it lead to %s", ident.Of(f.routes.backends[0]))
			}
		}
	}
	return nil
}
