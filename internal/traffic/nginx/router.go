// Package nginx carries routes on the nginx of one or more machines, stock ones of version 1.19.10 and up.
//
// A route is a file of nginx's configuration and a directory of links beside it. The file has what seldom changes: the names, and for each side
// an upstream with its endpoints, and with those of the sides that may have to stand in. A change of it needs a reload. The directory has the shares: for each
// number from 00 to 99 a link to a directory with the name of an upstream. nginx throws dice for each request and looks where the link of that number leads
// ($realpath_root), so that a change of shares is in force at once, by one rename, without a reload: no connection is closed, no worker is left behind.
//
// A reload closes the connections of clients that wait for their next request, and a client that sends one just then loses it. So before it clients are
// told, with the answer to their next request, to close their connections, and nginx is reloaded when all have, or have been idle for as long as
// nginx keeps a connection.
//
// Everything new is prepared before the shares change, and what is left over is cleared away after it. All nodes are changed together; where one says
// no, all are put back.
//
// What nginx cannot do:
//
//   - It does not check endpoints by itself: one is passed over for two seconds when three requests could not be sent to it, or broke. Health is
//     kept, and not used; Unhealthy is always 0.
//   - It counts nothing by generation.
//   - Endpoints must be addresses: names are resolved at a reload alone.
package nginx

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/nginxctl"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Options say which nginx to use.
type Options struct {
	Nodes  []nginxctl.Node // at least one; their hosts are let go of after every call
	Entry  string          // the URL at which users reach them
	Listen []string        // what their servers listen at, each as in nginx's directive listen
}

// Router is a traffic.Router. It keeps nothing but where its nginx are.
type Router struct {
	options Options
	say     func(format string, args ...any)
	bound   time.Duration // on one try of anything on one node, but a reload
	pause   time.Duration // before the second try
}

var (
	_ traffic.Router = (*Router)(nil)
	_ traffic.Teller = (*Router)(nil)
)

const (
	// defaultInterval is what a route without an interval between active checks is given.
	defaultInterval = 2 * time.Second
	// maxSides is how many sides of a route may have endpoints: it has an upstream for each side and each set of others.
	maxSides = 5
)

var (
	// nameForm is what hosts and generations consist of. Neither has a letter that is special in nginx's configuration or in a shell.
	nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	// listenForm is what a directive listen consists of.
	listenForm = regexp.MustCompile(`^[A-Za-z0-9.:\[\]*/_-]+( [A-Za-z0-9_=:]+)*$`)
)

// New checks the options. It calls nobody.
func New(o Options) (*Router, error) {
	if u, err := url.Parse(o.Entry); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fault.New(fault.Invalid, "cannot use the nginx entry %q", o.Entry).WithHint("give it as http://HOST:PORT or https://HOST")
	}
	if len(o.Nodes) == 0 || len(o.Listen) == 0 {
		return nil, fault.New(fault.Invalid, "cannot use nginx at %s: it has %d nodes, which listen at %d addresses", o.Entry, len(o.Nodes), len(o.Listen)).WithHint("name at least one of each")
	}
	for _, l := range o.Listen {
		if !listenForm.MatchString(l) {
			return nil, fault.New(fault.Invalid, "cannot have nginx listen at %q", l).WithHint(`give it as in nginx's directive listen, such as "80" or "443 ssl http2"`)
		}
	}
	o.Entry = strings.TrimSuffix(o.Entry, "/")
	return &Router{options: o, say: func(string, ...any) {}, bound: 30 * time.Second, pause: time.Second}, nil
}

// Tell has it say what it waits for, and what it tries again.
func (r *Router) Tell(say func(format string, args ...any)) { r.say = say }

// Entry returns the URL at which users reach the nodes.
func (r *Router) Entry() string { return r.options.Entry }

// Observe reports the route of a host as the nodes have it. Where they differ, each side has its mean share, and any share at least 1; nodes that do not
// have the route count for nothing.
func (r *Router) Observe(ctx context.Context, host string) (*traffic.Observed, error) {
	defer r.leave()
	seen, err := r.look(ctx, host)
	if err != nil {
		return nil, r.failure(ctx, "read the route of", host, err)
	}
	route := mean(seen)
	if route == nil {
		return nil, nil //nolint:nilnil // documented
	}
	counts, err := r.counts(ctx, *route)
	if err != nil {
		return nil, r.failure(ctx, "count the connections of", host, err)
	}
	return &traffic.Observed{Route: *route, Counts: counts}, nil
}

// Apply makes all nodes carry the route. Where they do, they are only looked at, and the entry is asked.
func (r *Router) Apply(ctx context.Context, route traffic.Route) error {
	route, err := normal(route)
	if err != nil {
		return err
	}
	defer r.leave()
	if err := r.apply(ctx, route); err != nil {
		return r.failure(ctx, "write the route of", route.Host, err)
	}
	if err := r.ask(ctx, route); err != nil {
		return r.failure(ctx, "meet the route of", route.Host, err)
	}
	return nil
}

// Remove takes the route of a host away, with all but what somebody else has put into its directory.
func (r *Router) Remove(ctx context.Context, host string) error {
	if !nameForm.MatchString(host) {
		return fault.New(fault.Invalid, "cannot remove the route of %q from nginx: it is no host", host).WithHint("give the host in small letters, without a port")
	}
	defer r.leave()
	if err := r.remove(ctx, host); err != nil {
		return r.failure(ctx, "remove the route of", host, err)
	}
	return nil
}

// leave lets go of the machines: they are reached anew by the next call, so that nobody needs to close a router.
func (r *Router) leave() {
	for _, n := range r.options.Nodes {
		_ = n.Host.Close() // it is of no use any more in any case
	}
}

// normal checks a route, for nginx, too, and fills in what it leaves to us.
func normal(r traffic.Route) (traffic.Route, error) {
	r, err := r.Normal(defaultInterval)
	if err != nil {
		return r, err
	}
	problem := func(hint, format string, args ...any) (traffic.Route, error) {
		return r, fault.New(fault.Invalid, "cannot use the route of %q on nginx: "+format, append([]any{r.Host}, args...)...).WithHint("%s", hint)
	}
	for _, name := range []string{r.Host, r.PreLiveHost} {
		if name != "" && !nameForm.MatchString(name) {
			return problem("give the host in small letters, without a port", "%q is no host", name)
		}
	}
	sides := 0
	for _, s := range r.Sides {
		if !nameForm.MatchString(s.Generation) || s.Generation == nobody {
			return problem("use small letters, digits and dashes", "%q is no name of a generation", s.Generation)
		}
		if i := slices.IndexFunc(s.Endpoints, func(e string) bool { return !isAddress(e) }); i >= 0 {
			return problem("give it as ADDRESS:PORT; nginx resolves a name only when it is reloaded", "the endpoint %q of generation %s is no address", s.Endpoints[i], s.Generation)
		}
		if len(s.Endpoints) > 0 {
			sides++
		}
	}
	if sides > maxSides {
		return problem("remove generations that are gone first", "%d sides have endpoints, and it takes %d", sides, maxSides)
	}
	return r, nil
}

// isAddress reports whether an endpoint is the address of a machine, without a zone, and a port.
func isAddress(endpoint string) bool {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	n, _ := strconv.Atoi(port) // 0 for what is none
	return err == nil && ip.Zone() == "" && n > 0 && n < 1<<16
}
