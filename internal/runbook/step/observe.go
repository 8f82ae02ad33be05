package step

import (
	"context"
	"regexp"
	"slices"

	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// scope is the part of an environment that is observed before a plan is made.
type scope struct {
	Environment string
	Prefix      string // of the names of its generations; "" to take all clusters as its own
	Cluster     spec.Cluster
	Routes      []plan.Route
}

// observe looks at what an environment is now: its clusters, what its routers say is live, the versions that are good. It
// changes nothing.
func (t *Toolbox) observe(ctx context.Context, s scope) (plan.Observed, error) {
	seen := plan.Observed{Now: t.Now().UTC(), Weights: map[string]int{}}
	provider, err := t.provider(s.Cluster, s.Environment)
	if err != nil {
		return seen, err
	}
	if seen.Generations, err = provider.List(ctx); err != nil {
		return seen, err
	}
	seen.Generations = slices.DeleteFunc(seen.Generations, func(g string) bool { return !isGeneration(s.Prefix, g) })
	if seen.Weights, err = t.weights(ctx, s.Routes); err != nil {
		return seen, err
	}
	if seen.Live, err = t.liveGeneration(ctx, s, seen); err != nil {
		return seen, err
	}
	if first, ok := provider.(adopter); ok && seen.Live == "" {
		if seen.Live, err = first.Live(ctx, s.Prefix); err != nil {
			return seen, err
		}
	}
	good, err := t.Records.Good(ctx, s.Environment)
	if err != nil {
		return seen, err
	}
	seen.Good = map[string]string{}
	for service, r := range good {
		seen.Good[service] = r.Version
	}
	known, err := t.Records.Generations(ctx, s.Environment)
	if err != nil {
		return seen, err
	}
	for _, g := range known {
		seen.Taken = append(seen.Taken, g.Name)
	}
	return seen, nil
}

// adopter is a cluster provider in whose clusters users may be served before Crossfade knows of them.
type adopter interface {
	// Live names the generation that serves the users while no router knows of one; "" for none.
	Live(ctx context.Context, prefix string) (string, error)
	// Adopt marks the live cluster as that generation. It may be called again.
	Adopt(ctx context.Context, clusterContext, generation string) error
}

// isGeneration reports whether a name is PREFIXyymmddHHMM, perhaps with a letter.
func isGeneration(prefix, name string) bool {
	return prefix == "" || regexp.MustCompile(`^`+regexp.QuoteMeta(prefix)+`[0-9]{10}[a-z]?$`).MatchString(name)
}

// weights asks the routers for the share of each generation. They must agree on all routes.
func (t *Toolbox) weights(ctx context.Context, routes []plan.Route) (map[string]int, error) {
	all := map[string]int{}
	first := ""
	for _, r := range routes {
		seen, err := t.ask(ctx, r)
		if err != nil {
			return nil, err
		}
		if seen == nil {
			continue
		}
		these := map[string]int{}
		for _, s := range seen.Route.Sides {
			if s.Weight > 0 {
				these[s.Generation] = s.Weight
			}
		}
		if first != "" && !sameWeights(all, these) {
			return nil, fault.New(fault.Failed, "the routes %s and %s send their users to different generations: %v and %v", first, r.Host, all, these).
				WithHint("bring them together with crossfade switch-back")
		}
		first, all = r.Host, these
	}
	return all, nil
}

// ask asks the router of a route about it. An edge of the state directory that was never started has no route, and one that was
// and does not run is started: only it knows.
func (t *Toolbox) ask(ctx context.Context, r plan.Route) (*traffic.Observed, error) {
	if ownEdge(r.Router) {
		if !edge.Known(t.StateDir) {
			return nil, nil //nolint:nilnil // as Observe says it
		}
		if err := openRouter(ctx, r.Router, t.StateDir); err != nil {
			return nil, err
		}
	}
	router, err := t.router(r.Router)
	if err != nil {
		return nil, err
	}
	return router.Observe(ctx, r.Host)
}

func sameWeights(a, b map[string]int) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// liveGeneration is the one that has all users, as the routers say. Where none has a route, because there are none or because it lost what it
// knew, the record says it, of a cluster that still stands: what runs there acts on the world, and is copied from and handed over.
func (t *Toolbox) liveGeneration(ctx context.Context, s scope, seen plan.Observed) (string, error) {
	if len(seen.Weights) > 1 {
		return "", fault.New(fault.Failed, "the users of %s are split between generations: %v", s.Environment, seen.Weights).
			WithHint("end that first: crossfade switch-back %s", s.Environment)
	}
	for g := range seen.Weights {
		return g, nil
	}
	generations, err := t.Records.Generations(ctx, s.Environment)
	if err != nil {
		return "", err
	}
	for _, g := range generations {
		if g.Phase == record.Live && (len(s.Routes) == 0 || slices.Contains(seen.Generations, g.Name)) {
			return g.Name, nil
		}
	}
	return "", nil
}
