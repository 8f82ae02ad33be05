package caddy

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// upstream is what Caddy tells of one address, see https://caddyserver.com/docs/api#get-reverse-proxyupstreams.
type upstream struct {
	Address     string `json:"address"`
	NumRequests int64  `json:"num_requests"`
	Fails       int    `json:"fails"`
}

// counts sums up what Caddy tells of the endpoints, by generation.
func (r *Router) counts(ctx context.Context, route traffic.Route) (map[string]traffic.Counters, error) {
	raw, _, err := r.call(ctx, http.MethodGet, "/reverse_proxy/upstreams", nil, nil)
	if err != nil {
		return nil, err
	}
	var upstreams []upstream
	if err := json.Unmarshal(raw, &upstreams); err != nil {
		return nil, err
	}
	down, err := r.failingChecks(ctx)
	if err != nil {
		return nil, err
	}
	requests := map[string]int64{}
	for _, u := range upstreams {
		// Of an endpoint as others fall back on it, only the requests count.
		address := strings.TrimPrefix(u.Address, "tcp/")
		requests[address] += u.NumRequests
		if address == u.Address && u.Fails >= maxFails {
			down[address] = true
		}
	}
	counts := make(map[string]traffic.Counters, len(route.Sides))
	for _, s := range route.Sides {
		var c traffic.Counters
		for _, e := range s.Endpoints {
			c.InFlight += requests[e]
			if down[e] {
				c.Unhealthy++
			}
		}
		counts[s.Generation] = c
	}
	return counts, nil
}

// healthGauge is how Caddy's metrics tell the state of an upstream: NAME{upstream="ADDRESS"} 0 or 1.
const healthGauge = `caddy_reverse_proxy_upstreams_healthy{upstream="`

// failingChecks returns the addresses that Caddy holds for unhealthy, active checks included. A Caddy without metrics tells
// of none.
func (r *Router) failingChecks(ctx context.Context) (map[string]bool, error) {
	raw, _, err := r.call(ctx, http.MethodGet, "/metrics", nil, nil)
	if fault.CodeOf(err) == fault.Unavailable {
		return nil, err
	}
	down := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		rest, ours := strings.CutPrefix(line, healthGauge)
		address, value, ok := strings.Cut(rest, `"}`)
		if ours && ok && strings.TrimSpace(value) == "0" {
			down[address] = true
		}
	}
	return down, nil
}
