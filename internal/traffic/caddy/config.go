package caddy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// The part of Caddy's configuration that a route of ours consists of; see https://caddyserver.com/docs/json/. It is one
// object in the list of a server's routes, with an @id, so that one change of configuration changes it as a whole:
//
//	crossfade:HOST       the host and its pre-live host, nobody else's
//	  subroute           of a sticky route: who the user is, by a cookie, which those get who have none
//	  subroute           a route for each side, with the requests that are its share; in the edge it is "sides" of its own
//	    crossfade:HOST:GENERATION
//	      vars           the generation's name, also there for access logs
//	      mirror         of the edge: sends copies to another side
//	      reverse_proxy  the endpoints of the side, watched and used in turn
//	    errors           for requests that could not be sent to any endpoint of their side: the other sides with a share, or
//	                     the same endpoints without their checks; and the drain, which Caddy itself has no use for
//	  static_response    the answer when the request is no side's

type routeConfig struct {
	ID       string          `json:"@id,omitempty"`
	Match    []matchConfig   `json:"match,omitempty"`
	Handle   []handlerConfig `json:"handle"`
	Terminal bool            `json:"terminal,omitempty"`
}

type matchConfig struct {
	Host       []string            `json:"host,omitempty"`
	Path       []string            `json:"path,omitempty"`
	Header     map[string][]string `json:"header,omitempty"`
	Not        []matchConfig       `json:"not,omitempty"`
	Vars       map[string][]string `json:"vars,omitempty"`
	Expression string              `json:"expression,omitempty"`
	Dice       *diceConfig         `json:"dice,omitempty"`
}

// diceConfig are the fields of Match of package dice of the edge bundle.
type diceConfig struct {
	From int    `json:"from"`
	To   int    `json:"to"`
	Of   string `json:"of,omitempty"`
}

// handlerConfig has the fields of all handlers that we use; each handler uses some of them.
type handlerConfig struct {
	Handler string `json:"handler"`

	Drain      string `json:"crossfade_drain,omitempty"`      // vars
	Generation string `json:"crossfade_generation,omitempty"` // vars
	User       string `json:"crossfade_user,omitempty"`       // vars

	Response *headersConfig `json:"response,omitempty"` // headers

	Routes []routeConfig `json:"routes,omitempty"` // subroute, sides
	Errors *errorsConfig `json:"errors,omitempty"` // subroute, sides

	Status string `json:"status_code,omitempty"` // static_response, error
	Body   string `json:"body,omitempty"`        // static_response
	Error  string `json:"error,omitempty"`       // error

	mirrorConfig // mirror

	Upstreams    []upstreamConfig `json:"upstreams,omitempty"` // reverse_proxy, and all below
	Balancing    *balancingConfig `json:"load_balancing,omitempty"`
	HealthChecks *healthConfig    `json:"health_checks,omitempty"`
	Transport    *transportConfig `json:"transport,omitempty"`
	CloseDelay   string           `json:"stream_close_delay,omitempty"`
}

// mirrorConfig are the fields of Handler of package mirror of the edge bundle.
type mirrorConfig struct {
	Host      string   `json:"host,omitempty"`
	To        string   `json:"to,omitempty"`
	Endpoints []string `json:"endpoints,omitempty"`
	Share     int      `json:"share,omitempty"`
	Headers   []string `json:"headers,omitempty"`
}

type headersConfig struct {
	Add map[string][]string `json:"add"`
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
	H2C         bool             `json:"h2c,omitempty"`      // brief
	Versions    []string         `json:"versions,omitempty"` // http
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

// routeOf renders a route, which is valid and normal, for the edge or for any other Caddy.
func routeOf(r traffic.Route, edge bool) routeConfig {
	t := transport(edge, r.H2C)
	sub := handlerConfig{Handler: "subroute", Errors: &errorsConfig{}}
	if edge {
		sub.Handler = "sides"
	}
	from := 0
	for _, s := range r.Sides {
		sub.Routes = append(sub.Routes, routeConfig{
			ID: id(r.Host) + ":" + s.Generation, Match: matchers(r, s, from, edge), Handle: side(r, s, t), Terminal: true,
		})
		sub.Errors.Routes = append(sub.Errors.Routes, standIns(r, s, t)...)
		from += s.Weight
	}
	sub.Errors.Routes = append(sub.Errors.Routes, routeConfig{Handle: []handlerConfig{
		{Handler: "vars", Drain: r.Drain.String()},
		{Handler: "error", Error: "{http.error.message}", Status: "{http.error.status_code}"},
	}})
	handle := []handlerConfig{sub, {Handler: "static_response", Status: "503", Body: "no generation serves this host\n"}}
	if r.Sticky {
		handle = append([]handlerConfig{sticky()}, handle...)
	}
	return routeConfig{ID: id(r.Host), Match: []matchConfig{{Host: hosts(r)}}, Terminal: true, Handle: handle}
}

const (
	// random is a number that each request has: a UUID (RFC 9562, version 4), whose first 32 bits are all random.
	random = "{http.request.uuid}"
	// user is such a number that all requests of a user have.
	user = "{http.vars.crossfade_user}"
	// cookie is where users keep it.
	cookie = "crossfade"
)

// sticky renders what says who the user is.
func sticky() handlerConfig {
	kept := "{http.request.cookie." + cookie + "}"
	known := []matchConfig{{Expression: kept + `.matches("^[0-9a-f]{8}-[0-9a-f-]{27}$")`}}
	given := map[string][]string{"Set-Cookie": {cookie + "=" + random + "; Path=/; HttpOnly; SameSite=Lax"}}
	return handlerConfig{Handler: "subroute", Routes: []routeConfig{
		{Match: known, Handle: []handlerConfig{{Handler: "vars", User: kept}}},
		{Match: []matchConfig{{Not: known}}, Handle: []handlerConfig{{Handler: "vars", User: random}, {Handler: "headers", Response: &headersConfig{given}}}},
	}}
}

// matchers say which requests are a side's. A side gets its share of the live host by a random number of the request, or of the user, so
// that neither clients nor endpoints that are down change the shares. What most requests meet is first.
func matchers(r traffic.Route, s traffic.Side, from int, edge bool) []matchConfig {
	var all []matchConfig
	if s.Weight > 0 {
		m := share(r, from, from+s.Weight, edge)
		m.Host = []string{r.Host}
		if r.Chosen != nil {
			m.Not = []matchConfig{{Header: asks(r.Chosen)}}
		}
		all = append(all, m)
	}
	if r.Chosen != nil && r.Chosen.Generation == s.Generation {
		all = append(all, matchConfig{Host: []string{r.Host}, Header: asks(r.Chosen)})
	}
	if r.PreLive == s.Generation && r.PreLiveHost != "" {
		all = append(all, matchConfig{Host: []string{r.PreLiveHost}})
	}
	if len(all) == 0 { // it is there to be watched, and gets nothing
		all = append(all, matchConfig{Expression: "false"})
	}
	return all
}

// asks is what a request has that is led to the chosen side.
func asks(c *traffic.Chosen) map[string][]string { return map[string][]string{c.Header: {c.Value}} }

// share renders the condition that holds for the numbers from one percentage to another.
func share(r traffic.Route, from, to int, edge bool) matchConfig {
	number := random
	if r.Sticky {
		number = user
	}
	lower, upper := fmt.Sprintf(`%s >= "%08x"`, number, bound(from)), fmt.Sprintf(`%s < "%08x"`, number, bound(to))
	switch {
	case from == 0 && to == 100:
		return matchConfig{}
	case edge && r.Sticky:
		return matchConfig{Dice: &diceConfig{from, to, user}}
	case edge:
		return matchConfig{Dice: &diceConfig{From: from, To: to}}
	case from == 0:
		return matchConfig{Expression: upper}
	case to == 100:
		return matchConfig{Expression: lower}
	}
	return matchConfig{Expression: lower + " && " + upper}
}

func bound(percent int) uint64 { return uint64(percent) << 32 / 100 }

// side renders the handlers of one side.
func side(r traffic.Route, s traffic.Side, t transportConfig) []handlerConfig {
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
	handle := append([]handlerConfig{{Handler: "vars", Generation: s.Generation}}, mirror(r, s)...)
	return append(handle, proxy)
}

// mirror renders what sends copies of the requests of a side to another one, if anything does.
func mirror(r traffic.Route, s traffic.Side) []handlerConfig {
	m := r.Mirror
	if m == nil || s.Generation == m.Generation || s.Weight == 0 {
		return nil
	}
	to := slices.IndexFunc(r.Sides, func(o traffic.Side) bool { return o.Generation == m.Generation })
	c := mirrorConfig{Host: strings.ToLower(r.Host), To: m.Generation + "/" + m.Tally, Endpoints: r.Sides[to].Endpoints, Share: m.Share, Headers: m.Headers}
	return []handlerConfig{{Handler: "mirror", mirrorConfig: c}}
}

// standIns are the routes of requests that could not be sent to any endpoint of a side: to the other sides with a share, or else to the same
// endpoints without their checks.
func standIns(r traffic.Route, s traffic.Side, t transportConfig) []routeConfig {
	var all []routeConfig
	of := map[string][]string{"crossfade_generation": {s.Generation}}
	failed := func(hosts []string, upstreams []upstreamConfig) {
		if len(upstreams) > 0 {
			all = append(all, routeConfig{
				Match: []matchConfig{{Host: hosts, Vars: of, Expression: notSent}}, Handle: []handlerConfig{instead(upstreams, t)}, Terminal: true,
			})
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
//
// HTTP/2 is spoken over one connection at a time, which each of its servers tells when it goes.
func transport(edge, h2c bool) transportConfig {
	switch {
	case edge:
		return transportConfig{Protocol: "brief", H2C: h2c, DialTimeout: dialTimeout.String()}
	case h2c:
		return transportConfig{Protocol: "http", Versions: []string{"h2c"}, DialTimeout: dialTimeout.String()}
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
