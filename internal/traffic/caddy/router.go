// Package caddy carries routes on Caddy, ours or any other of version 2.11 and up, through its admin API
// (https://caddyserver.com/docs/api).
//
// Whatever changes, Caddy takes up a whole new configuration beside the old one and lets requests under way end under the
// old one, however long they take. So a route is changed as seldom as can be, as one object, and only when it differs.
package caddy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Options say which Caddy to use.
type Options struct {
	Admin  string // where its admin API answers: http://HOST:PORT or unix//FILE, as Caddy writes it
	Listen string // the listener that shall carry the routes, as the configuration names it, such as :8080
	Entry  string // the URL at which users reach that listener; "" to derive it from Listen
	Edge   bool   // it is crossfade-edge, which has a transport of its own for endpoints of Kubernetes
}

// Router is a traffic.Router. It keeps nothing but where its Caddy is.
type Router struct {
	options Options
	base    string // of the admin API's URLs
	client  *http.Client
}

var _ traffic.Router = (*Router)(nil)

// serverName is the name of the HTTP server that we add to a configuration without one on the listener.
const serverName = "crossfade"

// callLimit bounds one call of the admin API. A change of configuration starts before it is answered, and takes well below
// a second.
const callLimit = 30 * time.Second

// maxCollisions bounds how often a change is tried again because somebody else changed the configuration in between.
const maxCollisions = 50

// maxBroken bounds how often a call is tried again whose connection broke. Caddy replaces its admin endpoint with every change
// of configuration, and drops calls that reach the old one in its last moment.
const maxBroken = 10

// errCollision says that the configuration is not the one that was read, or may not be.
var errCollision = errors.New("the configuration changed meanwhile")

// New checks the options. It does not call Caddy.
func New(o Options) (*Router, error) {
	// Caddy ends the connections of its admin endpoint with every change of configuration.
	transport := &http.Transport{DisableKeepAlives: true}
	r := &Router{options: o, base: strings.TrimSuffix(o.Admin, "/"), client: &http.Client{Transport: transport, Timeout: callLimit}}
	socket, local := strings.CutPrefix(o.Admin, "unix/")
	admin, err := url.Parse(o.Admin)
	switch {
	case local && socket != "":
		r.base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	case err != nil || admin.Scheme != "http" && admin.Scheme != "https" || admin.Host == "":
		return nil, fault.New(fault.Invalid, "cannot use the Caddy admin endpoint %q", o.Admin).
			WithHint("give it as http://HOST:PORT or unix//FILE")
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot use the Caddy listener %q: %w", o.Listen, err).
			WithHint("give it as in Caddy's configuration, such as :8080")
	}
	if o.Entry == "" {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		r.options.Entry = "http://" + net.JoinHostPort(host, port)
	}
	return r, nil
}

// Entry returns the URL at which users reach the listener.
func (r *Router) Entry() string { return r.options.Entry }

// Observe reports the route of a host as Caddy has it. Endpoints that fail their active checks count as unhealthy after at
// most ten seconds, for Caddy publishes that no sooner, and only if it was built with its metrics.
func (r *Router) Observe(ctx context.Context, host string) (*traffic.Observed, error) {
	c, err := r.read(ctx)
	if err != nil {
		return nil, r.failure("read the route of", host, err)
	}
	place := c.find(host)
	if place == nil {
		return nil, nil //nolint:nilnil // documented
	}
	route, err := parse(place.route())
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot read the route of %s from Caddy: %w", host, err).
			WithHint("its object %q was written by another version of crossfade, or changed by other hands: put it back, or remove it there once nobody is led by it", id(host))
	}
	counts, err := r.counts(ctx, route)
	if err != nil {
		return nil, r.failure("read the counters of", host, err)
	}
	return &traffic.Observed{Route: route, Counts: counts}, nil
}

// Apply makes Caddy carry the route. One that is as it should be is left alone: no change of configuration happens.
func (r *Router) Apply(ctx context.Context, route traffic.Route) error {
	route, err := normal(route)
	if err != nil {
		return err
	}
	if !r.options.Edge {
		if err := route.Within("caddy with admin", traffic.H2C, traffic.Stickable, traffic.Choosing); err != nil {
			return err
		}
	}
	var want any
	if err := convert(routeOf(route, r.options.Edge), &want); err != nil {
		return r.failure("write the route of", route.Host, err)
	}
	err = r.change(ctx, func(c *config) (bool, error) {
		if place := c.find(route.Host); place != nil && place.listener(r.options.Listen) {
			if reflect.DeepEqual(place.route(), want) {
				return false, nil
			}
			place.set(want)
			return true, nil
		}
		c.remove(route.Host) // it may be on another listener
		return true, c.add(r.options.Listen, want)
	})
	if err != nil {
		return r.failure("write the route of", route.Host, err)
	}
	return r.verify(ctx, route.Host, want)
}

// Remove takes the route of a host out of the configuration.
func (r *Router) Remove(ctx context.Context, host string) error {
	err := r.change(ctx, func(c *config) (bool, error) { return c.remove(host), nil })
	if err != nil {
		return r.failure("remove the route of", host, err)
	}
	return nil
}

// verify reads the route back.
func (r *Router) verify(ctx context.Context, host string, want any) error {
	c, err := r.read(ctx)
	if err != nil {
		return r.failure("read back the route of", host, err)
	}
	if place := c.find(host); place == nil || !reflect.DeepEqual(place.route(), want) {
		return fault.New(fault.Unavailable, "cannot keep the route of %s on Caddy: somebody else changed it right away", host).
			WithHint("see what else writes the configuration of %s", r.options.Admin)
	}
	return nil
}

// change reads the configuration, lets edit change it, and writes it back if edit says that it did, all of it again when
// somebody else wrote in between.
func (r *Router) change(ctx context.Context, edit func(*config) (bool, error)) error {
	for range maxCollisions {
		c, err := r.read(ctx)
		if err != nil {
			return err
		}
		changed, err := edit(c)
		if err != nil || !changed {
			return err
		}
		if err := r.write(ctx, c); !errors.Is(err, errCollision) {
			return err
		}
	}
	return errCollision
}

// read reads the whole configuration.
func (r *Router) read(ctx context.Context) (*config, error) {
	raw, header, err := r.call(ctx, http.MethodGet, "/config/", nil, nil)
	if err != nil {
		return nil, err
	}
	c := &config{etag: header.Get("Etag")}
	if err := decode(raw, &c.all); err != nil {
		return nil, fmt.Errorf("its configuration is not JSON: %w", err)
	}
	return c, nil
}

// write replaces the configuration, provided that it still is the one that was read.
func (r *Router) write(ctx context.Context, c *config) error {
	raw, err := json.Marshal(c.all)
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/json"}, "If-Match": {c.etag}}
	_, _, err = r.call(ctx, http.MethodPost, "/config/", raw, header)
	return err
}

// call calls the admin API. An answer that is not 200 is an error: errCollision for 412, and for a change whose connection
// broke, so that the outcome is unknown; else of code Failed with Caddy's own words.
func (r *Router) call(ctx context.Context, method, path string, body []byte, header http.Header) ([]byte, http.Header, error) {
	for broken := 0; ; broken++ {
		raw, res, err := r.once(ctx, method, path, body, header)
		switch {
		case err != nil && (isDial(err) || ctx.Err() != nil || broken == maxBroken):
			return nil, nil, fault.New(fault.Unavailable, "it does not answer: %w", err)
		case err != nil && method != http.MethodGet:
			return nil, nil, errCollision
		case err != nil:
			continue
		case res.StatusCode == http.StatusPreconditionFailed:
			return nil, nil, errCollision
		case res.StatusCode != http.StatusOK:
			return nil, nil, fault.New(fault.Failed, "status %d: %s", res.StatusCode, oneLine(raw))
		}
		return raw, res.Header, nil
	}
}

// once makes one call and reads the whole answer.
func (r *Router) once(ctx context.Context, method, path string, body []byte, header http.Header) ([]byte, *http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(req.Header, header)
	res, err := r.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return raw, res, err
}

// isDial reports whether no connection came about.
func isDial(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial"
}

// failure translates an error of a call: what could not be done, for which host, at which Caddy.
func (r *Router) failure(act, host string, err error) error {
	code := fault.CodeOf(err)
	hint := "see the log of Caddy"
	switch {
	case errors.Is(err, errCollision):
		code, hint = fault.Unavailable, "see what else writes its configuration"
	case code == fault.Unavailable:
		hint = "start it, or check its address; for the edge of Crossfade: crossfade edge"
	}
	return fault.New(code, "cannot %s %s on Caddy at %s: %w", act, host, r.options.Admin, err).WithHint("%s", hint)
}

// oneLine returns Caddy's {"error": "..."} as text of one line.
func oneLine(raw []byte) string {
	var e struct{ Error string }
	text := string(raw)
	if json.Unmarshal(raw, &e) == nil && e.Error != "" {
		text = e.Error
	}
	return strings.Join(strings.Fields(text), " ")
}

// normal checks a route and fills in what it leaves to us, so that what is read back is equal to it.
func normal(r traffic.Route) (traffic.Route, error) { return r.Normal(defaultInterval) }
