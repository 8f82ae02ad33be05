package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

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
	live, err := r.settle(ctx, seen.live, r.after(seen.live, route), route.Host, r.live)
	if err != nil {
		return err
	}
	if err := r.stamp(ctx, live); err != nil {
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
		if _, err := r.settle(ctx, was, state{Route: route}, route.PreLiveHost, r.next); err != nil || former == "" || former == route.PreLiveHost {
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
func (r *Router) settle(ctx context.Context, was written, want state, host string, rendered func(state) *unstructured.Unstructured) (written, error) {
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
			return w, err
		}
		if err := r.follow(ctx, w, host); err != nil || !want.Fresh {
			return w, err
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

// after is the state that follows another one: generations that have no users any more lose them, once it is served.
func (r *Router) after(was written, route traffic.Route) state {
	next := state{Route: route, Lost: map[string]time.Time{}}
	for generation, at := range was.Lost {
		if !led(route, generation) && (at.IsZero() || r.now().Sub(at) < max(drainOf(route), drainOf(was.Route))) {
			next.Lost[generation] = at
		}
	}
	for _, s := range was.Route.Sides {
		if led(was.Route, s.Generation) && !led(route, s.Generation) {
			next.Lost[s.Generation] = time.Time{}
		}
	}
	return next
}

// stamp has the time go by, from now on, for generations that lost their users by a writing which is served.
func (r *Router) stamp(ctx context.Context, was written) error {
	next, waiting := was.state, false
	next.Lost = maps.Clone(next.Lost)
	for generation, at := range next.Lost {
		if at.IsZero() {
			next.Lost[generation], waiting = r.now().UTC(), true
		}
	}
	if !waiting {
		return nil
	}
	_, err := r.replace(ctx, was, next, r.live)
	return err
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
	return r.replace(ctx, was, want, rendered)
}

// replace writes an HTTPRoute in the place of the one that was read.
func (r *Router) replace(ctx context.Context, was written, want state, rendered func(state) *unstructured.Unstructured) (written, error) {
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
