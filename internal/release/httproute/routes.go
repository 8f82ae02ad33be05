package httproute

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// The longest name that leaves room for a colour behind a Kubernetes Service, which is a DNS label; and the largest weight that leaves room
// for a share of it in percent: a weight is at most 1,000,000.
const (
	longestService = 63 - len("-green")
	largestWeight  = 1_000_000 / 100
)

// colours are those that a version can have.
var colours = []colour.Colour{colour.Plain, colour.Blue, colour.Green}

// Routes are what of a service's objects leads the users from outside: HTTPRoutes and GRPCRoutes with a backend that is one of the service's
// Kubernetes Services.
type Routes struct {
	service  string
	objs     []*unstructured.Unstructured
	backends []*unstructured.Unstructured // the Kubernetes Services that any of them leads to
}

// Split takes the routes that lead to a service out of what its versions share. None, and names or weights that leave no room for colours and
// shares, are errors of code fault.Invalid.
func Split(service string, p colour.Parts) (Routes, colour.Parts, error) {
	r := Routes{service: service}
	var shared []*unstructured.Unstructured
	for _, obj := range p.Shared {
		led := backendsOf(obj, p.Services)
		if len(led) == 0 {
			shared = append(shared, obj)
			continue
		}
		r.objs = append(r.objs, obj)
		for _, backend := range led {
			if !slices.Contains(r.backends, backend) {
				r.backends = append(r.backends, backend)
			}
		}
	}
	p.Shared = shared
	if len(r.objs) == 0 {
		return r, p, refused(service, "no HTTPRoute or GRPCRoute of its manifests leads to %s", ident.Of(p.Services[0])).
			WithHint("add one with a backendRef to that Service, or take the front out of the configuration")
	}
	return r, p, r.fit(p)
}

// isRoute reports whether an object is of a kind that leads users by weights.
func isRoute(obj *unstructured.Unstructured) bool {
	gvk := obj.GroupVersionKind()
	return gvk.Group == gatewayapi.Group && (gvk.Kind == "HTTPRoute" || gvk.Kind == "GRPCRoute")
}

// backendsOf are those of some Kubernetes Services that an object leads to, if it is a route.
func backendsOf(obj *unstructured.Unstructured, services []*unstructured.Unstructured) []*unstructured.Unstructured {
	if !isRoute(obj) {
		return nil
	}
	var led []*unstructured.Unstructured
	for ref := range backendRefs(obj) {
		for _, service := range services {
			if names(obj, ref, service, service.GetName()) {
				led = append(led, service)
			}
		}
	}
	return led
}

// backendRefs yields the backends of all rules of a route.
func backendRefs(route *unstructured.Unstructured) func(yield func(map[string]any) bool) {
	return func(yield func(map[string]any) bool) {
		for _, rule := range field.List(route, "spec", "rules") {
			refs, _ := field.AsMap(rule)["backendRefs"].([]any)
			for _, ref := range refs {
				if !yield(field.AsMap(ref)) {
					return
				}
			}
		}
	}
}

// names reports whether a backend of a route is the Kubernetes Service of a name, in the namespace of another one.
func names(route *unstructured.Unstructured, ref map[string]any, beside *unstructured.Unstructured, name string) bool {
	namespace := gatewayapi.Text(ref["namespace"], route.GetNamespace())
	return gatewayapi.Text(ref["group"], "") == "" && gatewayapi.Text(ref["kind"], "Service") == "Service" && ref["name"] == name && namespace == beside.GetNamespace()
}

// weightOf is the weight of a backend.
func weightOf(ref map[string]any) int64 {
	switch w := ref["weight"].(type) {
	case int64:
		return w
	case float64:
		return int64(w)
	}
	return 1
}

// fit checks that names and weights leave room.
func (r Routes) fit(p colour.Parts) error {
	taken := map[string]bool{}
	for _, obj := range slices.Concat(p.Shared, p.Services) {
		taken[ident.Of(obj)] = true
	}
	for _, service := range r.backends {
		if n := len(service.GetName()); n > longestService {
			return refused(r.service, "the name of %s is %d characters long, and there is room for %d", ident.Of(service), n, longestService).
				WithHint("shorten it: each colour is put behind it")
		}
		for _, c := range colours {
			if other := colour.Beside(service, c, serviceName(service, c)); taken[ident.Of(other)] {
				return refused(r.service, "its manifests have %s, which is the name of %s in %s", ident.Of(other), ident.Of(service), c).
					WithHint("give it another name")
			}
		}
	}
	for _, route := range r.objs {
		for ref := range backendRefs(route) {
			if w := weightOf(ref); w > largestWeight {
				return refused(r.service, "%s gives %v the weight %d, and there is room for %d", ident.Of(route), ref["name"], w, largestWeight).
					WithHint("give all backends of the rule smaller weights, in the same proportion")
			}
		}
	}
	return nil
}

// Trial is objects that a cluster takes when it would take those of the next version.
func (r Routes) Trial() []*unstructured.Unstructured {
	var trial []*unstructured.Unstructured
	for _, route := range r.objs {
		trial = append(trial, r.render(route, shares{colour.Blue: 100, colour.Green: 0}))
	}
	return trial
}

// Names names what the service may have in a cluster, in any colour, for its routes.
func (r Routes) Names() []string {
	var all []string
	for _, route := range r.objs {
		all = append(all, ident.Of(route))
	}
	for _, service := range r.backends {
		for _, c := range colours {
			all = append(all, ident.Of(colour.Beside(service, c, serviceName(service, c))))
		}
	}
	return all
}

// serviceName is the name of the Kubernetes Service that leads to the version of a colour, beside one that leads to the live version.
func serviceName(service *unstructured.Unstructured, c colour.Colour) string {
	return service.GetName() + "-" + string(c)
}

// parse returns the Kubernetes Service and the colour that a backend of a route stands for; nil when it is something else.
func (r Routes) parse(route *unstructured.Unstructured, ref map[string]any) (*unstructured.Unstructured, colour.Colour) {
	for _, service := range r.backends {
		for _, c := range colours {
			if names(route, ref, service, serviceName(service, c)) {
				return service, c
			}
		}
	}
	return nil, colour.None
}

func refused(service, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "cannot deploy "+service+" as blueGreen with an httpRoute front: "+format, args...)
}
