package gateway

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// written is an HTTPRoute in the cluster, and what it was made of.
type written struct {
	state
	obj *unstructured.Unstructured // nil when it is not there
}

// sight is what there is of a route.
type sight struct {
	live, next written
	services   []*unstructured.Unstructured
	slices     []*unstructured.Unstructured
}

// look reads all objects of a route.
func (r *Router) look(ctx context.Context, host string) (sight, error) {
	var s sight
	var err error
	if s.live, err = r.read(ctx, nameOf(host), r.live); err != nil {
		return s, err
	}
	if s.next, err = r.read(ctx, nextName(host), r.next); err != nil {
		return s, err
	}
	if s.services, err = r.list(ctx, host, "", "services"); err != nil {
		return s, err
	}
	s.slices, err = r.list(ctx, host, "discovery.k8s.io", "endpointslices")
	return s, err
}

// read reads an HTTPRoute, and refuses one that is not as it was written.
func (r *Router) read(ctx context.Context, name string, rendered func(state) *unstructured.Unstructured) (written, error) {
	var w written
	found, err := r.options.Cluster.Get(ctx, r.object(gatewayapi.Group+"/v1", "HTTPRoute", name, ""))
	if err != nil || found == nil {
		return w, err
	}
	text, ours := found.GetAnnotations()[stateAnnotation]
	if !ours || found.GetLabels()[routeLabel] == "" {
		return w, inTheWay(found)
	}
	w.obj = found
	if err := json.Unmarshal([]byte(text), &w.state); err != nil {
		return w, changed(found)
	}
	want := field.Map(rendered(w.state), "spec")
	delete(want, "parentRefs") // they follow the configuration of the router
	if !field.Within(want, field.Map(found, "spec")) {
		return w, changed(found)
	}
	return w, nil
}

func inTheWay(found *unstructured.Unstructured) error {
	return fault.New(fault.Refused, "%s is in the way, and not Crossfade's", ident.Of(found)).WithHint("rename or delete it")
}

func changed(found *unstructured.Unstructured) error {
	return fault.New(fault.Refused, "somebody has changed %s", ident.Of(found)).
		WithHint("undo that, so that it is as its annotation %s says; or delete it, which takes the route from its users until it is applied again", stateAnnotation)
}

func (r *Router) list(ctx context.Context, host, group, resource string) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	gvr := schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}
	for obj, err := range r.options.Cluster.List(ctx, gvr, kube.Query{Namespace: r.options.Namespace, Labels: routeLabel + "=" + nameOf(host)}) {
		if err != nil {
			return nil, err
		}
		all = append(all, obj)
	}
	return all, nil
}

// route is what the objects lead to: the endpoints are those of the EndpointSlices, in the order in which they were written.
func (s sight) route() traffic.Route {
	route := s.live.Route
	if s.next.obj == nil {
		route.PreLive = ""
	} else {
		route.PreLive, route.PreLiveHost = s.next.Route.PreLive, s.next.Route.PreLiveHost
	}
	there := map[string][]string{}
	for _, slice := range s.slices {
		generation := slice.GetAnnotations()[generationAnnotation]
		there[generation] = append(there[generation], endpoints(slice)...)
	}
	route.Sides = slices.Clone(route.Sides)
	for i, side := range route.Sides {
		found := there[side.Generation]
		kept := slices.DeleteFunc(slices.Clone(side.Endpoints), func(e string) bool { return !slices.Contains(found, e) })
		for _, e := range slices.Sorted(slices.Values(found)) {
			if !slices.Contains(kept, e) {
				kept = append(kept, e)
			}
		}
		route.Sides[i].Endpoints = kept
	}
	return route
}

// endpoints are those of an EndpointSlice.
func endpoints(slice *unstructured.Unstructured) []string {
	var all []string
	for _, p := range field.List(slice, "ports") {
		port, _ := field.AsMap(p)["port"].(int64)
		for _, e := range field.List(slice, "endpoints") {
			addresses, _ := field.AsMap(e)["addresses"].([]any)
			for _, a := range addresses {
				if ip, err := netip.ParseAddr(gatewayapi.Text(a, "")); err == nil {
					all = append(all, netip.AddrPortFrom(ip, uint16(port)).String())
				}
			}
		}
	}
	return all
}

// ready refuses a Gateway that is not there, or that no controller serves.
func (r *Router) ready(ctx context.Context) error {
	gateway, err := r.options.Cluster.Get(ctx, r.object(gatewayapi.Group+"/v1", "Gateway", r.options.Gateway, ""))
	if err != nil {
		return err
	}
	if gateway == nil {
		return fault.New(fault.Refused, "%s is not there", r.name()).WithHint("make it first, or name one that is there")
	}
	for _, kind := range []string{"Accepted", "Programmed"} {
		if !gatewayapi.Holds(field.Map(gateway, "status"), kind) {
			return fault.New(fault.Refused, "%s of the class %s is not %s", r.name(), strconv.Quote(field.String(gateway, "spec", "gatewayClassName")), strings.ToLower(kind)).
				WithHint("see whether the controller of that class runs, and what the status of the Gateway says")
		}
	}
	named := func(l any) bool { return field.AsMap(l)["name"] == r.options.Section }
	if r.options.Section != "" && !slices.ContainsFunc(field.List(gateway, "spec", "listeners"), named) {
		return fault.New(fault.Refused, "%s has no listener %s", r.name(), r.options.Section).WithHint("name one that it has in section, or leave that out for all")
	}
	return nil
}
