package nginx

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
	"github.com/crossfade-dev/crossfade/internal/nginxctl"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// apply brings the nodes to a route. It is safe to be stopped anywhere: first come the upstreams that both the former shares and the new ones need, then the
// shares, then what nobody needs any more goes.
func (r *Router) apply(ctx context.Context, route traffic.Route) error {
	seen, err := r.look(ctx, route.Host)
	if err != nil {
		return err
	}
	if r.all(seen, func(i int, s sight) bool { return r.carries(i, s, route) }) {
		return nil
	}
	union := make([]traffic.Route, len(seen))
	for i, s := range seen {
		union[i] = with(route, s.needed())
	}
	err = r.prepare(ctx, seen, union)
	if err == nil {
		err = r.each(ctx, func(ctx context.Context, i int) error {
			if seen[i].shares.name == nameOf(targets(route)) {
				return nil
			}
			seen[i].meant = nameOf(targets(route))
			return r.flip(ctx, r.options.Nodes[i], r.at(i, route.Host), seen[i].shares.name, route)
		})
	}
	switch {
	case err == nil:
		return r.clear(ctx, route)
	case ctx.Err() != nil:
		return err
	}
	return r.undo(ctx, route.Host, seen, err)
}

// carries reports whether a node is as a route wants it.
func (r *Router) carries(i int, s sight, route traffic.Route) bool {
	return s.shares.name == nameOf(targets(route)) && r.leads(r.at(i, route.Host), s, route)
}

func (r *Router) all(seen []sight, holds func(int, sight) bool) bool {
	for i, s := range seen {
		if !holds(i, s) {
			return false
		}
	}
	return true
}

// needed are the sides that the shares in force lead to.
func (s sight) needed() []traffic.Side {
	routed := s.shares.routed()
	return slices.DeleteFunc(slices.Clone(s.route.Sides), func(side traffic.Side) bool { return !routed[side.Generation] })
}

// prepare has every node read a file with all upstreams that are needed. A node without shares gets them before, so that nginx finds some.
func (r *Router) prepare(ctx context.Context, seen []sight, routes []traffic.Route) error {
	done := make([]bool, len(seen))
	for i, s := range seen {
		done[i] = r.leads(r.at(i, routes[i].Host), s, routes[i])
	}
	if !slices.Contains(done, false) {
		return nil
	}
	if err := r.fit(ctx, seen, routes[0]); err != nil {
		return err
	}
	err := r.each(ctx, func(ctx context.Context, i int) error {
		n, p := r.options.Nodes[i], r.at(i, routes[i].Host)
		if seen[i].shares.name == "" {
			seen[i].meant = nameOf(targets(routes[i]))
			if err := r.flip(ctx, n, p, "", routes[i]); err != nil {
				return err
			}
			seen[i].shares.name = seen[i].meant
		}
		if done[i] {
			return nil
		}
		return r.put(ctx, n, p, &seen[i], routes[i])
	})
	if err != nil {
		return err
	}
	return r.reload(ctx, seen, done)
}

// clear takes away what only the former shares needed. Users are led as they should by then: when it fails, nothing is put back.
func (r *Router) clear(ctx context.Context, route traffic.Route) error {
	seen, err := r.look(ctx, route.Host)
	if err != nil {
		return err
	}
	routes := slices.Repeat([]traffic.Route{route}, len(seen))
	return r.prepare(ctx, seen, routes)
}

// undo puts every node back: first the shares, then the file. Shares of somebody else, who came before ours or after them, stay, with the file. A node
// that cannot be put back keeps no other one from it.
func (r *Router) undo(ctx context.Context, name string, seen []sight, because error) error {
	r.say("putting nginx back on %d nodes: %v", len(seen), because)
	done := slices.Repeat([]bool{true}, len(seen))
	err := r.each(ctx, func(ctx context.Context, i int) error {
		s, n, p := seen[i], r.options.Nodes[i], r.at(i, name)
		if s.meant != "" && s.there() {
			if err := r.flip(ctx, n, p, s.meant, s.route); err != nil {
				return err
			}
		}
		if s.written == 0 {
			return nil
		}
		unread, err := r.restore(ctx, n, p, s)
		done[i] = unread || err != nil
		return err
	})
	if err = errors.Join(err, r.reload(ctx, seen, done)); err == nil {
		err = r.each(ctx, func(ctx context.Context, i int) error {
			if seen[i].there() || seen[i].meant == "" {
				return nil
			}
			return r.sweep(ctx, i, name, seen[i].meant)
		})
	}
	if err != nil {
		return fault.New(fault.CodeOf(because), "%s; not put back: %s", oneLine(because), oneLine(err)).WithHint("%s", fault.HintOf(because))
	}
	return fault.New(fault.CodeOf(because), "%s; every node leads as before", oneLine(because)).WithHint("%s", fault.HintOf(because))
}

// restore gives a node the file that it had, and reports whether its nginx has not read another one since: then it need not read this one. Else
// the file tells that it was written just now, so that it counts as read only once it is.
func (r *Router) restore(ctx context.Context, n nginxctl.Node, p place, s sight) (unread bool, err error) {
	now, err := n.State(ctx)
	if err != nil {
		return false, err
	}
	if s.content == nil {
		_, err = host.Do(ctx, n.Host, "rm", "-f", p.file())
	} else {
		err = n.Write(ctx, now, p.file(), func(boot string, tick uint64) []byte { return p.stamped(s.content, boot, tick) })
	}
	if err != nil || s.told {
		return false, err
	}
	if now, err = n.State(ctx); err != nil || now.Touched(s.state.Boot, s.written) {
		return false, err
	}
	if s.content != nil {
		err = n.Host.Write(ctx, p.file(), s.content)
	}
	return true, err
}

// removeScript deletes what is ours in the directory of a route, and that if nothing else is in it; unless shares of another name than given are in force.
const removeScript = `cd "$1" 2>/dev/null || exit 0; [ "$2" = "*" ] || [ "$2" = "$(readlink live || echo "$2")" ] || exit 0; rm -rf live .live .new sides closing shares-*; cd /; rmdir "$1" 2>/dev/null || true`

// remove takes the files away. The directory stays until nginx has done without the file: it says that there is something left to do.
func (r *Router) remove(ctx context.Context, name string) error {
	seen, err := r.look(ctx, name)
	if err != nil {
		return err
	}
	done := make([]bool, len(seen))
	for i, s := range seen {
		done[i] = s.content == nil && s.shares.name == ""
	}
	if !slices.Contains(done, false) {
		return nil
	}
	err = r.each(ctx, func(ctx context.Context, i int) error {
		_, err := host.Do(ctx, r.options.Nodes[i].Host, "rm", "-f", r.at(i, name).file())
		return err
	})
	if err == nil {
		err = r.reload(ctx, seen, done)
	}
	if err != nil {
		return err
	}
	return r.each(ctx, func(ctx context.Context, i int) error { return r.sweep(ctx, i, name, whichever) })
}

// sweep deletes what is ours in the directory of a route on a node, with the shares of a name.
func (r *Router) sweep(ctx context.Context, i int, name, shares string) error {
	_, err := host.Do(ctx, r.options.Nodes[i].Host, "sh", "-c", removeScript, "sh", r.at(i, name).shares(), shares)
	return err
}

const (
	askLimit = 10 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 4096
)

// ask asks at the entry, as users do, at a name at which only an nginx that has read the file of this route answers: with where the shares are.
func (r *Router) ask(ctx context.Context, route traffic.Route) error {
	name := asked.FindString(string(place{"/", route.Host}.render(file{route: plain(route)}, r.options.Listen)))
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.options.Entry+"/", nil)
	if err != nil {
		return err
	}
	req.Host = name
	// The certificate is the route's, and nothing is told to whoever answers.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: route.Host}}} //nolint:gosec // see above
	res, err := client.Do(req)
	if err != nil {
		return fault.New(fault.Unavailable, "the entry %s does not answer: %w", r.options.Entry, err).WithHint("see whether nginx listens there, and whether it is reached from here")
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if want := "/" + nameOf(targets(route)); err != nil || res.StatusCode != http.StatusOK || !bytes.HasSuffix(body, []byte(want)) {
		return fault.New(fault.Failed, "the entry %s leads to something else than these nginx, or to one that is not among them: it answers %s for %s", r.options.Entry, res.Status, name).
			WithHint("have what listens at the entry, and its nodes, named in the configuration of the router")
	}
	return nil
}

// counts tell how many connections the nodes have to the endpoints of each side. nginx has one for each request.
func (r *Router) counts(ctx context.Context, route traffic.Route) (map[string]traffic.Counters, error) {
	tables := make([]map[string]int64, len(r.options.Nodes))
	err := r.each(ctx, func(ctx context.Context, i int) error {
		out, err := host.Do(ctx, r.options.Nodes[i].Host, "sh", "-c", connectionsScript)
		tables[i] = parseConnections(string(out))
		return err
	})
	counts := map[string]traffic.Counters{}
	for _, s := range route.Sides {
		var c traffic.Counters
		for _, e := range s.Endpoints {
			for _, t := range tables {
				c.InFlight += t[kernelAddress(e)]
			}
		}
		counts[s.Generation] = c
	}
	return counts, err
}

// failure translates an error: what could not be done, for which host.
func (r *Router) failure(ctx context.Context, act, name string, err error) error {
	code := fault.CodeOf(err)
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		code = fault.Interrupted
	}
	failed := fault.New(code, "cannot %s %s on nginx: %s", act, name, oneLine(err))
	failed.Cause = err
	return failed.WithHint("%s", cmp.Or(fault.HintOf(err), "see the error log of nginx"))
}

func oneLine(err error) string { return strings.ReplaceAll(fmt.Sprint(err), "\n", "; ") }
