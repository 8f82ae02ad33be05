// Package dns leads users by the records of a zone, which a backend keeps: one of the sub-packages.
//
// Every generation of a route has an intermediate name below the zone, such as shop.prod2611211802.example.com for shop.example.com,
// with the addresses of its endpoints. The live name is a CNAME to the intermediate name of one generation, or where the backend weighs
// to those of several, the pre-live name one to that of another. So users are moved by one name, whatever a generation consists of.
//
// An Apply is three changes: what is new, the live name, what is no longer needed. Each takes effect as a whole where the backend can
// do that, on condition that the records are as they were read. Elsewhere it is made in stages that are safe to be stopped between.
//
// What the addresses cannot say of a route stands beside it, in a TXT record at _crossfade. and the live name.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Options say which zone is written to, and whom it is seen by.
type Options struct {
	Zone  string // such as example.com
	Owner string // by which our records are told from others'
	// TTL of the live name while users may be moved, and of all other records; at least a second.
	TTL time.Duration
	// Wait bounds how long servers and resolvers may go on with an old answer after its TTL has run out.
	Wait time.Duration
	// Authorities are the servers that must answer what is new, each host:port; those of the zone's NS records unless set.
	Authorities []string
	// Resolvers are those that users ask, each host:port; they must answer what is new, too.
	Resolvers []string
	Prefix    string // of external-dns's registry (--txt-prefix)
	Suffix    string // of external-dns's registry (--txt-suffix)
}

// Router is a traffic.Router. It keeps nothing but its options.
type Router struct {
	options  Options
	backend  Backend
	powers   Powers
	zone     string // with a dot at its end, as all names within the package
	seconds  uint32 // the TTL
	port     string // of the zone's name servers: 53 but in tests
	progress func(format string, args ...any)
}

var (
	_ traffic.Router  = (*Router)(nil)
	_ traffic.Locator = (*Router)(nil)
	_ traffic.Cached  = (*Router)(nil)
	_ traffic.Teller  = (*Router)(nil)
)

// New checks the options. It asks no server.
func New(o Options, backend Backend) (*Router, error) {
	problem := func(format string, args ...any) (*Router, error) {
		return nil, fault.New(fault.Invalid, "cannot use the DNS zone %q: %s", o.Zone, fmt.Sprintf(format, args...)).
			WithHint("correct the router in the configuration")
	}
	for _, address := range slices.Concat(o.Authorities, o.Resolvers) {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return problem("%q is not a server's HOST:PORT", address)
		}
	}
	if _, ok := wire.IsDomainName(o.Zone); !ok || o.Zone == "" {
		return problem("that is no name of a zone")
	}
	if o.Owner == "" || strings.ContainsAny(o.Owner, `,=" \`) {
		return problem("its owner %q is empty or has a space, a comma, an equals sign, a quote or a backslash", o.Owner)
	}
	if o.TTL < time.Second || o.Prefix != "" && o.Suffix != "" {
		return problem("it needs a TTL of at least a second, not %v, and at most one of prefix and suffix of the registry", o.TTL)
	}
	return &Router{options: o, backend: backend, powers: backend.Powers(), zone: canonical(o.Zone), seconds: uint32(o.TTL / time.Second), port: "53", progress: func(string, ...any) {}}, nil
}

// Tell has the router say what it waits for, and its backend, if that waits for anything.
func (r *Router) Tell(say func(format string, args ...any)) {
	r.progress = say
	if backend, waits := r.backend.(traffic.Teller); waits {
		backend.Tell(say)
	}
}

// Entry returns "": every name of the zone leads to addresses of its own, see Locate.
func (r *Router) Entry() string { return "" }

// Observe reports the route of a host as the primary has it, and no counts: DNS does not know which requests are under way, see
// Leading. Sides without a share have the weight 0, the one that the live name leads to has 100.
func (r *Router) Observe(ctx context.Context, host string) (*traffic.Observed, error) {
	now, err := r.look(ctx, host)
	if err != nil || now == nil {
		return nil, err
	}
	return &traffic.Observed{Route: now.route()}, nil
}

// Apply makes the zone carry the route. Where the live name moves, what resolvers keep of it by a longer TTL is waited out before, and
// everything that leads elsewhere after it; generations that are no longer sides go last. Its errors name those that still
// answer what is old; they then do so, and the zone is as it shall be. Apply may be called again.
func (r *Router) Apply(ctx context.Context, route traffic.Route) error {
	want, err := r.wanted(route)
	if err != nil {
		return err
	}
	now, err := r.change(ctx, want, r.added)
	// A move that was stopped before all servers followed is as wanted already; one that is to come does not wait for those that lag, nor does the way
	// back, once users were moved after the TTL was lowered.
	if err == nil && (ahead(now.lowered) && now.lowered > now.moved || now.shares.equal(want.shares) && ahead(now.moved)) {
		now, err = r.followed(ctx, now)
	}
	if err == nil && !now.shares.equal(want.shares) {
		now, err = r.move(ctx, now, want)
	}
	if err == nil {
		err = r.inForce(ctx, now)
	}
	if err != nil {
		return err
	}
	_, err = r.change(ctx, want, r.dropped)
	return err
}

// move leads the live name to the wanted generation, once what resolvers keep of it by a longer TTL has run out.
func (r *Router) move(ctx context.Context, now, want *state) (*state, error) {
	if !now.leads(want.shares) {
		if err := r.outlast(ctx, now); err != nil {
			return nil, err
		}
	}
	if !r.powers.Whole {
		if err := r.reachable(ctx, want); err != nil {
			return nil, err
		}
	}
	now, err := r.change(ctx, want, r.moved)
	if err != nil {
		return nil, err
	}
	return r.followed(ctx, now)
}

// Remove takes the names of a host's route out of the zone, the live one included.
func (r *Router) Remove(ctx context.Context, host string) error {
	name, err := r.inside(host)
	if err != nil {
		return err
	}
	if r.powers.Relay != nil {
		if err := r.clear(ctx, name); err != nil {
			return err
		}
	}
	_, err = r.change(ctx, &state{host: name}, r.removed)
	return err
}

// clear takes away what the relay keeps for a route, once its live name does not lead there: the note goes after it, so that what was stopped is gone on with.
func (r *Router) clear(ctx context.Context, name string) error {
	now, err := r.look(ctx, name)
	if err != nil || now == nil {
		return err
	}
	if _, err = r.change(ctx, &state{host: name}, r.unled); err != nil {
		return err
	}
	if err := r.powers.Relay.Clear(ctx, name); err != nil {
		return r.failure("remove", name, err)
	}
	return nil
}

// Locate returns where a name of a host's route answers: the URL of an address that it leads to. With the port 443 it is the URL of the
// name itself, for that is what a certificate speaks of; this machine's resolver leads to it.
func (r *Router) Locate(ctx context.Context, host, name string) (string, error) {
	now, err := r.look(ctx, host)
	if err != nil {
		return "", err
	}
	generation := ""
	if now != nil && canonical(name) == now.host {
		generation = now.shares.most()
	} else if now != nil && canonical(name) == now.preLiveHost {
		generation = now.preLive
	}
	if generation == "" || len(now.sides[generation]) == 0 {
		return "", fault.New(fault.Failed, "cannot ask %s: it leads to no generation in the zone %s", name, r.options.Zone).
			WithHint("see the route with crossfade status")
	}
	if now.port == "443" {
		return "https://" + name, nil
	}
	return "http://" + net.JoinHostPort(now.sides[generation][0], now.port), nil
}

// wanted checks a route and returns it as a state of the zone.
func (r *Router) wanted(route traffic.Route) (*state, error) {
	problem := func(hint, format string, args ...any) (*state, error) {
		return nil, fault.New(fault.Invalid, "cannot use the route of %q: %s", route.Host, fmt.Sprintf(format, args...)).WithHint("%s", hint)
	}
	if len(route.Sides) == 0 || route.Health.Path != "" {
		return problem("leave out its health path", "it needs at least one side, and DNS asks no endpoint for its health")
	}
	if err := route.Within("dns", traffic.H2C); err != nil {
		return nil, err
	}
	s := &state{drain: route.Drain, preLive: route.PreLive, sides: map[string][]string{}, shares: shares{}, ttl: r.seconds}
	var err error
	if s.host, err = r.inside(route.Host); err != nil {
		return nil, err
	}
	if route.PreLiveHost != "" {
		if s.preLiveHost, err = r.inside(route.PreLiveHost); err != nil {
			return nil, err
		}
	}
	for _, side := range route.Sides {
		if _, twice := s.sides[side.Generation]; twice || !isLabel(side.Generation) {
			return problem("name it by a DNS label", "the generation %q is there twice, or its name is no DNS label", side.Generation)
		}
		if !r.powers.Weighs && (side.Weight != 0 && side.Weight != 100 || side.Weight == 100 && len(s.shares) > 0) {
			return problem("move users at once: shift: {steps: [100]}", "DNS leads all users or none, and %s has the weight %d", side.Generation, side.Weight)
		}
		if side.Weight != 0 {
			s.shares[side.Generation] = side.Weight
		}
		if s.sides[side.Generation], err = s.addresses(side); err != nil {
			return problem("give the Kubernetes Service one port in all generations: that of a load balancer, or a fixed nodePort", "%v", err)
		}
	}
	if hint, err := s.sound(); err != nil {
		return problem(hint, "%v", err)
	}
	return s, r.namable(s)
}

// sound says what is wrong with a state that is wanted, and what to do about it.
func (s *state) sound() (hint string, err error) {
	total := 0
	for generation, percent := range s.shares {
		if total += percent; percent < 0 {
			return "correct the weights", fmt.Errorf("%s has the weight %d", generation, percent)
		}
	}
	if total != 0 && total != 100 {
		return "correct the weights", fmt.Errorf("its weights add up to %d, not to 100", total)
	}
	for _, led := range append(s.shares.generations(), s.preLive) {
		if led != "" && len(s.sides[led]) == 0 {
			return "see where it answers", fmt.Errorf("generation %s has no endpoints, and a name shall lead to it", led)
		}
	}
	if s.preLive != "" && s.preLiveHost == "" || s.preLiveHost == s.host {
		return "name another one", errors.New("its pre-live name is missing, or the live name itself")
	}
	return "", nil
}

// addresses are those of a side's endpoints, whose port must be that of all others.
func (s *state) addresses(side traffic.Side) ([]string, error) {
	var all []string
	for _, endpoint := range side.Endpoints {
		host, port, err := net.SplitHostPort(endpoint)
		if err != nil {
			return nil, fmt.Errorf("%q is not an endpoint's HOST:PORT", endpoint)
		}
		if s.port == "" {
			s.port = port
		}
		if port != s.port {
			return nil, fmt.Errorf("its endpoints have the ports %s and %s, and DNS leads to hosts, at the port that users ask for", s.port, port)
		}
		if ip := net.ParseIP(host); ip != nil {
			host = ip.String()
		} else if len(side.Endpoints) > 1 {
			return nil, fmt.Errorf("%s is not an address, and a CNAME leads to one name alone", host)
		}
		all = append(all, host)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
