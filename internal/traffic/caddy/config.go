package caddy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"

	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// The part of Caddy's configuration that a route of ours consists of; see https://caddyserver.com/docs/json/. It is one
// object in the list of a server's routes, with an @id, so that one change of configuration changes it as a whole:
//
//	crossfade:HOST       the host and its pre-live host, nobody else's
//	  vars               the drain, which Caddy itself has no use for
//	  subroute           a route for each side, with the requests that are its share, then the answer when there is none
//	    crossfade:HOST:GENERATION
//	      vars           the generation's name, also there for access logs
//	      reverse_proxy  the endpoints of the side, watched and used in turn
//	      errors         the other sides with a share, or the same endpoints without their checks, for requests that could not
//	                     be sent to any of these

type routeConfig struct {
	ID       string          `json:"@id,omitempty"`
	Match    []matchConfig   `json:"match,omitempty"`
	Handle   []handlerConfig `json:"handle"`
	Terminal bool            `json:"terminal,omitempty"`
}

type matchConfig struct {
	Host       []string `json:"host,omitempty"`
	Path       []string `json:"path,omitempty"`
	Expression string   `json:"expression,omitempty"`
}

// handlerConfig has the fields of all handlers that we use; each handler uses some of them.
type handlerConfig struct {
	Handler string `json:"handler"`

	Drain      string `json:"crossfade_drain,omitempty"`      // vars
	Generation string `json:"crossfade_generation,omitempty"` // vars

	Routes []routeConfig `json:"routes,omitempty"` // subroute
	Errors *errorsConfig `json:"errors,omitempty"` // subroute

	Status string `json:"status_code,omitempty"` // static_response, error
	Body   string `json:"body,omitempty"`        // static_response
	Error  string `json:"error,omitempty"`       // error

	Upstreams    []upstreamConfig `json:"upstreams,omitempty"` // reverse_proxy, and all below
	Balancing    *balancingConfig `json:"load_balancing,omitempty"`
	HealthChecks *healthConfig    `json:"health_checks,omitempty"`
	Transport    *transportConfig `json:"transport,omitempty"`
	CloseDelay   string           `json:"stream_close_delay,omitempty"`
}

type errorsConfig struct {
	Routes []routeConfig `json:"routes"`
}

type upstreamConfig struct {
	Dial string `json:"dial"`
}

type balancingConfig struct {
	Policy   policyConfig `json:"selection_policy"`
	Retries  int          `json:"retries,omitempty"`
	Duration string       `json:"try_duration,omitempty"`
	Interval string       `json:"try_interval,omitempty"`
}

type policyConfig struct {
	Policy string `json:"policy"`
}

type healthConfig struct {
	Active  *activeConfig `json:"active,omitempty"`
	Passive passiveConfig `json:"passive"`
}

type activeConfig struct {
	URI      string              `json:"uri"`
	Interval string              `json:"interval"`
	Timeout  string              `json:"timeout"`
	Headers  map[string][]string `json:"headers,omitempty"`
	Fails    int                 `json:"fails,omitempty"`
}

type passiveConfig struct {
	FailDuration string `json:"fail_duration"`
	MaxFails     int    `json:"max_fails"`
}

type transportConfig struct {
	Protocol    string           `json:"protocol"`
	DialTimeout string           `json:"dial_timeout"`
	KeepAlive   *keepAliveConfig `json:"keep_alive,omitempty"`
}

type keepAliveConfig struct {
	Enabled bool `json:"enabled"`
	MaxIdle int  `json:"max_idle_conns_per_host"`
}

const (
	// maxFails and failDuration: an endpoint that could not be reached so often within that time gets nothing until it ends.
	maxFails     = 3
	failDuration = 2 * time.Second
	// tryDuration is how long a request waits for an endpoint of its side when no other side could take it.
	tryDuration = 5 * time.Second
	tryInterval = 50 * time.Millisecond
	dialTimeout = time.Second
	// checkTimeout bounds an active check, and activeFails of them in a row take an endpoint out.
	checkTimeout = 2 * time.Second
	activeFails  = 2
	// defaultInterval is the time between active checks where a route names none.
	defaultInterval = 2 * time.Second
	// closeDelay is when Caddy cuts the upgraded connections of a configuration that was replaced. It would cut those of
	// all sides, at every change of any route, so it must not: their own servers end them when the generation goes.
	closeDelay = 8760 * time.Hour
)

// id is the name under which Caddy finds the route of a host.
func id(host string) string { return "crossfade:" + host }

// routeOf renders a route, which is valid and normal, for the transport that a Caddy has.
func routeOf(r traffic.Route, t transportConfig) routeConfig {
	nobody := handlerConfig{Handler: "static_response", Status: "503", Body: "no generation serves this host\n"}
	sub := handlerConfig{Handler: "subroute"}
	from := 0
	for _, s := range r.Sides {
		sub.Routes = append(sub.Routes, routeConfig{
			ID: id(r.Host) + ":" + s.Generation, Match: matchers(r, s, from), Handle: []handlerConfig{side(r, s, t)}, Terminal: true,
		})
		from += s.Weight
	}
	sub.Routes = append(sub.Routes, routeConfig{Handle: []handlerConfig{nobody}})
	return routeConfig{
		ID: id(r.Host), Match: []matchConfig{{Host: hosts(r)}}, Terminal: true,
		Handle: []handlerConfig{{Handler: "vars", Drain: r.Drain.String()}, sub},
	}
}

// matchers say which requests are a side's. A side gets its share of the live host by the request's random id (RFC 9562,
// version 4, whose first 32 bits are all random), so that neither clients nor endpoints that are down change the shares.
func matchers(r traffic.Route, s traffic.Side, from int) []matchConfig {
	var all []matchConfig
	if r.PreLive == s.Generation && r.PreLiveHost != "" {
		all = append(all, matchConfig{Host: []string{r.PreLiveHost}})
	}
	if s.Weight > 0 {
		all = append(all, matchConfig{Host: []string{r.Host}, Expression: share(from, from+s.Weight)})
	}
	if len(all) == 0 { // it is there to be watched, and gets nothing
		all = append(all, matchConfig{Expression: "false"})
	}
	return all
}

// share renders the condition that holds for the requests from one percentage to another.
func share(from, to int) string {
	lower := fmt.Sprintf(`{http.request.uuid} >= "%08x"`, bound(from))
	upper := fmt.Sprintf(`{http.request.uuid} < "%08x"`, bound(to))
	switch {
	case from == 0 && to == 100:
		return ""
	case from == 0:
		return upper
	case to == 100:
		return lower
	}
	return lower + " && " + upper
}

func bound(percent int) uint64 { return uint64(percent) << 32 / 100 }

var bounds = regexp.MustCompile(`(>=|<) "([0-9a-f]{8})"`)

// weight reads a share back.
func weight(expression string) int {
	from, to := uint64(0), uint64(1)<<32
	for _, m := range bounds.FindAllStringSubmatch(expression, -1) {
		v, _ := strconv.ParseUint(m[2], 16, 64) // eight digits always fit
		if m[1] == "<" {
			to = v
		} else {
			from = v
		}
	}
	return int(math.Round(float64(int64(to)-int64(from)) * 100 / (1 << 32)))
}

// side renders the handler of one side.
func side(r traffic.Route, s traffic.Side, t transportConfig) handlerConfig {
	balancing := &balancingConfig{
		Policy: policyConfig{"round_robin"}, Duration: tryDuration.String(), Interval: tryInterval.String(),
		Retries: len(s.Endpoints) + maxFails, // what stands in answers sooner than these endpoints come back
	}
	proxy := handlerConfig{
		Handler: "reverse_proxy", Balancing: balancing, Transport: &t, CloseDelay: closeDelay.String(),
		HealthChecks: &healthConfig{Active: active(r), Passive: passiveConfig{failDuration.String(), maxFails}},
	}
	for _, e := range s.Endpoints {
		proxy.Upstreams = append(proxy.Upstreams, upstreamConfig{e})
	}
	sub := handlerConfig{Handler: "subroute", Routes: []routeConfig{{
		Handle: []handlerConfig{{Handler: "vars", Generation: s.Generation}, proxy},
	}}}
	sub.Errors = &errorsConfig{Routes: append(standIns(r, s, t), routeConfig{
		Handle: []handlerConfig{{Handler: "error", Error: "{http.error.message}", Status: "{http.error.status_code}"}},
	})}
	return sub
}

// standIns are the routes of requests that could not be sent to any endpoint of a side: to the other sides with a share, or else to the same
// endpoints without their checks.
func standIns(r traffic.Route, s traffic.Side, t transportConfig) []routeConfig {
	var all []routeConfig
	failed := func(hosts []string, upstreams []upstreamConfig) {
		if len(upstreams) > 0 {
			all = append(all, routeConfig{Match: []matchConfig{{Host: hosts, Expression: notSent}}, Handle: []handlerConfig{instead(upstreams, t)}, Terminal: true})
		}
	}
	failed([]string{r.Host}, fallback(r, s))
	failed(hosts(r), unwatched(s))
	return all
}

// hosts are both names of a route, the second one only if it has one.
func hosts(r traffic.Route) []string {
	if r.PreLiveHost == "" {
		return []string{r.Host}
	}
	return []string{r.Host, r.PreLiveHost}
}

// unwatched are the endpoints of a side as they stand in: without their checks. A check that fails everywhere says more of itself, or of the
// load, than of the endpoints; those that are really gone refuse the connection.
func unwatched(s traffic.Side) []upstreamConfig {
	var all []upstreamConfig
	for _, e := range s.Endpoints {
		// The network's name makes it another upstream for Caddy, which else would report the state of both as one.
		all = append(all, upstreamConfig{"tcp/" + e})
	}
	return all
}

// notSent holds for requests of which no byte reached an endpoint: none was healthy, or none took the connection. They can
// go elsewhere, whatever their method.
const notSent = `{http.error.message} == "no upstreams available" || {http.error.message}.startsWith("dial ")`

// fallback lists the endpoints of the other sides that have a share of the live host, when s has one.
func fallback(r traffic.Route, s traffic.Side) []upstreamConfig {
	var others []upstreamConfig
	for _, o := range r.Sides {
		if s.Weight == 0 || o.Weight == 0 || o.Generation == s.Generation {
			continue
		}
		others = append(others, unwatched(o)...)
	}
	return others
}

func instead(others []upstreamConfig, t transportConfig) handlerConfig {
	return handlerConfig{
		Handler: "reverse_proxy", Upstreams: others, Transport: &t, CloseDelay: closeDelay.String(),
		Balancing: &balancingConfig{
			Policy: policyConfig{"round_robin"}, Duration: tryDuration.String(), Interval: tryInterval.String(),
		},
		HealthChecks: &healthConfig{Passive: passiveConfig{failDuration.String(), maxFails}},
	}
}

// transport leaves it to the Service behind a node port to choose a pod anew, so that pods that are leaving get no more requests, and
// no request that cannot be repeated meets a connection that its pod is just closing. The edge keeps connections for a second,
// for what can be repeated (package brief of its bundle). In any other Caddy a request has a connection of its own, which Caddy
// closes: where the pod's side did, it would collect them in TIME_WAIT, and turn new ones down that look like them.
func transport(edge bool) transportConfig {
	if edge {
		return transportConfig{Protocol: "brief", DialTimeout: dialTimeout.String()}
	}
	return transportConfig{Protocol: "http", DialTimeout: dialTimeout.String(), KeepAlive: &keepAliveConfig{Enabled: true, MaxIdle: -1}}
}

func active(r traffic.Route) *activeConfig {
	if r.Health.Path == "" {
		return nil
	}
	return &activeConfig{
		URI: r.Health.Path, Interval: r.Health.Interval.String(), Timeout: checkTimeout.String(), Fails: activeFails,
		Headers: map[string][]string{"Host": {r.Host}},
	}
}

// parse reads a route back from what Caddy has.
func parse(raw any) (traffic.Route, error) {
	var c routeConfig
	if err := convert(raw, &c); err != nil {
		return traffic.Route{}, err
	}
	if len(c.Match) != 1 || len(c.Match[0].Host) == 0 || len(c.Handle) != 2 || len(c.Handle[1].Routes) == 0 {
		return traffic.Route{}, fmt.Errorf("%s does not have the form that Crossfade gives it", c.ID)
	}
	r := traffic.Route{Host: c.Match[0].Host[0]}
	if hosts := c.Match[0].Host; len(hosts) > 1 {
		r.PreLiveHost = hosts[1]
	}
	var err error
	if r.Drain, err = time.ParseDuration(c.Handle[0].Drain); err != nil {
		return traffic.Route{}, err
	}
	routes := c.Handle[1].Routes
	for _, rc := range routes[:len(routes)-1] {
		if err := parseSide(&r, rc); err != nil {
			return traffic.Route{}, fmt.Errorf("%s: %w", rc.ID, err)
		}
	}
	return r, nil
}

// parseSide adds a side to the route, and what else its configuration says of the route.
func parseSide(r *traffic.Route, c routeConfig) error {
	if len(c.Handle) != 1 || len(c.Handle[0].Routes) != 1 || len(c.Handle[0].Routes[0].Handle) != 2 {
		return fmt.Errorf("it does not have the form that Crossfade gives it")
	}
	handle := c.Handle[0].Routes[0].Handle
	s := traffic.Side{Generation: handle[0].Generation}
	for _, u := range handle[1].Upstreams {
		s.Endpoints = append(s.Endpoints, u.Dial)
	}
	for _, m := range c.Match {
		switch {
		case len(m.Host) != 1:
		case m.Host[0] == r.Host:
			s.Weight = weight(m.Expression)
		case m.Host[0] == r.PreLiveHost:
			r.PreLive = s.Generation
		}
	}
	if h := handle[1].HealthChecks; h != nil && h.Active != nil {
		interval, err := time.ParseDuration(h.Active.Interval)
		if err != nil {
			return err
		}
		r.Health = traffic.Health{Path: h.Active.URI, Interval: interval}
	}
	r.Sides = append(r.Sides, s)
	return nil
}

// convert turns one form of a value into another by way of JSON.
func convert(from, to any) error {
	raw, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return decode(raw, to)
}

// decode reads JSON and keeps numbers as they are written, so that what is not ours is written back unchanged.
func decode(raw []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(to)
}
