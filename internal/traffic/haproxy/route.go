package haproxy

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// defaultInterval is the time between active checks where a route names none.
const defaultInterval = 2 * time.Second

var (
	// nameForm is what hosts and generations consist of. Neither has a letter that is special in the map, on a command line of
	// HAProxy, or in the name of a server.
	nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	// pathForm is what a path consists of: the letters that URLs have, but the semicolon, which ends a command.
	pathForm = regexp.MustCompile(`^(/[A-Za-z0-9/?\[\]@!$&'()*+,:=%._~|-]*)?$`)
)

// normal checks a route, for HAProxy, too, and fills in what it leaves to us.
func normal(r traffic.Route) (traffic.Route, error) {
	r, err := r.Normal(defaultInterval)
	if err == nil {
		err = r.Within("haproxy")
	}
	if err != nil {
		return r, err
	}
	problem := func(hint, format string, args ...any) (traffic.Route, error) {
		return r, fault.New(fault.Invalid, "cannot use the route of %q on HAProxy: "+format, append([]any{r.Host}, args...)...).WithHint("%s", hint)
	}
	for _, name := range []string{r.Host, r.PreLiveHost} {
		if name != "" && !nameForm.MatchString(name) {
			return problem("give the host in small letters, without a port", "%q is no host", name)
		}
	}
	if !pathForm.MatchString(r.Health.Path) {
		return problem("write other letters as in %20", "the path %q of its check has letters that no command can have", r.Health.Path)
	}
	if r.Health.Path != "" && r.Health.Interval < time.Millisecond {
		return problem("give a millisecond or more", "%v is no interval between checks", r.Health.Interval)
	}
	shares := 0
	for _, s := range r.Sides {
		if !nameForm.MatchString(s.Generation) {
			return problem("use small letters, digits and dashes", "%q is no name of a generation", s.Generation)
		}
		if i := slices.IndexFunc(s.Endpoints, func(e string) bool { return !isAddress(e) }); i >= 0 {
			return problem("give it as ADDRESS:PORT; HAProxy resolves no names for servers that are added at run time",
				"the endpoint %q of generation %s is no address", s.Endpoints[i], s.Generation)
		}
		if s.Weight > 0 {
			shares++
		}
	}
	if shares > maxShares {
		return problem("end the shift that is under way first", "%d sides have a share, and its configuration looks at %d", shares, maxShares)
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

// observe reports the route of a host, or nil. Its endpoints are those that have a server.
func (s *state) observe(host string) (*traffic.Observed, error) {
	l, err := s.current(host)
	if err != nil || l == nil {
		return nil, err
	}
	seen := &traffic.Observed{Route: l.route, Counts: map[string]traffic.Counters{}}
	for i, side := range seen.Route.Sides {
		var c traffic.Counters
		var endpoints []string
		for _, e := range side.Endpoints {
			is, there := s.servers[l.slots[side.Generation]][serverName(side.Generation, e)]
			if !there {
				continue
			}
			endpoints = append(endpoints, e)
			if !is.well() {
				c.Unhealthy++
			}
		}
		seen.Route.Sides[i].Endpoints = endpoints
		c.InFlight = s.sessions(host, side.Generation)
		seen.Counts[side.Generation] = c
	}
	return seen, nil
}

// sessions counts what is under way at a generation in all slots of a host, those that it has left included.
func (s *state) sessions(host, generation string) int64 {
	var n int64
	for slot, servers := range s.servers {
		if _, owner, ok := s.owner(slot); !ok || owner != host {
			continue
		}
		for name, is := range servers {
			if generationOf(name) == generation {
				n += is.sessions
			}
		}
	}
	return n
}
