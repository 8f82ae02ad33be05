package step

import (
	"context"
	"slices"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/endpoint"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// side says by which of a route's names a check asks.
type side bool

const (
	preLive side = false
	live    side = true
)

// entry returns where and under which name a route answers.
func (j *job) entry(s side) func(host string) (url, name string, err error) {
	return func(host string) (string, string, error) {
		i := slices.IndexFunc(j.plan.Routes, func(r plan.Route) bool { return r.Host == host })
		if i < 0 {
			return "", "", fault.New(fault.Invalid, "environment %s has no route %s", j.plan.Environment, host)
		}
		r := j.plan.Routes[i]
		router, err := j.router(r.Router)
		if err != nil {
			return "", "", err
		}
		name := r.PreLive
		if s == live {
			name = r.Host
		}
		if l, ok := router.(traffic.Locator); ok {
			url, err := l.Locate(j.ctx, r.Host, name)
			return url, name, err
		}
		return router.Entry(), name, nil
	}
}

// OpenEntry makes sure that the routers of all routes answer, and starts the edge of the state directory where it is one.
func (t *Toolbox) OpenEntry(ctx context.Context, id ID) error {
	return t.do(ctx, id, "asking the routers", "the routers answer", func(ctx context.Context, j *job) error {
		for _, r := range j.plan.Routes {
			if err := openRouter(ctx, r.Router, j.StateDir); err != nil {
				return err
			}
			router, err := j.router(r.Router)
			if err != nil {
				return err
			}
			if _, err := router.Observe(ctx, r.Host); err != nil {
				return err
			}
		}
		return nil
	})
}

// EnterPreLive lets the pre-live names answer from the new generation. The shares of the live names stay as they are.
func (t *Toolbox) EnterPreLive(ctx context.Context, id ID) error {
	return t.do(ctx, id, "opening the pre-live names", "", func(ctx context.Context, j *job) error {
		var names []string
		err := j.eachRoute(ctx, func(ctx context.Context, router traffic.Router, r plan.Route, seen *traffic.Observed) error {
			route, err := j.joined(ctx, r, seen)
			if err != nil {
				return err
			}
			names = append(names, r.PreLive)
			return router.Apply(ctx, route)
		})
		j.done = j.plan.Generation + " answers at " + strings.Join(names, ", ")
		return err
	})
}

// eachRoute does something with every route of the plan and what its router says of it. An edge of the state directory that
// died is started again.
func (j *job) eachRoute(ctx context.Context, do func(context.Context, traffic.Router, plan.Route, *traffic.Observed) error) error {
	for _, r := range j.plan.Routes {
		router, err := j.router(r.Router)
		if err != nil {
			return err
		}
		seen, err := j.ask(ctx, r)
		if err != nil {
			return err
		}
		if err := do(ctx, router, r, seen); err != nil {
			return err
		}
	}
	return nil
}

// joined is a route with both generations of the plan behind it, and shares as they are now. Sides of other generations are
// left over from runs that failed; they have no share and leave.
func (j *job) joined(ctx context.Context, r plan.Route, seen *traffic.Observed) (traffic.Route, error) {
	route := traffic.Route{
		Host: r.Host, PreLiveHost: r.PreLive, PreLive: j.plan.Generation,
		Health: traffic.Health{Path: r.Health}, H2C: r.H2C, Sticky: r.Sticky, Drain: j.plan.Shift.Drain.Or(0),
	}
	weight := 0
	if p := j.plan.Previous; p != "" {
		old, known := sideOf(seen, p)
		if !known { // users reach it by another way than this router until now
			var err error
			if old, err = j.sideIn(ctx, p, r); err != nil {
				return route, err
			}
			old.Weight = 100
		}
		route.Sides = append(route.Sides, old)
		weight = 100 - old.Weight
	} else if s, known := sideOf(seen, j.plan.Generation); known {
		weight = s.Weight
	}
	fresh, err := j.sideIn(ctx, j.plan.Generation, r)
	if err != nil {
		return route, err
	}
	fresh.Weight = weight
	route.Sides = append(route.Sides, fresh)
	return route, nil
}

// sideOf returns a generation's side of a route, as its router says.
func sideOf(seen *traffic.Observed, generation string) (traffic.Side, bool) {
	if seen != nil {
		for _, s := range seen.Route.Sides {
			if s.Generation == generation {
				return s, true
			}
		}
	}
	return traffic.Side{Generation: generation}, false
}

// sideIn asks a generation's cluster where it answers for a route.
func (j *job) sideIn(ctx context.Context, generation string, r plan.Route) (traffic.Side, error) {
	side := traffic.Side{Generation: generation}
	var status cluster.Status
	status, err := j.ready(ctx, generation)
	if err != nil {
		return side, err
	}
	c, err := kube.Connect(status.Access)
	if err != nil {
		return side, err
	}
	side.Endpoints, err = endpoint.OfService(ctx, c, status.Nodes, r.Namespace, r.Service, r.Port)
	return side, err
}
