// Package traffic moves users between generations. Its routers are sub-packages.
package traffic

import (
	"context"
	"time"
)

// Route is all that a router should do for one public host name.
type Route struct {
	Host        string `json:"host"`        // the live name, without a port
	PreLiveHost string `json:"preLiveHost"` // the name at which the pre-live side answers
	Sides       []Side `json:"sides"`       // the generations behind the route, in order of name
	PreLive     string `json:"preLive"`     // the generation behind PreLiveHost; "" for none
	Health      Health `json:"health"`      // how the router watches each endpoint
	// Drain is how long streams and long responses may go on after their side lost its weight. A router cuts none of them
	// sooner; one that cannot cut them at all leaves that to whoever ends the side, which waits for the counters first.
	Drain time.Duration `json:"drain"`
	// What follows is for routers whose kind can do it; one that cannot refuses the route.

	// H2C has the endpoints spoken to in HTTP/2 without TLS, as gRPC needs it.
	H2C bool `json:"h2c,omitempty"`
	// Sticky has each user stay on one side, as long as the shares let it: a share is of the users then, not of the requests, and as a share
	// grows, users change to it once.
	Sticky bool    `json:"sticky,omitempty"`
	Chosen *Chosen `json:"chosen,omitempty"`
	Mirror *Mirror `json:"mirror,omitempty"`
}

// Chosen leads those requests for the live host that ask for it to one side, whatever the weights are.
type Chosen struct {
	Header     string `json:"header"` // of the requests that ask for it
	Value      string `json:"value"`  // that it has then
	Generation string `json:"generation"`
}

// Mirror sends copies of requests for the live host to a side that has no weight. Only what is safe to do twice is copied (GET, HEAD and
// OPTIONS without a body), the answers are compared with those that users get, and no user waits for them.
type Mirror struct {
	Generation string   `json:"generation"`
	Tally      string   `json:"tally"`             // in which the answers are counted; another one begins at nothing
	Share      int      `json:"share"`             // of the requests that can be copied, in percent
	Headers    []string `json:"headers,omitempty"` // of the answers, whose values are compared
}

// Side is one generation behind a route.
type Side struct {
	Generation string   `json:"generation"`
	Endpoints  []string `json:"endpoints"` // host:port of every node that serves the route
	// Weight is the share of the live host's requests in percent; the weights of a route's sides add up to 100, or are all 0
	// while the route has no live side yet.
	Weight int `json:"weight"`
}

// Health is an active check of each endpoint by the router, whatever the weight of its side. An endpoint that fails gets nothing
// while others of its side pass; a side none of whose endpoints passes is stood in for by the other sides with a weight, and
// by them only. Where there is none, a router may send to the endpoints all the same: a check that fails everywhere says more of
// itself, or of the load, than of the endpoints.
type Health struct {
	Path     string        `json:"path"`     // "" for no active check; else a GET to be answered with a status of 2xx
	Interval time.Duration `json:"interval"` // 0 for the router's default
}

// Observed is what a router does for a host name now.
type Observed struct {
	Route  Route               `json:"route"`
	Counts map[string]Counters `json:"counts"` // by generation
}

// Counters say how busy one generation is, as the router sees it.
type Counters struct {
	InFlight  int64 `json:"inFlight"`  // requests and streams under way
	Unhealthy int   `json:"unhealthy"` // endpoints that the router does not send to
	// Mirrored is how copies of requests were answered; nil where none are sent to the generation.
	Mirrored *Mirrored `json:"mirrored,omitempty"`
	// Served is what became of the requests for the live host; nil where the router cannot tell by generation.
	Served *Served `json:"served,omitempty"`
}

// Router carries the routes of one entry point. What it says is what is live: nothing else remembers weights.
//
// Every method observes first and may be called twice, by any process; a second Apply of the same route changes nothing.
// No method lets a request under way fail, and none touches configuration that Crossfade did not write. Errors are of
// package fault; those of code Unavailable (the router does not answer) are retried by the caller.
type Router interface {
	// Observe reports the route of a host, and nil when the router has none for it.
	Observe(ctx context.Context, host string) (*Observed, error)
	// Apply makes the router carry the route as given, reads it back and returns once it is in force.
	Apply(ctx context.Context, route Route) error
	// Remove takes the route of a host away; one that is not there is no error.
	Remove(ctx context.Context, host string) error
	// Entry returns the URL (scheme and address) at which the router answers for all its hosts.
	Entry() string
}
