package spec

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/crossfade-dev/crossfade/internal/spec/rule"
	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

// shift checks how the users are moved, and that their routers can do what that takes.
func (e environment) shift() {
	s, at := e.spec.Shift, e.at.to("shift")
	at.to("steps").shares(s.Steps)
	for i, r := range e.spec.Routes {
		router := e.router(r.Router)
		if router == nil || router.Caddy != nil {
			continue
		}
		if r.Sticky {
			e.at.to("routes", i, "sticky").Problem("the router %s does not keep users on one generation; caddy does", strict.Show(r.Router))
		}
		if r.Protocol == "h2c" && (router.HAProxy != nil || router.Gateway != nil) {
			e.at.to("routes", i, "protocol").Problem("the router %s does not speak HTTP/2 to endpoints; caddy and nginx do", strict.Show(r.Router))
		}
	}
	if s.Mirror != nil {
		e.needs(at.to("mirror"), "does not mirror requests; the edge does: caddy without admin", isEdge)
		at.to("mirror", "headers").compared(s.Mirror.Headers)
	}
	if s.Header != nil {
		e.needs(at.to("header"), "does not lead users by a header; caddy and gateway do", func(r *Router) bool { return r.Caddy != nil || r.Gateway != nil })
		at.to("header").asked(s.Header)
	}
	if s.Analysis == nil {
		return
	}
	at = at.to("analysis")
	if s.Interval == 0 {
		at.Problem("it needs shift.interval, the time in which there are requests to compare")
	}
	e.needs(at, "does not count requests by generation; the edge does: caddy without admin", isEdge)
	for i, text := range s.Analysis.Rules {
		if _, err := rule.Parse(text); err != nil {
			at.to("rules", i).Problem("%v", err)
		}
	}
}

func isEdge(r *Router) bool { return r.Caddy != nil && r.Caddy.Admin == "" }

// needs wants the routers of all routes to be able to do something.
func (e environment) needs(at place, lacks string, can func(*Router) bool) {
	for i, r := range e.spec.Routes {
		if router := e.router(r.Router); router != nil && !can(router) {
			at.Problem("the router %s of routes[%d] %s", strict.Show(r.Router), i, lacks)
		}
	}
}

// compared checks the headers of answers whose values are compared, and shown where they differ.
func (p place) compared(headers []string) {
	for i, name := range headers {
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			p.to(i).Problem("%s is not the name of a header", strict.Quote(name))
		case http.CanonicalHeaderKey(name) == "Set-Cookie":
			p.to(i).Problem("the values of Set-Cookie are secrets, and differ anyway")
		}
	}
}

// asked checks the header of users who ask for the new generation.
func (p place) asked(h *HeaderFirst) {
	if h.Name != "" && !httpguts.ValidHeaderFieldName(h.Name) {
		p.to("name").Problem("%s is not the name of a header", strict.Quote(h.Name))
	}
	if !httpguts.ValidHeaderFieldValue(h.Value) || strings.ContainsAny(h.Value, "*{}") {
		p.to("value").Problem("%s has an asterisk, a brace or a letter that headers cannot have; it is compared as it is", strict.Quote(h.Value))
	}
}
