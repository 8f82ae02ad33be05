package step

import (
	"context"
	"slices"
	"time"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/endpoint"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Refreshed is what became of one generation that serves the users of a route.
type Refreshed struct {
	Host       string   `json:"host"`
	Generation string   `json:"generation"`
	Endpoints  []string `json:"endpoints"`         // as they are now, in order
	Added      []string `json:"added,omitempty"`   // of these, those that are new
	Removed    []string `json:"removed,omitempty"` // those that were there and are not
}

// Changed reports whether anything is another than it was.
func (r Refreshed) Changed() bool { return len(r.Added)+len(r.Removed) > 0 }

// Refresh keeps the routes of an environment at the nodes that its generations have now. It moves no users. Whoever calls it sees to it
// that no run of the environment is under way. It may be called any number of times, by one goroutine.
type Refresh struct {
	tools    *Toolbox
	name     string // of the environment
	clusters spec.Cluster
	routes   []plan.Route
	live     []*kube.Cluster // as Once has met them
}

// NewRefresh is that of one environment of a configuration.
func NewRefresh(t *Toolbox, cfg *spec.Config, environment string) (*Refresh, error) {
	env, err := cfg.Environment(environment)
	if err != nil {
		return nil, err
	}
	routes, err := plan.Routes(cfg, env)
	if err != nil {
		return nil, err
	}
	if len(routes) == 0 {
		return nil, fault.New(fault.Invalid, "environment %s has no routes", environment).WithHint("there is nothing to be kept at its nodes")
	}
	return &Refresh{tools: t, name: environment, clusters: env.Spec.Cluster, routes: routes}, nil
}

// Once gives every generation that has users the endpoints that it has now, in every route. Nodes that are not Ready are not among
// them; a generation none of whose nodes is Ready keeps those that it has, and is an error: more often nobody can say so than nobody is.
// What failed for one route does not keep the others from being refreshed; the first error is returned.
func (r *Refresh) Once(ctx context.Context) ([]Refreshed, error) {
	r.live = nil
	var all []Refreshed
	var first error
	for _, route := range r.routes {
		done, err := r.route(ctx, route)
		all = append(all, done...)
		if first == nil {
			first = err
		}
	}
	return all, first
}

// route refreshes one route.
func (r *Refresh) route(ctx context.Context, at plan.Route) ([]Refreshed, error) {
	seen, err := r.tools.ask(ctx, at)
	if err != nil || seen == nil {
		return nil, err
	}
	var all []Refreshed
	route := seen.Route
	route.Sides = slices.Clone(route.Sides)
	for i, side := range route.Sides {
		if side.Weight == 0 {
			continue
		}
		endpoints, err := r.endpoints(ctx, side.Generation, at)
		if err != nil {
			return nil, err
		}
		all = append(all, Refreshed{
			Host: at.Host, Generation: side.Generation, Endpoints: endpoints,
			Added: without(endpoints, side.Endpoints), Removed: without(side.Endpoints, endpoints),
		})
		route.Sides[i].Endpoints = endpoints
	}
	if !slices.ContainsFunc(all, Refreshed.Changed) {
		return all, nil
	}
	router, err := r.tools.router(at.Router)
	if err != nil {
		return nil, err
	}
	if err := router.Apply(ctx, route); err != nil {
		return nil, err
	}
	return all, seenIn(ctx, router, route)
}

// seenIn reads a route back.
func seenIn(ctx context.Context, router traffic.Router, route traffic.Route) error {
	now, err := router.Observe(ctx, route.Host)
	if err != nil {
		return err
	}
	for _, side := range route.Sides {
		has, _ := sideOf(now, side.Generation)
		if len(without(side.Endpoints, has.Endpoints))+len(without(has.Endpoints, side.Endpoints)) > 0 {
			return fault.New(fault.Failed, "%s: the router leads to %s at %q, not at the %q asked for", route.Host, side.Generation, has.Endpoints, side.Endpoints).
				WithHint("see who else steers it")
		}
	}
	return nil
}

// without are those of all that are not among others, in order.
func without(all, others []string) []string {
	var rest []string
	for _, one := range all {
		if !slices.Contains(others, one) {
			rest = append(rest, one)
		}
	}
	slices.Sort(rest)
	return rest
}

// endpoints are where a generation answers for a route now.
func (r *Refresh) endpoints(ctx context.Context, generation string, at plan.Route) ([]string, error) {
	provider, err := r.tools.provider(r.clusters, r.name)
	if err != nil {
		return nil, err
	}
	status, err := provider.Observe(ctx, generation)
	if err != nil {
		return nil, err
	}
	if status.Phase == cluster.Absent {
		return nil, fault.New(fault.Failed, "%s has the users of %s, and its cluster is not there", generation, at.Host).
			WithHint("see crossfade status %s", r.name)
	}
	c, err := kube.Connect(status.Access)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(r.live, func(known *kube.Cluster) bool { return known.Access() == c.Access() }) {
		r.live = append(r.live, c)
	}
	nodes := status.Nodes
	if len(nodes) == 0 {
		nodes, err = endpoint.Nodes(ctx, c)
	} else {
		nodes, err = endpoint.Answering(ctx, c, nodes)
	}
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, fault.New(fault.Unavailable, "%s has no node that is ready; its routes stay as they are", generation).
			WithHint("see its nodes: kubectl --context %s get nodes", c.Access().Context)
	}
	return endpoint.OfService(ctx, c, nodes, at.Namespace, at.Service, at.Port)
}

// Await waits until a node of a generation that has users comes, goes, or is Ready or not any longer, and for at most a time of whole
// seconds. The states are those of States from before the last Once, so that nothing is missed in between.
func (r *Refresh) Await(ctx context.Context, before []endpoint.State, limit time.Duration) error {
	if len(before) != len(r.live) {
		return nil // another generation has users: its nodes are not known yet
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if len(before) == 0 {
		<-ctx.Done()
		return nil
	}
	ended := make(chan error, len(before))
	for i, c := range r.live {
		go func() { ended <- endpoint.Changed(ctx, c, before[i], limit) }()
	}
	err := <-ended
	if ctx.Err() != nil {
		err = nil
	}
	cancel()
	for range len(before) - 1 {
		<-ended
	}
	return err
}

// States are those of the nodes of the generations that Once has met last; none where one of them cannot be told: its cluster may be gone for
// good, and only Once meets what there is in its place.
func (r *Refresh) States(ctx context.Context) []endpoint.State {
	var all []endpoint.State
	for _, c := range r.live {
		s, err := endpoint.StateOf(ctx, c)
		if err != nil {
			return nil
		}
		all = append(all, s)
	}
	return all
}
