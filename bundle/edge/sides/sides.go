// Package sides is a handler of Caddy that gives each request to the first of its routes that matches, and to no other. Caddy's subroute can do
// that and more, for which it copies all its routes, and puts the handlers of one together, for every request; here they are put together once.
package sides

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Handler is the module http.handlers.sides. Its fields are those of a subroute, of whose routes each ends what it matches ("terminal") and none is
// of a group. It may be used by any number of requests at once.
type Handler struct {
	caddyhttp.Subroute

	chains []caddyhttp.Handler // the handlers of each route, the next after each other
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

// CaddyModule describes the module to Caddy.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.sides", New: func() caddy.Module { return new(Handler) }}
}

// Provision is called by Caddy before the first request.
func (h *Handler) Provision(ctx caddy.Context) error {
	if err := h.Subroute.Provision(ctx); err != nil {
		return err
	}
	for _, r := range h.Routes {
		h.chains = append(h.chains, chain(r.Handlers))
	}
	return nil
}

// chain returns what calls the handlers, of which each is told the next.
func chain(handlers []caddyhttp.MiddlewareHandler) caddyhttp.Handler {
	var all caddyhttp.Handler = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	for _, h := range slices.Backward(handlers) {
		next := all
		all = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return h.ServeHTTP(w, r, next) })
	}
	return all
}

// ServeHTTP answers a request, or leaves it to the next handler when it matches no route. One that fails goes the routes for errors.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	err := h.serve(w, r, next)
	if err != nil && h.Errors != nil {
		r = h.Errors.WithError(r, err)
		return h.Errors.Routes.Compile(next).ServeHTTP(w, r)
	}
	return err
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	for i := range h.Routes {
		matches, err := h.Routes[i].MatcherSets.AnyMatchWithError(r)
		if err != nil {
			return err
		}
		if matches {
			return h.chains[i].ServeHTTP(w, r)
		}
	}
	return next.ServeHTTP(w, r)
}
