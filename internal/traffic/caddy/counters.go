package caddy

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

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
	served, err := r.served(ctx, route.Host)
	if err != nil {
		return nil, err
	}
	mirrored, err := r.mirrored(ctx, route)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]traffic.Counters, len(route.Sides))
	for _, s := range route.Sides {
		var c traffic.Counters
		if served != nil {
			c.Served = new(traffic.Served)
		}
		for _, e := range s.Endpoints {
			c.InFlight += requests[e]
			if down[e] {
				c.Unhealthy++
			}
			if served != nil {
				*c.Served = c.Served.Plus(served[e])
			}
		}
		if route.Mirror != nil && route.Mirror.Generation == s.Generation {
			c.Mirrored = mirrored
		}
		counts[s.Generation] = c
	}
	return counts, nil
}

// served is what the edge has counted for a host, by endpoint; nil for any other Caddy, which does not count by endpoint.
func (r *Router) served(ctx context.Context, host string) (map[string]traffic.Served, error) {
	if !r.options.Edge {
		return nil, nil //nolint:nilnil // documented
	}
	raw, _, err := r.call(ctx, http.MethodGet, "/brief/counts", nil, nil)
	if err != nil {
		return nil, err
	}
	var counts []struct { // Count of package brief of the edge bundle
		Host, Endpoint     string
		Requests, Failures int64
		Latency            []struct {
			Seconds  float64
			Requests int64
		}
	}
	if err := json.Unmarshal(raw, &counts); err != nil {
		return nil, err
	}
	served := map[string]traffic.Served{}
	for _, c := range counts {
		if c.Host != strings.ToLower(host) {
			continue
		}
		s := traffic.Served{Requests: c.Requests, Failures: c.Failures}
		for _, b := range c.Latency {
			s.Latency = append(s.Latency, traffic.Bucket{UpTo: time.Duration(b.Seconds * float64(time.Second)), Requests: b.Requests})
		}
		served[c.Endpoint] = s
	}
	return served, nil
}

// mirrored is how the copies were answered that a route's mirror has sent; nil where it has none.
func (r *Router) mirrored(ctx context.Context, route traffic.Route) (*traffic.Mirrored, error) {
	if route.Mirror == nil {
		return nil, nil //nolint:nilnil // documented
	}
	raw, _, err := r.call(ctx, http.MethodGet, "/mirror/tallies", nil, nil)
	if err != nil {
		return nil, err
	}
	var tallies []struct { // Tally of package mirror of the edge bundle
		Host, To string
		traffic.Mirrored
	}
	if err := json.Unmarshal(raw, &tallies); err != nil {
		return nil, err
	}
	for _, t := range tallies {
		if t.Host == strings.ToLower(route.Host) && t.To == route.Mirror.Generation+"/"+route.Mirror.Tally {
			return &t.Mirrored, nil
		}
	}
	return &traffic.Mirrored{}, nil
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
