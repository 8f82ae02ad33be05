package httproute

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// within bounds how long endpoints and the controllers of Gateways may take to follow, lookEvery is the time between two looks.
const (
	within    = 30 * time.Second
	lookEvery = 100 * time.Millisecond
)

// await looks until there is nothing to be seen that is not as it should be.
func (f *Front) await(ctx context.Context, what string, look func(context.Context) (wrong string, err error)) error {
	limit := cmp.Or(f.Within, within)
	bound, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := "it could not be looked"
	for {
		wrong, err := look(bound)
		switch {
		case err == nil && wrong == "":
			return nil
		case err == nil:
			last = wrong
		case bound.Err() == nil:
			return err
		}
		select {
		case <-bound.Done():
			if ctx.Err() != nil {
				return fault.New(fault.Interrupted, "stopped while %s: %w", what, ctx.Err())
			}
			return fault.New(fault.Refused, "%s: not after %s: %s", what, limit, last).
				WithHint("see whether the controllers of the cluster and of the Gateway run, and what they log")
		case <-tick.C:
		}
	}
}

// awaitAccepted returns when every parent of every route has accepted it as it is now and knows all of its backends, as every controller says
// that reports.
func (f *Front) awaitAccepted(ctx context.Context) error {
	return f.await(ctx, "leading the users of "+f.routes.service, func(ctx context.Context) (string, error) {
		return f.each(ctx, func(found *unstructured.Unstructured) string {
			for _, p := range field.List(found, "spec", "parentRefs") {
				if why := unaccepted(found, field.AsMap(p)); why != "" {
					return why
				}
			}
			return ""
		})
	})
}

// awaitSeen returns when every controller that reports about a route has seen it as it is now.
func (f *Front) awaitSeen(ctx context.Context) error {
	return f.await(ctx, "taking a version out of the routes of "+f.routes.service, func(ctx context.Context) (string, error) {
		return f.each(ctx, func(found *unstructured.Unstructured) string {
			for _, p := range field.List(found, "status", "parents") {
				for _, c := range conditions(field.AsMap(p)) {
					if c["type"] == "Accepted" && !current(found, c) {
						return fmt.Sprintf("%v has not seen %s as it is now", field.AsMap(p)["controllerName"], ident.Of(found))
					}
				}
			}
			return ""
		})
	})
}

// each returns the first thing that is wrong with a route that is in the cluster.
func (f *Front) each(ctx context.Context, wrong func(*unstructured.Unstructured) string) (string, error) {
	for _, route := range f.routes.objs {
		found, err := f.Cluster.Get(ctx, route)
		if err != nil {
			return "", err
		}
		if found == nil {
			continue
		}
		if why := wrong(found); why != "" {
			return why, nil
		}
	}
	return "", nil
}

// unaccepted says why a route does not serve users through one of its parents; "" when it does.
func unaccepted(route *unstructured.Unstructured, parent map[string]any) string {
	reported := false
	for _, p := range field.List(route, "status", "parents") {
		status := field.AsMap(p)
		if !sameParent(route, parent, field.AsMap(status["parentRef"])) {
			continue
		}
		reported = true
		for _, kind := range []string{"Accepted", "ResolvedRefs"} {
			if why := unmet(route, status, kind); why != "" {
				return why
			}
		}
	}
	if !reported {
		return fmt.Sprintf("no controller says that %s has accepted %s", nameParent(route, parent), ident.Of(route))
	}
	return ""
}

// unmet says why a condition that a controller reports does not hold for a route as it is now; "" when it does.
func unmet(route *unstructured.Unstructured, status map[string]any, kind string) string {
	controller := status["controllerName"]
	for _, c := range conditions(status) {
		switch {
		case c["type"] != kind:
		case !current(route, c):
			return fmt.Sprintf("%v has not seen %s as it is now", controller, ident.Of(route))
		case c["status"] != "True":
			return fmt.Sprintf("%v reports of %s: %s is %v, %v: %v", controller, ident.Of(route), kind, c["status"], c["reason"], c["message"])
		default:
			return ""
		}
	}
	return fmt.Sprintf("%v does not report %s of %s", controller, kind, ident.Of(route))
}

// conditions are those of a status.
func conditions(status map[string]any) []map[string]any {
	found, _ := status["conditions"].([]any)
	all := make([]map[string]any, len(found))
	for i, c := range found {
		all[i] = field.AsMap(c)
	}
	return all
}

// current reports whether a condition is about an object as it is now.
func current(obj *unstructured.Unstructured, condition map[string]any) bool {
	switch seen := condition["observedGeneration"].(type) {
	case int64:
		return seen >= obj.GetGeneration()
	case float64:
		return int64(seen) >= obj.GetGeneration()
	}
	return false
}

// sameParent reports whether two references of a route name the same parent.
func sameParent(route *unstructured.Unstructured, a, b map[string]any) bool {
	for key, unset := range map[string]string{"group": gatewayGroup, "kind": "Gateway", "namespace": route.GetNamespace(), "name": "", "sectionName": ""} {
		if text(a[key], unset) != text(b[key], unset) {
			return false
		}
	}
	return field.Equal(a["port"], b["port"])
}

func nameParent(route *unstructured.Unstructured, parent map[string]any) string {
	return text(parent["kind"], "Gateway") + " " + text(parent["namespace"], route.GetNamespace()) + "/" + text(parent["name"], "")
}
