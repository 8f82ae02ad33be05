package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

const (
	// routeLabel is on every object, and has the name of the live HTTPRoute that it belongs to.
	routeLabel = "crossfade.dev/route"
	// stateAnnotation is on an HTTPRoute: what it was made of.
	stateAnnotation = "crossfade.dev/route"
	// generationAnnotation is on an EndpointSlice: the side that it belongs to.
	generationAnnotation = "crossfade.dev/generation"
	// servicePort is that of every Service. The EndpointSlices have those of the endpoints.
	servicePort = 80
	// maxRefs is how many backends a rule of an HTTPRoute takes, less one for nobody.
	maxRefs = 15
	// maxScale bounds the precision of weights: 100 times as much is the largest weight of a backend.
	maxScale = 10_000
)

// The question that a route's own rule answers, and where to: a name that does not exist (RFC 2606).
const (
	probePath   = "/.well-known/crossfade"
	probeHeader = "Crossfade-Probe"
	probeValue  = "route"
	probeDomain = ".crossfade.invalid"
)

// state is what an HTTPRoute was made of.
type state struct {
	Route traffic.Route `json:"route"`
	Token string        `json:"token"` // of this writing; no two have the same
	// Prepared are Services that are to get users by the next writing, and have no weight in this one.
	Prepared []string `json:"prepared,omitempty"`
	// Fresh says that the controller may not have known the Services yet: what is served may lead nowhere, whatever the token says.
	Fresh bool `json:"fresh,omitempty"`
	// Lost is since when it is served that generations have no users, by name: no time while that is not known. Those that have some are not among them.
	Lost map[string]time.Time `json:"lost,omitempty"`
}

// group is the endpoints of a side at one port, in one family of addresses.
type group struct {
	service   string
	family    string // as an EndpointSlice calls it
	port      uint16
	addresses []string
}

// groupsOf parts the endpoints of a side. Controllers tell endpoints of a Service apart by address alone, so that each port has its own.
func groupsOf(host string, s traffic.Side) []group {
	var all []group
	for _, e := range s.Endpoints {
		a, err := netip.ParseAddrPort(e)
		if err != nil {
			continue // refused before
		}
		family := "IPv4"
		if a.Addr().Is6() {
			family = "IPv6"
		}
		i := slices.IndexFunc(all, func(g group) bool { return g.family == family && g.port == a.Port() })
		if i < 0 {
			i = len(all)
			all = append(all, group{service: serviceName(host, s.Generation, fmt.Sprint(family, a.Port())), family: family, port: a.Port()})
		}
		all[i].addresses = append(all[i].addresses, a.Addr().String())
	}
	return all
}

// nobody is the group that a route without users leads to: none of its endpoints is there, which is answered with 503.
func nobody(host string) group {
	return group{service: serviceName(host, "", "nobody"), family: "IPv4", port: servicePort}
}

// needed are the groups of a route, by generation.
func needed(r traffic.Route) map[string][]group {
	all := map[string][]group{}
	for _, s := range r.Sides {
		all[s.Generation] = groupsOf(r.Host, s)
	}
	if !hasUsers(r) || r.PreLive != "" && len(sideOf(r, r.PreLive).Endpoints) == 0 {
		all[""] = []group{nobody(r.Host)}
	}
	return all
}

func hasUsers(r traffic.Route) bool {
	return slices.ContainsFunc(r.Sides, func(s traffic.Side) bool { return s.Weight > 0 })
}

func sideOf(r traffic.Route, generation string) traffic.Side {
	i := slices.IndexFunc(r.Sides, func(s traffic.Side) bool { return s.Generation == generation })
	if i < 0 {
		return traffic.Side{}
	}
	return r.Sides[i]
}

// ref is a backend of a rule.
type ref struct {
	service string
	weight  int
}

// shared are the backends of a live route: the weight of a side is that of its endpoints together.
func shared(r traffic.Route) []ref {
	scale := 1
	for _, s := range r.Sides {
		if len(groupsOf(r.Host, s)) > 1 {
			scale = multiple(scale, len(s.Endpoints))
		}
	}
	scale = min(scale, maxScale)
	var all []ref
	for _, s := range r.Sides {
		for _, g := range groupsOf(r.Host, s) {
			all = append(all, ref{g.service, s.Weight * scale * len(g.addresses) / len(s.Endpoints)})
		}
	}
	if !hasUsers(r) {
		all = append(all, ref{nobody(r.Host).service, 1})
	}
	return all
}

// whole are the backends of a rule that leads to one side only.
func whole(r traffic.Route, generation string) []ref {
	var all []ref
	for _, g := range groupsOf(r.Host, sideOf(r, generation)) {
		all = append(all, ref{g.service, len(g.addresses)})
	}
	if len(all) == 0 {
		all = append(all, ref{nobody(r.Host).service, 1})
	}
	return all
}

// multiple is the least common one.
func multiple(a, b int) int {
	x, y := a, b
	for y > 0 {
		x, y = y, x%y
	}
	return a / x * b
}

// live renders the HTTPRoute of the live name.
func (r *Router) live(s state) *unstructured.Unstructured {
	rules := []any{probe(s.Token)}
	if c := s.Route.Chosen; c != nil {
		match := map[string]any{"headers": []any{map[string]any{"type": "Exact", "name": c.Header, "value": c.Value}}}
		rules = append(rules, map[string]any{"matches": []any{match}, "backendRefs": render(whole(s.Route, c.Generation))})
	}
	refs := shared(s.Route)
	for _, service := range s.Prepared {
		refs = append(refs, ref{service, 0})
	}
	return r.route(s, nameOf(s.Route.Host), s.Route.Host, append(rules, map[string]any{"backendRefs": render(refs)}))
}

// next renders the HTTPRoute of the pre-live name.
func (r *Router) next(s state) *unstructured.Unstructured {
	rule := map[string]any{"backendRefs": render(whole(s.Route, s.Route.PreLive))}
	return r.route(s, nextName(s.Route.Host), s.Route.PreLiveHost, []any{probe(s.Token), rule})
}

func (r *Router) route(s state, name, host string, rules []any) *unstructured.Unstructured {
	obj := r.object(gatewayapi.Group+"/v1", "HTTPRoute", name, s.Route.Host)
	raw, _ := json.Marshal(s) // it is of texts and numbers
	obj.SetAnnotations(map[string]string{stateAnnotation: string(raw)})
	obj.Object["spec"] = map[string]any{"parentRefs": []any{r.parent()}, "hostnames": []any{host}, "rules": rules}
	return obj
}

// parent is how a route names the Gateway.
func (r *Router) parent() map[string]any {
	parent := map[string]any{"group": gatewayapi.Group, "kind": "Gateway", "name": r.options.Gateway}
	if r.options.Section != "" {
		parent["sectionName"] = r.options.Section
	}
	return parent
}

// probe is the rule that tells which writing of a route is served. No user asks for it.
func probe(token string) map[string]any {
	return map[string]any{
		"matches": []any{map[string]any{
			"path":    map[string]any{"type": "Exact", "value": probePath},
			"headers": []any{map[string]any{"type": "Exact", "name": probeHeader, "value": probeValue}},
		}},
		"filters": []any{map[string]any{
			"type": "RequestRedirect", "requestRedirect": map[string]any{"hostname": token + probeDomain, "statusCode": int64(302)},
		}},
	}
}

func render(refs []ref) []any {
	var all []any
	for _, b := range refs {
		all = append(all, map[string]any{"kind": "Service", "name": b.service, "port": int64(servicePort), "weight": int64(b.weight)})
	}
	return all
}

// pair renders the Service and the EndpointSlice of a group.
func (r *Router) pair(host, generation string, g group) []*unstructured.Unstructured {
	service := r.object("v1", "Service", g.service, host)
	service.Object["spec"] = map[string]any{"type": "ClusterIP", "ports": []any{map[string]any{"name": "http", "protocol": "TCP", "port": int64(servicePort), "targetPort": int64(g.port)}}}
	slice := r.object("discovery.k8s.io/v1", "EndpointSlice", g.service, host)
	labels := slice.GetLabels()
	labels["kubernetes.io/service-name"], labels["endpointslice.kubernetes.io/managed-by"] = g.service, "crossfade.dev"
	slice.SetLabels(labels)
	slice.SetAnnotations(map[string]string{generationAnnotation: generation})
	endpoints := []any{}
	for _, a := range g.addresses {
		endpoints = append(endpoints, map[string]any{"addresses": []any{a}, "conditions": map[string]any{"ready": true}})
	}
	slice.Object["addressType"], slice.Object["endpoints"] = g.family, endpoints
	slice.Object["ports"] = []any{map[string]any{"name": "http", "protocol": "TCP", "port": int64(g.port)}}
	return []*unstructured.Unstructured{service, slice}
}

func (r *Router) object(apiVersion, kind, name, host string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetGroupVersionKind(schema.FromAPIVersionAndKind(apiVersion, kind))
	obj.SetNamespace(r.options.Namespace)
	obj.SetName(name)
	obj.SetLabels(map[string]string{routeLabel: nameOf(host)})
	return obj
}

// nameOf is the name of the HTTPRoute of a live name, nextName that of its pre-live one.
func nameOf(host string) string   { return "crossfade-" + slug(host, 30) + "-" + digest(host) }
func nextName(host string) string { return nameOf(host) + "-next" }

// serviceName is a DNS label for a part of a side.
func serviceName(host, generation, part string) string {
	return "crossfade-" + slug(host, 16) + "-" + slug(generation+" "+part, 24) + "-" + digest(host+" "+generation+" "+part)
}

var noLabel = regexp.MustCompile(`[^a-z0-9]+`)

// slug is what people may know a name by.
func slug(name string, most int) string {
	s := noLabel.ReplaceAllString(strings.ToLower(name), "-")
	return strings.Trim(s[:min(len(s), most)], "-")
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}
