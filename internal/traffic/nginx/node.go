package nginx

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
	"github.com/crossfade-dev/crossfade/internal/nginxctl"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// sight is what was seen of a node, and what we have done to it since.
type sight struct {
	content []byte // of the file; nil when there is none
	file    file
	shares  shares
	route   traffic.Route // of the file and the shares; without sides when either is not there
	state   nginxctl.State

	written uint64 // a tick after which we have written the file since; 0 while we have not
	told    bool   // we have told the nginx to read it
	meant   string // the name of the shares that we have put in force, or tried to; "" while we have not
}

// there reports whether the node has the route.
func (s sight) there() bool { return len(s.route.Sides) > 0 }

// leads reports whether the nginx of a node has read the file of a route.
func (r *Router) leads(p place, s sight, route traffic.Route) bool {
	wanted := s.file
	wanted.route = plain(route)
	return s.content != nil && s.state.Runs() && s.state.Read(s.file.boot, s.file.tick) && bytes.Equal(s.content, p.render(wanted, r.options.Listen))
}

func (r *Router) at(i int, host string) place { return place{r.options.Nodes[i].Dir, host} }

// look looks at every node.
func (r *Router) look(ctx context.Context, name string) ([]sight, error) {
	seen := make([]sight, len(r.options.Nodes))
	return seen, r.each(ctx, func(ctx context.Context, i int) (err error) {
		seen[i], err = r.sight(ctx, r.options.Nodes[i], r.at(i, name))
		return err
	})
}

func (r *Router) sight(ctx context.Context, n nginxctl.Node, p place) (s sight, err error) {
	if s.content, err = n.Host.Read(ctx, p.file()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if err != nil {
		s.content = nil
	} else if s.file, err = p.parse(s.content); err != nil {
		return s, fault.New(fault.Refused, "cannot use %s on %s: %w", p.file(), n.Host.Name(), err).
			WithHint("put your settings into %s/NAME.conf; then put this one back, or delete it and write the route again", p.shares())
	}
	out, err := host.Do(ctx, n.Host, "sh", "-c", lookScript, "sh", p.shares())
	if err != nil {
		return s, err
	}
	if s.shares = parseShares(string(out)); s.content != nil && s.shares.name != "" {
		if s.route, err = s.shares.onto(s.file.route); err != nil {
			return s, fault.New(fault.Refused, "cannot use %s/live on %s: %w", p.shares(), n.Host.Name(), err).
				WithHint("delete %s and %s there, then write the route again", p.shares(), p.file())
		}
	}
	s.state, err = n.State(ctx)
	return s, err
}

// each does something on every node.
func (r *Router) each(ctx context.Context, do func(ctx context.Context, i int) error) error {
	return nginxctl.Crew{Progress: r.say, Bound: r.bound, Pause: r.pause}.Each(ctx, len(r.options.Nodes), do)
}

// fit looks whether every node can be changed: its nginx runs, finds its configuration good, and does not cut what the route wants to go on.
func (r *Router) fit(ctx context.Context, seen []sight, route traffic.Route) error {
	return r.each(ctx, func(ctx context.Context, i int) error {
		n, name := r.options.Nodes[i], r.options.Nodes[i].Host.Name()
		if !seen[i].state.Runs() {
			return fault.New(fault.Unavailable, "nginx does not run on %s: %s names no master process", name, n.PIDFile).WithHint("start nginx on %s, or name the file with its process id", name)
		}
		config, err := n.Config(ctx)
		if err != nil {
			return err
		}
		switch limit := shutdownTimeout(config); {
		case limit == 0:
			r.say("nginx on %s has no worker_shutdown_timeout: after a reload its former processes stay as long as any connection does", name)
		case limit < route.Drain:
			return fault.New(fault.Invalid, "nginx on %s cuts connections %v after a reload (worker_shutdown_timeout), and those of the route may go on for %v", name, limit, route.Drain).
				WithHint("set worker_shutdown_timeout to %v or more in the main part of its configuration", route.Drain)
		}
		return nil
	})
}

var (
	shutdownLine  = regexp.MustCompile(`(?m)^\s*worker_shutdown_timeout\s+(\w+)\s*;`)
	keepaliveLine = regexp.MustCompile(`(?m)^\s*keepalive_timeout\s+(\w+)`)
	span          = regexp.MustCompile(`(\d+)(ms|[smhdwMy]?)`)
)

// shutdownTimeout is how long nginx lets connections go on after a reload; 0 for no bound.
func shutdownTimeout(config []byte) time.Duration {
	if found := shutdownLine.FindSubmatch(config); found != nil {
		return parseTime(string(found[1]))
	}
	return 0
}

const (
	// usualKeepalive is nginx's keepalive_timeout unless set.
	usualKeepalive = 75 * time.Second
	// maxKeepalive bounds how long a reload waits for the connections of clients.
	maxKeepalive = 2 * time.Minute
)

// keepalive is how long nginx keeps a connection that nobody uses, anywhere in its configuration.
func keepalive(config []byte) time.Duration {
	longest, set := time.Duration(0), false
	for _, found := range keepaliveLine.FindAllSubmatch(config, -1) {
		if d := parseTime(string(found[1])); d > 0 { // ours is 0
			longest, set = max(longest, d), true
		}
	}
	if !set {
		longest = usualKeepalive
	}
	return min(longest, maxKeepalive)
}

// parseTime reads a time as nginx has it, such as 1m30s; a number alone is seconds.
func parseTime(text string) time.Duration {
	units := map[string]time.Duration{
		"ms": time.Millisecond, "": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour,
		"d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "M": 30 * 24 * time.Hour, "y": 365 * 24 * time.Hour,
	}
	total := time.Duration(0)
	for _, m := range span.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		total += time.Duration(n) * units[m[2]]
	}
	return total
}

// put writes the file of a route on a node, has its nginx test it, and puts back what does not hold.
func (r *Router) put(ctx context.Context, n nginxctl.Node, p place, s *sight, route traffic.Route) error {
	now, err := n.State(ctx)
	if err != nil {
		return err
	}
	s.written = cmp.Or(s.written, now.Now)
	render := func(boot string, tick uint64) []byte {
		return p.render(file{route: plain(route), boot: boot, tick: tick}, r.options.Listen)
	}
	if err := n.Write(ctx, now, p.file(), render); err != nil {
		return err
	}
	return n.Test(ctx, p.file())
}

const (
	// disturbed is how sharesScript ends when others have changed the shares meanwhile.
	disturbed = 77
	// whichever stands for any shares, for removeScript.
	whichever = "*"
)

// flip puts the shares of a route in force on a node, in the place of those of a name, which is "" for none: whoever was stopped in the middle, and
// comes to it late, changes nothing any more.
func (r *Router) flip(ctx context.Context, n nginxctl.Node, p place, before string, route traffic.Route) error {
	if _, err := host.Do(ctx, n.Host, "mkdir", "-p", p.shares()); err != nil {
		return err
	}
	all := targets(route)
	res, err := n.Host.Run(ctx, "flock", append([]string{p.shares(), "sh", "-c", sharesScript, "sh", p.shares(), cmp.Or(before, "-"), nameOf(all)}, all...)...)
	switch {
	case err != nil || res.Status == 0:
		return err
	case res.Status == disturbed:
		return fault.New(fault.Unavailable, "somebody else has changed %s on %s meanwhile", p.shares(), n.Host.Name()).WithHint("see what else of crossfade runs")
	default:
		return fault.New(fault.Failed, "cannot change %s on %s: %s", p.shares(), n.Host.Name(), res.Says()).WithHint("see whether who logs in may write there")
	}
}

// reload has the nginx of every node that is not done read its files, once clients have closed their connections.
func (r *Router) reload(ctx context.Context, seen []sight, done []bool) error {
	crew := nginxctl.Crew{Progress: r.say, Bound: 4*maxKeepalive + r.bound, Pause: r.pause}
	return crew.Each(ctx, len(seen), func(ctx context.Context, i int) error {
		n := r.options.Nodes[i]
		if done[i] {
			return nil
		}
		config, err := n.Config(ctx)
		if err != nil {
			return err
		}
		seen[i].told = true
		wait := int(keepalive(config).Seconds()) + 1
		return n.ReloadAfter(ctx, 4*maxKeepalive, closeScript, "CROSSFADE_ROUTES="+n.Dir, "CROSSFADE_PORTS="+r.ports(), fmt.Sprintf("CROSSFADE_SECONDS=%d", wait))
	})
}

// ports are those that the nodes listen at, in hexadecimal as the kernel has them.
func (r *Router) ports() string {
	var all []string
	for _, l := range r.options.Listen {
		address, _, _ := strings.Cut(l, " ")
		port := address[strings.LastIndex(address, ":")+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			all = append(all, fmt.Sprintf("%04X", n))
		} else if net.ParseIP(strings.Trim(address, "[]")) != nil || !strings.Contains(address, ":") {
			all = append(all, "0050") // an address alone is at port 80
		}
	}
	return strings.Join(all, " ")
}

// mean is the route that the nodes have, together; nil when none has it.
func mean(seen []sight) *traffic.Route {
	there := slices.DeleteFunc(slices.Clone(seen), func(s sight) bool { return !s.there() })
	if len(there) == 0 {
		return nil
	}
	route := there[0].route
	same := !slices.ContainsFunc(there, func(s sight) bool { return !reflect.DeepEqual(s.route, route) })
	if same {
		return &route
	}
	weights := map[string]int{}
	for _, s := range there {
		route = with(route, s.route.Sides)
		for _, side := range s.route.Sides {
			weights[side.Generation] += side.Weight
		}
	}
	most, left := 0, 100
	for i := range route.Sides {
		w := weights[route.Sides[i].Generation]
		route.Sides[i].Weight = (w + len(there) - 1) / len(there)
		left -= route.Sides[i].Weight
		if route.Sides[i].Weight > route.Sides[most].Weight {
			most = i
		}
	}
	if left != 100 {
		route.Sides[most].Weight += left // what was rounded up
	}
	return &route
}
