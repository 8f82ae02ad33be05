package step

import (
	"testing"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

func TestIsGeneration(t *testing.T) {
	for name, tc := range map[string]struct {
		prefix, generation string
		want               bool
	}{
		"Ours":           {"shop", "shop2611210300", true},
		"WithALetter":    {"shop", "shop2611210300b", true},
		"OfAnother":      {"shop", "crm2611210300", false},
		"LongerPrefix":   {"shop", "shop-eu2611210300", false},
		"ShorterPrefix":  {"shop-eu", "shop2611210300", false},
		"TooShort":       {"shop", "shop261121", false},
		"TwoLetters":     {"shop", "shop2611210300bb", false},
		"NoPattern":      {"s.op", "shop2611210300", false},
		"WithoutAPrefix": {"", "anything", true},
	} {
		same(t, name, tc.want, isGeneration(tc.prefix, tc.generation))
	}
}

// scopeOf is what is observed for the bench's plan.
func scopeOf(b *bench) scope {
	return scope{Environment: "production", Prefix: "shop", Cluster: b.plan.Cluster, Routes: b.plan.Routes}
}

func TestObserve(t *testing.T) {
	const first, second = "shop2611210100", "shop2611210200"
	ctx := t.Context()
	b := newBench(t, func(p *plan.Plan) { p.Previous, p.Generation = first, second })
	b.clusters.standing = map[string]cluster.Phase{first: cluster.Ready, second: cluster.Partial, "crm2611210100": cluster.Ready}
	for _, r := range b.plan.Routes {
		ok(t, b.router.Apply(ctx, traffic.Route{Host: r.Host, Sides: []traffic.Side{{Generation: first, Weight: 100}, {Generation: second}}}))
	}
	for service, version := range map[string]string{"web": "1.4", "api": "2.0"} {
		r := record.Release{Environment: "production", Generation: first, Service: service, Version: version, Run: "r1"}
		ok(t, b.Records.PutRelease(ctx, r))
		if service == "web" {
			ok(t, b.Records.MarkGood(ctx, r))
		}
	}
	applied := b.router.applied
	seen, err := b.observe(ctx, scopeOf(b))
	ok(t, err)
	same(t, "generations of others, and versions that are not good, are not seen", plan.Observed{
		Now: b.time, Live: first, Weights: map[string]int{first: 100}, Generations: []string{first, second},
		Good: map[string]string{"web": "1.4"}, Taken: []string{second, first},
	}, seen)
	same(t, "a look changes nothing", applied, b.router.applied)
	same(t, "a look makes nothing", []string(nil), b.clusters.calls)
}

// noneLive is a record of before the first generation was live.
func noneLive(t *testing.T, b *bench, _ *scope) {
	ok(t, b.Records.SetPhase(t.Context(), "production", "old", record.Retired, b.now()))
}

// TestObserveLive finds out who has the users.
func TestObserveLive(t *testing.T) {
	const shop, api = "shop.example.com", "api.example.com"
	route := func(t *testing.T, b *bench, host string, sides ...traffic.Side) {
		ok(t, b.router.Apply(t.Context(), traffic.Route{Host: host, Sides: sides}))
	}
	all := func(g string) traffic.Side { return traffic.Side{Generation: g, Weight: 100} }
	cases := map[string]struct {
		reason string
		set    func(*testing.T, *bench, *scope)
		live   string // of a provider in whose clusters somebody served before; "" for one without that power
		asked  int    // how often that provider is
		want   string
		code   fault.Code
	}{
		"Nothing":      {reason: "before the first generation nothing is live", set: noneLive},
		"RouterForgot": {reason: "a router that lost its routes does not make what runs a stranger", want: "old", set: func(_ *testing.T, _ *bench, s *scope) { s.Prefix = "" }},
		"RouterForgotAndGone": {
			reason: "a generation that does not stand any more is not live",
			set:    func(_ *testing.T, b *bench, s *scope) { s.Prefix = ""; delete(b.clusters.standing, "old") },
		},
		"Router": {
			reason: "what the routers say is live, not what the record says", want: "new",
			set: func(t *testing.T, b *bench, _ *scope) { route(t, b, shop, all("new")); route(t, b, api, all("new")) },
		},
		"NewRoute": {
			reason: "a route that its router does not have yet says nothing", want: "old",
			set: func(t *testing.T, b *bench, _ *scope) { route(t, b, shop, all("old")) },
		},
		"Adopted": {
			reason: "who served before Crossfade came is live", live: "2611200100", asked: 1, want: "shop2611200100", set: noneLive,
		},
		"RouterKnowsBetter": {
			reason: "a provider is not asked once a router knows", live: "2611200100", want: "new",
			set: func(t *testing.T, b *bench, _ *scope) { route(t, b, shop, all("new")) },
		},
		"Split": {
			reason: "users of one route on two generations are nobody's plan", code: fault.Failed,
			set: func(t *testing.T, b *bench, _ *scope) {
				for _, host := range []string{shop, api} {
					route(t, b, host, traffic.Side{Generation: "old", Weight: 90}, traffic.Side{Generation: "new", Weight: 10})
				}
			},
		},
		"Disagree": {
			reason: "nor are two routes that differ", code: fault.Failed,
			set: func(t *testing.T, b *bench, _ *scope) { route(t, b, shop, all("old")); route(t, b, api, all("new")) },
		},
		"WithoutRoutes": {
			reason: "an environment without routes goes by the record", want: "old",
			set: func(_ *testing.T, _ *bench, s *scope) { s.Routes = nil },
		},
		"WithoutRoutesNorLive": {
			reason: "and by nothing where the record has none live",
			set: func(t *testing.T, b *bench, s *scope) {
				s.Routes = nil
				ok(t, b.Records.SetPhase(t.Context(), "production", "old", record.Retired, b.now()))
			},
		},
		"RouterSilent": {
			reason: "a router that does not answer is not one that has nothing", code: fault.Unavailable, live: "2611200100",
			set: func(_ *testing.T, b *bench, _ *scope) {
				b.router.fail = func(string, string) error { return errUnavailable }
			},
		},
		"ClustersSilent": {
			reason: "clusters that do not answer are not none", code: fault.Unavailable,
			set: func(_ *testing.T, b *bench, _ *scope) { b.clusters.err = errUnavailable },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			before := &serving{clusters: b.clusters, live: tc.live}
			if tc.live != "" {
				b.makeProvider = func(spec.Cluster) (cluster.Provider, error) { return before, nil }
			}
			s := scopeOf(b)
			if tc.set != nil {
				tc.set(t, b, &s)
			}
			seen, err := b.observe(t.Context(), s)
			wantCode(t, tc.reason, err, tc.code)
			if err == nil {
				same(t, tc.reason, tc.want, seen.Live)
			}
			if tc.code == fault.Failed && fault.HintOf(err) == "" {
				t.Errorf("%s: the error says not what to do: %v", tc.reason, err)
			}
			same(t, tc.reason+": asked", tc.asked, before.asked)
		})
	}
}

// TestOwnEdgeStaysAsItIs: looking at an environment does not start an edge that was never started.
func TestOwnEdgeStaysAsItIs(t *testing.T) {
	b := newBench(t, nil)
	b.makeRouter = nil
	r := plan.Route{Host: "shop.example.com", Router: spec.Router{Name: "edge", Caddy: &spec.CaddyRouter{Listen: "127.0.0.1:0"}}}
	seen, err := b.ask(t.Context(), r)
	ok(t, err)
	if seen != nil || edge.Known(b.StateDir) {
		t.Errorf("an edge that was never started has the route %+v", seen)
	}
}
