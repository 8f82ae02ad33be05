// Package nodeport leads the users of a service who come in from outside to its versions by a pair of NodePorts and the nginx of every node:
// an application owns ten ports, of which the one that ends in 0 leads to blue and the next one to green.
package nodeport

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
	"github.com/crossfade-dev/crossfade/internal/release/nginx"
)

// Front is the NodePorts of a service in a cluster, and the nginx in front of them, as release.Front wants it.
type Front struct {
	Cluster  *kube.Cluster
	Nginx    *nginx.Upstream
	Progress cluster.Progress // told what happens, for people

	service string
	pair    []*unstructured.Unstructured
}

var (
	_ release.Front   = (*Front)(nil)
	_ release.Checker = (*Front)(nil)
	_ release.Drainer = (*Front)(nil)
)

// New makes the front of a service by its pair of Kubernetes Services, as Pair has made them.
func New(service string, pair []*unstructured.Unstructured, in *kube.Cluster, by *nginx.Upstream, progress cluster.Progress) *Front {
	return &Front{Cluster: in, Nginx: by, Progress: progress, service: service, pair: pair}
}

// Pair is a Kubernetes Service for each colour, with its NodePort, which leads to a port of the first one of the manifests: by name or number,
// or the only one. They stay when a version is removed, so that nobody else is given their ports. A port that is not there, and a
// name that something else of the manifests has, are errors of code fault.Invalid.
func Pair(service string, parts colour.Parts, nodePort int, port string) ([]*unstructured.Unstructured, error) {
	chosen, err := choose(parts.Services[0], port)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot deploy %s: %w", service, err).WithHint("name a port of it in blueGreen.front.nginx.port")
	}
	var pair []*unstructured.Unstructured
	for i, c := range []colour.Colour{colour.Blue, colour.Green} {
		own := colour.Beside(parts.Services[0], c, parts.Services[0].GetName()+"-"+string(c))
		for _, obj := range slices.Concat(parts.Services, parts.Shared) {
			if ident.Of(obj) == ident.Of(own) {
				return nil, fault.New(fault.Invalid, "cannot deploy %s: its manifests have %s, which is to lead to %s", service, ident.Of(obj), c).WithHint("give it another name")
			}
		}
		own.SetLabels(map[string]string{release.ServiceLabel: service})
		only := map[string]any{"nodePort": int64(nodePort + i)}
		for _, key := range []string{"name", "port", "targetPort", "protocol", "appProtocol"} {
			if value, set := chosen[key]; set {
				only[key] = value
			}
		}
		spec := field.Map(own, "spec")
		spec["type"], spec["ports"] = "NodePort", []any{only}
		pair = append(pair, own)
	}
	return pair, nil
}

// choose returns a port of a Kubernetes Service.
func choose(service *unstructured.Unstructured, port string) (map[string]any, error) {
	ports := field.List(service, "spec", "ports")
	for _, p := range ports {
		chosen := field.AsMap(p)
		if port == "" && len(ports) == 1 || port != "" && (chosen["name"] == port || fmt.Sprint(chosen["port"]) == port) {
			return chosen, nil
		}
	}
	if port == "" {
		return nil, fmt.Errorf("%s has %d ports", ident.Of(service), len(ports))
	}
	return nil, fmt.Errorf("%s has no port %s", ident.Of(service), port)
}

// Led are the colours that the nginx of any node leads to.
func (f *Front) Led(ctx context.Context) ([]colour.Colour, error) { return f.Nginx.Led(ctx) }

// Check refuses what Free does, and nodes that could not be switched now.
func (f *Front) Check(ctx context.Context) error {
	if err := f.Free(ctx); err != nil {
		return err
	}
	return f.Nginx.Check(ctx)
}

// Free refuses a NodePort or a name that another Kubernetes Service has.
func (f *Front) Free(ctx context.Context) error {
	mine := map[string]string{}
	for _, own := range f.pair {
		found, err := f.Cluster.Get(ctx, own)
		if err != nil {
			return err
		}
		if found != nil && found.GetLabels()[release.ServiceLabel] != f.service {
			return fault.New(fault.Refused, "cannot deploy %s: %s is in the way, and not of this service", f.service, ident.Of(found)).WithHint("rename or delete it")
		}
		mine[nodePortOf(field.List(own, "spec", "ports")[0])] = ident.Of(own)
	}
	for service, err := range f.Cluster.List(ctx, services, kube.Query{}) {
		if err != nil {
			return err
		}
		for _, p := range append(field.List(service, "spec", "ports"), map[string]any{"nodePort": field.Map(service, "spec")["healthCheckNodePort"]}) {
			if own, wanted := mine[nodePortOf(p)]; wanted && own != ident.Of(service) {
				return fault.New(fault.Refused, "cannot deploy %s: the NodePort %s is taken by %s", f.service, nodePortOf(p), ident.Of(service)).
					WithHint("give that one another port, or this service another ten with blueGreen.front.nginx.nodePort")
			}
		}
	}
	return nil
}

var services = schema.GroupVersionResource{Version: "v1", Resource: "services"}

// nodePortOf is the NodePort of a port, for comparison; "" when it has none.
func nodePortOf(port any) string {
	n, ok := field.AsMap(port)["nodePort"].(int64)
	if !ok {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// Prepare gives both colours their NodePorts, and returns when every node reaches that of one of them.
func (f *Front) Prepare(ctx context.Context, c colour.Colour) error {
	if _, err := f.Cluster.Apply(ctx, f.pair, f.Progress); err != nil {
		return err
	}
	return f.Nginx.Reach(ctx, c)
}

// Lead has the nginx of every node lead users by these shares.
func (f *Front) Lead(ctx context.Context, c, before colour.Colour, share int) error {
	return f.Nginx.Lead(ctx, nginx.Toward(c, before, share))
}

// Remove leaves the NodePorts to the service.
func (f *Front) Remove(context.Context, colour.Colour) error { return nil }

// Draining counts the processes of nginx that go on with connections from before users were led elsewhere.
func (f *Front) Draining(ctx context.Context) (int, error) {
	n, err := f.Nginx.Draining(ctx)
	if err != nil && ctx.Err() == nil {
		return 0, fault.New(fault.Failed, "cannot count what nginx goes on with: %w", err) // who deploys need not wait until the node is mended
	}
	return n, err
}
