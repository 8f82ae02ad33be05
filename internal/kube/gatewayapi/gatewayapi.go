// Package gatewayapi reads what controllers say of Gateways and routes of the Gateway API (https://gateway-api.sigs.k8s.io/reference/spec), and
// waits for them.
package gatewayapi

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

// Group is the API group of Gateways.
const Group = "gateway.networking.k8s.io"

// within bounds how long controllers may take to follow, lookEvery is the time between two looks.
const (
	within    = 30 * time.Second
	lookEvery = 100 * time.Millisecond
)

// Await looks until there is nothing to be seen that is not as it should be, for at most a limit, which is 30 s when zero. What is not so then
// is an error of code fault.Refused; an error of look ends it at once.
func Await(ctx context.Context, limit time.Duration, what string, look func(context.Context) (wrong string, err error)) error {
	limit = cmp.Or(limit, within)
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

// Unaccepted says why a route does not serve users through one of its parents; "" when it does, as every controller says that reports.
func Unaccepted(route *unstructured.Unstructured, parent map[string]any) string {
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
		return fmt.Sprintf("no controller says that %s has accepted %s", NameParent(route, parent), ident.Of(route))
	}
	return ""
}

// unmet says why a condition that a controller reports does not hold for a route as it is now; "" when it does.
func unmet(route *unstructured.Unstructured, status map[string]any, kind string) string {
	controller := status["controllerName"]
	for _, c := range Conditions(status) {
		switch {
		case c["type"] != kind:
		case !Current(route, c):
			return fmt.Sprintf("%v has not seen %s as it is now", controller, ident.Of(route))
		case c["status"] != "True":
			return fmt.Sprintf("%v reports of %s: %s is %v, %v: %v", controller, ident.Of(route), kind, c["status"], c["reason"], c["message"])
		default:
			return ""
		}
	}
	return fmt.Sprintf("%v does not report %s of %s", controller, kind, ident.Of(route))
}

// Conditions are those of a status.
func Conditions(status map[string]any) []map[string]any {
	found, _ := status["conditions"].([]any)
	all := make([]map[string]any, len(found))
	for i, c := range found {
		all[i] = field.AsMap(c)
	}
	return all
}

// Holds reports whether a condition of a status is true.
func Holds(status map[string]any, kind string) bool {
	for _, c := range Conditions(status) {
		if c["type"] == kind && c["status"] == "True" {
			return true
		}
	}
	return false
}

// Current reports whether a condition is about an object as it is now.
func Current(obj *unstructured.Unstructured, condition map[string]any) bool {
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
	for key, unset := range map[string]string{"group": Group, "kind": "Gateway", "namespace": route.GetNamespace(), "name": "", "sectionName": ""} {
		if Text(a[key], unset) != Text(b[key], unset) {
			return false
		}
	}
	return field.Equal(a["port"], b["port"])
}

// NameParent names a parent of a route, for people.
func NameParent(route *unstructured.Unstructured, parent map[string]any) string {
	return Text(parent["kind"], "Gateway") + " " + Text(parent["namespace"], route.GetNamespace()) + "/" + Text(parent["name"], "")
}

// Text is a value of a reference, or what it is when it is unset.
func Text(value any, unset string) string {
	if s, ok := value.(string); ok && s != "" {
		return s
	}
	return unset
}
