package caddy

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// parse reads a route back from what Caddy has.
func parse(raw any) (traffic.Route, error) {
	var c routeConfig
	if err := convert(raw, &c); err != nil {
		return traffic.Route{}, err
	}
	sub, ok := inner(c)
	if !ok {
		return traffic.Route{}, fmt.Errorf("%s does not have the form that Crossfade gives it", c.ID)
	}
	r := traffic.Route{Host: c.Match[0].Host[0], Sticky: len(c.Handle) == 3}
	if hosts := c.Match[0].Host; len(hosts) > 1 {
		r.PreLiveHost = hosts[1]
	}
	var err error
	if r.Drain, err = time.ParseDuration(sub.Errors.Routes[len(sub.Errors.Routes)-1].Handle[0].Drain); err != nil {
		return traffic.Route{}, err
	}
	for _, rc := range sub.Routes {
		if err := parseSide(&r, rc); err != nil {
			return traffic.Route{}, fmt.Errorf("%s: %w", rc.ID, err)
		}
	}
	return r, nil
}

// inner returns the subroute of the sides, and whether all is there of which a route is read.
func inner(c routeConfig) (sub handlerConfig, ok bool) {
	if len(c.Match) != 1 || len(c.Match[0].Host) == 0 || len(c.Handle) < 2 {
		return sub, false
	}
	sub = c.Handle[len(c.Handle)-2]
	if sub.Errors == nil || len(sub.Errors.Routes) == 0 {
		return sub, false
	}
	return sub, len(sub.Errors.Routes[len(sub.Errors.Routes)-1].Handle) == 2
}

// parseSide adds a side to the route, and what else its configuration says of the route.
func parseSide(r *traffic.Route, c routeConfig) error {
	handle := c.Handle
	if len(handle) < 2 {
		return fmt.Errorf("it does not have the form that Crossfade gives it")
	}
	s := traffic.Side{Generation: handle[0].Generation}
	proxy := handle[len(handle)-1]
	for _, u := range proxy.Upstreams {
		s.Endpoints = append(s.Endpoints, u.Dial)
	}
	if len(handle) == 3 {
		m := handle[1].mirrorConfig
		generation, tally, _ := strings.Cut(m.To, "/")
		r.Mirror = &traffic.Mirror{Generation: generation, Tally: tally, Share: m.Share, Headers: m.Headers}
	}
	for _, m := range c.Match {
		parseMatch(r, &s, m)
	}
	if t := proxy.Transport; t != nil {
		r.H2C = t.H2C || slices.Contains(t.Versions, "h2c")
	}
	if h := proxy.HealthChecks; h != nil && h.Active != nil {
		interval, err := time.ParseDuration(h.Active.Interval)
		if err != nil {
			return err
		}
		r.Health = traffic.Health{Path: h.Active.URI, Interval: interval}
	}
	r.Sides = append(r.Sides, s)
	return nil
}

// parseMatch adds what one condition says of the route and of its side.
func parseMatch(r *traffic.Route, s *traffic.Side, m matchConfig) {
	switch {
	case len(m.Host) != 1:
	case m.Host[0] == r.Host && len(m.Header) > 0:
		for header, values := range m.Header {
			r.Chosen = &traffic.Chosen{Header: header, Value: strings.Join(values, ""), Generation: s.Generation}
		}
	case m.Host[0] == r.Host:
		s.Weight = weight(m)
	case m.Host[0] == r.PreLiveHost:
		r.PreLive = s.Generation
	}
}

var bounds = regexp.MustCompile(`(>=|<) "([0-9a-f]{8})"`)

// weight reads a share back.
func weight(m matchConfig) int {
	if m.Dice != nil {
		return m.Dice.To - m.Dice.From
	}
	from, to := uint64(0), uint64(1)<<32
	for _, b := range bounds.FindAllStringSubmatch(m.Expression, -1) {
		v, _ := strconv.ParseUint(b[2], 16, 64) // eight digits always fit
		if b[1] == "<" {
			to = v
		} else {
			from = v
		}
	}
	return int(math.Round(float64(int64(to)-int64(from)) * 100 / (1 << 32)))
}
