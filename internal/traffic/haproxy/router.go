// Package haproxy carries routes on an HAProxy of version 2.6 and up, through its runtime API: a stats socket of level admin
// (https://docs.haproxy.org/2.6/management.html, section 9.3).
//
// The configuration is its owner's, who puts a few lines into it once (docs/concepts/haproxy.md). They give Crossfade a map
// and backends without servers, which are called slots here. The rest is done at run time:
//
//   - The map leads each host name to slots. A route is one entry of it, with the shares of its sides, so that one command
//     changes a route as a whole. HAProxy throws dice for each request, so that neither clients nor endpoints change the shares.
//   - A slot has one side of one route: its endpoints as servers, and as backup servers those of the other sides with a share,
//     which stand in when none of its own can be reached. Where there is none, and in the slot that the pre-live name has of its
//     own, these are the same endpoints without their checks.
//   - A slot belongs to the side that is named by an entry of the map with the slot's name. Checks take their path from it.
//
// Everything new is prepared before the entry of the route changes, and what is left over is cleared away after it: a request
// finds the old route or the new one.
//
// What an operator does to a server in service by the same socket (drain, maint, its weight) stays; out of service, it counts as
// unhealthy.
//
// What HAProxy cannot do:
//
//   - Its run-time configuration ends with its process. A reload loses the routes unless they were saved before it, which the
//     documentation has a script for; Observe then says that there is no route, and Apply puts it back.
//   - Processes that a reload leaves behind to end their requests are out of reach: InFlight does not count those.
//   - Endpoints must be addresses: names are not resolved for servers that are added at run time.
//   - At most four sides of a route can have a share at the same time, as many as the lines of the configuration look at.
//   - How long requests took is not kept by server: generations cannot be compared by what it counts.
//   - Streams are never cut, also when the drain of their side is over.
package haproxy

import (
	"context"
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Options say which HAProxy to use.
type Options struct {
	Socket string // its stats socket of level admin: /FILE or HOST:PORT
	Entry  string // the URL at which users reach the frontend with Crossfade's lines
}

// Router is a traffic.Router. It keeps nothing but where its HAProxy is.
type Router struct {
	options Options
	network string // of the socket
}

var _ traffic.Router = (*Router)(nil)

const (
	// maxRounds bounds how often the state is read and brought nearer to a route. Four rounds do it when nobody disturbs.
	maxRounds = 50
	// pause is the time between two rounds of which the first was refused something, because others changed the state meanwhile.
	pause = 20 * time.Millisecond
)

// New checks the options. It does not call HAProxy.
func New(o Options) (*Router, error) {
	r := &Router{options: o, network: "unix"}
	if !filepath.IsAbs(o.Socket) {
		r.network = "tcp"
		if _, _, err := net.SplitHostPort(o.Socket); err != nil {
			return nil, fault.New(fault.Invalid, "cannot use the HAProxy stats socket %q", o.Socket).WithHint("give it as /FILE or HOST:PORT")
		}
	}
	if u, err := url.Parse(o.Entry); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fault.New(fault.Invalid, "cannot use the HAProxy entry %q", o.Entry).WithHint("give it as http://HOST:PORT or https://HOST")
	}
	r.options.Entry = strings.TrimSuffix(o.Entry, "/")
	return r, nil
}

// Entry returns the URL at which users reach the frontend.
func (r *Router) Entry() string { return r.options.Entry }

// Observe reports the route of a host as HAProxy has it. An endpoint that has no server any more is not in it.
func (r *Router) Observe(ctx context.Context, host string) (*traffic.Observed, error) {
	s, err := r.read(ctx)
	if err != nil {
		return nil, r.failure("read the route of", host, err)
	}
	seen, err := s.observe(host)
	if err != nil {
		return nil, r.failure("read the route of", host, err)
	}
	return seen, nil
}

// Apply makes HAProxy carry the route. One that is as it should be is left alone: nothing but questions is asked.
func (r *Router) Apply(ctx context.Context, route traffic.Route) error {
	route, err := normal(route)
	if err != nil {
		return err
	}
	err = r.converge(ctx, func(s *state) ([]string, error) { return s.toward(route) })
	if err != nil {
		return r.failure("write the route of", route.Host, err)
	}
	return nil
}

// Remove takes the route of a host away. Slots whose servers still have requests are cleared by the next call for the host.
func (r *Router) Remove(ctx context.Context, host string) error {
	err := r.converge(ctx, func(s *state) ([]string, error) { return s.without(host), nil })
	if err != nil {
		return r.failure("remove the route of", host, err)
	}
	return nil
}

// converge reads the state and carries out the commands that are next, until there are none.
func (r *Router) converge(ctx context.Context, next func(*state) ([]string, error)) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	err := errors.New("its state does not become what it should")
	for range maxRounds {
		s, failed := r.read(ctx)
		if failed != nil {
			return failed
		}
		commands, failed := next(s)
		if failed != nil || len(commands) == 0 {
			return failed
		}
		switch failed = r.act(ctx, commands); {
		case errors.Is(failed, errRefused):
			err = failed
		case failed != nil:
			return failed
		default:
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return fault.New(fault.Unavailable, "%w", err).WithHint("see what else changes it, and the log of HAProxy")
}

// act carries out commands in their order, up to the first that is refused.
func (r *Router) act(ctx context.Context, commands []string) error {
	for _, c := range commands {
		if err := r.command(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// failure translates an error: what could not be done, for which host, at which HAProxy.
func (r *Router) failure(act, host string, err error) error {
	hint := fault.HintOf(err)
	if hint == "" {
		hint = "see the log of HAProxy"
	}
	return fault.New(fault.CodeOf(err), "cannot %s %s on HAProxy at %s: %w", act, host, r.options.Socket, err).WithHint("%s", hint)
}
