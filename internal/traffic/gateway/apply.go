package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// apply brings the objects to a route. It may be stopped anywhere: whatever a route in the cluster leads to is there.
func (r *Router) apply(ctx context.Context, route traffic.Route) error {
	if err := r.ready(ctx); err != nil {
		return err
	}
	seen, err := r.look(ctx, route.Host)
	if err != nil {
		return err
	}
	if err := r.provide(ctx, route, seen); err != nil {
		return err
	}
	if seen.live, err = r.prepare(ctx, route, seen.live); err != nil {
		return err
	}
	if err := r.settle(ctx, seen.live, r.after(seen.live, route), route.Host, r.live); err != nil {
		return err
	}
	if err := r.lead(ctx, route, seen.next); err != nil {
		return err
	}
	return r.clear(ctx, route)
}

// lead writes the HTTPRoute of the pre-live name, or deletes it, and returns when that is served.
func (r *Router) lead(ctx context.Context, route traffic.Route, was written) error {
	former := was.Route.PreLiveHost
	if route.PreLive != "" && route.PreLiveHost != "" {
		if err := r.settle(ctx, was, state{Route: route}, route.PreLiveHost, r.next); err != nil || former == "" || former == route.PreLiveHost {
			return err
		}
		return r.gone(ctx, former)
	}
	if was.obj == nil {
		return nil
	}
	if err := r.options.Cluster.Delete(ctx, was.obj); err != nil {
		return err
	}
	return r.gone(ctx, former)
}

// settle writes an HTTPRoute and returns when it is served. One that leads to Services which are new to it is written again when they are known: only what
// is served of that leads to them.
func (r *Router) settle(ctx context.Context, was written, want state, host string, rendered func(state) *unstructured.Unstructured) error {
	known := map[string]bool{}
	if was.obj != nil && !was.Fresh {
		known = backends(rendered(was.state))
	}
	for service := range backends(rendered(want)) {
		want.Fresh = want.Fresh || !known[service]
	}
	for {
		w, err := r.write(ctx, was, want, rendered)
		if err != nil {
			return err
		}
		if err := r.follow(ctx, w, host); err != nil || !want.Fresh {
			return err
		}
		was, want.Fresh = w, false
	}
}

// backends are the Services that an HTTPRoute leads to.
func backends(route *unstructured.Unstructured) map[string]bool {
	all := map[string]bool{}
	for _, rule := range field.List(route, "spec", "rules") {
		refs, _ := field.AsMap(rule)["backendRefs"].([]any)
		for _, b := range refs {
			all[gatewayapi.Text(field.AsMap(b)["name"], "")] = true
		}
	}
	return all
}

// provide makes the Services and EndpointSlices that a route needs.
func (r *Router) provide(ctx context.Context, route traffic.Route, seen sight) error {
	there := map[string]*unstructured.Unstructured{}
	for _, obj := range slices.Concat(seen.services, seen.slices) {
		there[ident.Of(obj)] = obj
	}
	all := needed(route)
	for _, generation := range slices.Sorted(maps.Keys(all)) {
		for _, g := range all[generation] {
			for _, obj := range r.pair(route.Host, generation, g) {
				if err := r.ensure(ctx, obj, there[ident.Of(obj)]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ensure writes an object, unless it is there as it should be.
func (r *Router) ensure(ctx context.Context, obj, found *unstructured.Unstructured) error {
	if found == nil {
		other, err := r.options.Cluster.Get(ctx, obj)
		if err != nil {
			return err
		}
		if other != nil {
			return inTheWay(other)
		}
	} else if same(obj, found) {
		return nil
	}
	_, err := r.put(ctx, obj)
	return err
}

// same reports whether an object is as it should be. No endpoints are no endpoints.
func same(want, found *unstructured.Unstructured) bool {
	return field.Within(want.Object, found.Object) && len(field.List(want, "endpoints")) == len(field.List(found, "endpoints"))
}

// put writes an object as Crossfade's. Fields that somebody else has set are refused.
func (r *Router) put(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	found, err := r.options.Cluster.Write(ctx, obj, nil, false)
	if others := kube.Conflicts(err); len(others) > 0 {
		return nil, fault.New(fault.Refused, "somebody has changed %s: %s", ident.Of(obj), strings.Join(others, ", ")).WithHint("undo that, or delete it")
	}
	return found, err
}

// prepare has the HTTPRoute know Services that are new to it and are to get users at once, and returns when they are known: a controller may learn of them
// later than of the route.
func (r *Router) prepare(ctx context.Context, route traffic.Route, was written) (written, error) {
	if was.obj == nil {
		return was, nil
	}
	known := backends(was.obj)
	var unknown []string
	for _, b := range shared(route) {
		if !known[b.service] {
			unknown = append(unknown, b.service)
		}
	}
	if len(unknown) > 0 {
		next := was.state
		next.Prepared = append(slices.Clone(next.Prepared), unknown...)
		var err error
		if was, err = r.write(ctx, was, next, r.live); err != nil {
			return was, err
		}
	}
	if len(was.Prepared) == 0 {
		return was, nil
	}
	return was, r.follow(ctx, was, route.Host)
}

// after is the state that follows another one: generations that have no users any more have lost them now.
func (r *Router) after(was written, route traffic.Route) state {
	next := state{Route: route, Lost: map[string]time.Time{}}
	for generation, at := range was.Lost {
		if !led(route, generation) && r.now().Sub(at) < max(route.Drain, was.Route.Drain) {
			next.Lost[generation] = at
		}
	}
	for _, s := range was.Route.Sides {
		if led(was.Route, s.Generation) && !led(route, s.Generation) {
			next.Lost[s.Generation] = r.now().UTC()
		}
	}
	return next
}

// led reports whether users are led to a generation.
func led(r traffic.Route, generation string) bool {
	return sideOf(r, generation).Weight > 0 || r.Chosen != nil && r.Chosen.Generation == generation
}

// write writes an HTTPRoute with a new token, unless it is there as it should be, or somebody else has written it since it was read.
func (r *Router) write(ctx context.Context, was written, want state, rendered func(state) *unstructured.Unstructured) (written, error) {
	if was.obj != nil && reflect.DeepEqual(was.Route, want.Route) && slices.Equal(was.Prepared, want.Prepared) && was.Fresh == want.Fresh && r.attached(was.obj) {
		return was, nil
	}
	want.Token = strings.ToLower(rand.Text())
	obj := rendered(want)
	for {
		if was.obj != nil {
			obj.SetResourceVersion(was.obj.GetResourceVersion())
		}
		found, err := r.put(ctx, obj)
		if !apierrors.IsConflict(err) || was.obj == nil || ctx.Err() != nil {
			return written{want, found}, err
		}
		now, err := r.read(ctx, obj.GetName(), rendered) // a controller writes the status
		if err != nil {
			return was, err
		}
		if now.Token != was.Token {
			return was, fault.New(fault.Unavailable, "%s was written by another process of Crossfade meanwhile", ident.Of(obj)).WithHint("try again")
		}
		was = now
	}
}

// attached reports whether an HTTPRoute names the Gateway and the listener of the configuration, and nothing else.
func (r *Router) attached(route *unstructured.Unstructured) bool {
	parents := field.List(route, "spec", "parentRefs")
	return field.Within([]any{r.parent()}, parents) && gatewayapi.Text(field.AsMap(parents[0])["sectionName"], "") == r.options.Section
}

// clear deletes the Services that no route leads to any more.
func (r *Router) clear(ctx context.Context, route traffic.Route) error {
	seen, err := r.look(ctx, route.Host)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, groups := range needed(route) {
		for _, g := range groups {
			kept[g.service] = true
		}
	}
	return r.drop(ctx, seen, func(name string) bool { return kept[name] })
}

// drop deletes Services and EndpointSlices but for those to be kept.
func (r *Router) drop(ctx context.Context, seen sight, kept func(name string) bool) error {
	for _, obj := range slices.Concat(seen.services, seen.slices) {
		if kept(obj.GetName()) {
			continue
		}
		if err := r.options.Cluster.Delete(ctx, obj); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes what there is of a route: what leads users first, and the Services when it is not served any more.
func (r *Router) remove(ctx context.Context, host string) error {
	seen, err := r.look(ctx, host)
	if err != nil {
		return err
	}
	if seen.live.obj == nil && seen.next.obj == nil && len(seen.services) == 0 && len(seen.slices) == 0 {
		return nil
	}
	for _, w := range []written{seen.next, seen.live} {
		if w.obj == nil {
			continue
		}
		if err := r.options.Cluster.Delete(ctx, w.obj); err != nil {
			return err
		}
	}
	for _, name := range []string{host, cmp.Or(seen.next.Route.PreLiveHost, seen.live.Route.PreLiveHost, host)} {
		if err := r.gone(ctx, name); err != nil {
			return err
		}
	}
	return r.drop(ctx, seen, func(string) bool { return false })
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
