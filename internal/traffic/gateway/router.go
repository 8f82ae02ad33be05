// Package gateway carries routes on a Gateway (Gateway API v1) of a cluster that outlives generations.
//
// A live name is an HTTPRoute, and a pre-live name another one. Each side has, for every port of its endpoints, a Service without a selector and an
// EndpointSlice with the addresses. Both routes say in an annotation what they were made of, and have a rule that tells which writing of them the data
// plane serves: it answers Crossfade's question with a redirect to a name that is nobody's. So a change counts once it is seen to be served, which the
// status of a route does not say.
//
// Services come first, then the routes, and what no route needs any more goes at the end. A Service that is to get users at once is in the route
// without a weight before, until the controller knows it.
//
// What a Gateway cannot do:
//
//   - It does not check endpoints by itself, and no side stands in for another one. Health is kept, and not used; Unhealthy is always 0.
//   - It counts nothing. That the requests of a side which lost its users have ended is only known by the time: see Leading.
//   - Endpoints must be addresses, and none that lead back to the machine itself.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Options say which Gateway to use.
type Options struct {
	Cluster   *kube.Cluster // the one with the Gateway
	Namespace string        // of the Gateway, in which the routes are made, too
	Gateway   string        // its name
	Section   string        // the listener that carries the routes; "" for all
	Entry     string        // the URL at which users reach the listener
}

// Router is a traffic.Router. It keeps nothing but where its Gateway is.
type Router struct {
	options Options
	within  time.Duration // that the controller and the data plane may take to follow; 30 s when zero
	now     func() time.Time
}

var (
	_ traffic.Router = (*Router)(nil)
	_ traffic.Cached = (*Router)(nil)
)

const (
	// defaultInterval is what a route without an interval between active checks is given.
	defaultInterval = 2 * time.Second
	// defaultDrain is how long the requests of a side may go on where a route does not say it.
	defaultDrain = 30 * time.Second
)

// nameForm is what hosts consist of (RFC 1123).
var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// New checks the options. It calls nobody.
func New(o Options) (*Router, error) {
	if u, err := url.Parse(o.Entry); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fault.New(fault.Invalid, "cannot use the entry %q of the Gateway %s/%s", o.Entry, o.Namespace, o.Gateway).WithHint("give it as http://HOST:PORT or https://HOST")
	}
	o.Entry = strings.TrimSuffix(o.Entry, "/")
	return &Router{options: o, now: time.Now}, nil
}

// Entry returns the URL at which users reach the listener.
func (r *Router) Entry() string { return r.options.Entry }

// Observe reports the route of a host as its objects have it. An HTTPRoute of its name that is not Crossfade's, or that somebody has changed, is an
// error of code fault.Refused.
func (r *Router) Observe(ctx context.Context, host string) (*traffic.Observed, error) {
	seen, err := r.look(ctx, host)
	if err != nil {
		return nil, r.failure(ctx, "read the route of", host, err)
	}
	if seen.live.obj == nil {
		return nil, nil //nolint:nilnil // documented
	}
	route := seen.route()
	counts := map[string]traffic.Counters{}
	for _, s := range route.Sides {
		counts[s.Generation] = traffic.Counters{}
	}
	return &traffic.Observed{Route: route, Counts: counts}, nil
}

// Apply makes the Gateway carry the route. It returns when the controller has accepted it and the entry serves it.
func (r *Router) Apply(ctx context.Context, route traffic.Route) error {
	route, err := normal(route)
	if err != nil {
		return err
	}
	if err := r.apply(ctx, route); err != nil {
		return r.failure(ctx, "write the route of", route.Host, err)
	}
	return nil
}

// Remove deletes the routes of a host, and their Services when the entry does not serve them any more.
func (r *Router) Remove(ctx context.Context, host string) error {
	if err := r.remove(ctx, host); err != nil {
		return r.failure(ctx, "remove the route of", host, err)
	}
	return nil
}

// Leading names the requests that a generation may still have to answer: those that were under way when the entry was seen to lead no more users to it,
// until the route's Drain is over, or 30 s where it has none. A Gateway does not say when they end.
func (r *Router) Leading(ctx context.Context, host, generation string) ([]string, error) {
	seen, err := r.look(ctx, host)
	if err != nil {
		return nil, r.failure(ctx, "read the route of", host, err)
	}
	lost, was := seen.live.Lost[generation]
	left := drainOf(seen.live.Route)
	if !lost.IsZero() {
		left = lost.Add(left).Sub(r.now())
	}
	if was && left > 0 {
		return []string{fmt.Sprintf("%s, whose requests are not counted, for another %s", r.name(), left.Round(time.Second))}, nil
	}
	return nil, nil
}

// drainOf is how long requests may go on after their side lost its users.
func drainOf(r traffic.Route) time.Duration { return cmp.Or(r.Drain, defaultDrain) }

func (r *Router) name() string { return "the Gateway " + r.options.Namespace + "/" + r.options.Gateway }

// normal checks a route, for a Gateway, too, and fills in what it leaves to us.
func normal(r traffic.Route) (traffic.Route, error) {
	r, err := r.Normal(defaultInterval)
	if err != nil {
		return r, err
	}
	if err := r.Within("gateway", traffic.Choosing); err != nil {
		return r, err
	}
	problem := func(hint, format string, args ...any) (traffic.Route, error) {
		return r, fault.New(fault.Invalid, "cannot use the route of %q on a Gateway: "+format, append([]any{r.Host}, args...)...).WithHint("%s", hint)
	}
	for _, name := range []string{r.Host, r.PreLiveHost} {
		if name != "" && (!nameForm.MatchString(name) || len(name) > 253) {
			return problem("give the host in small letters, without a port", "%q is no host", name)
		}
	}
	refs := 0
	for _, s := range r.Sides {
		if i := slices.IndexFunc(s.Endpoints, func(e string) bool { return !isAddress(e) }); i >= 0 {
			return problem("give it as ADDRESS:PORT, and none of loopback: an EndpointSlice takes no other ones", "the endpoint %q of generation %s is no address that a Gateway can reach",
				s.Endpoints[i], s.Generation)
		}
		refs += len(groupsOf(r.Host, s))
	}
	if refs > maxRefs {
		return problem("remove generations that are gone, or have the endpoints of a side answer at the same port", "its sides have %d different ports, and an HTTPRoute takes %d", refs, maxRefs)
	}
	return r, nil
}

// isAddress reports whether an endpoint is one that an EndpointSlice can have (ValidateEndpointIP in k8s.io/kubernetes/pkg/apis/core/validation).
func isAddress(endpoint string) bool {
	a, err := netip.ParseAddrPort(endpoint)
	ip := a.Addr()
	return err == nil && a.Port() > 0 && ip.Zone() == "" && !ip.Is4In6() && !ip.IsUnspecified() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !ip.IsMulticast()
}

// failure translates an error: what could not be done, for which host.
func (r *Router) failure(ctx context.Context, act, host string, err error) error {
	code := fault.CodeOf(err)
	if errors.Is(ctx.Err(), context.Canceled) {
		code = fault.Interrupted
	}
	failed := fault.New(code, "cannot %s %s on %s: %s", act, host, r.name(), strings.ReplaceAll(fmt.Sprint(err), "\n", "; "))
	failed.Cause = err
	return failed.WithHint("%s", cmp.Or(fault.HintOf(err), "see the status of the Gateway and of the HTTPRoute, and what the controller logs"))
}
