package caddy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// config is Caddy's whole configuration, as it was read.
type config struct {
	all  map[string]any // nil when Caddy has none
	etag string
}

// place is where a route is: a position in the list of a server.
type place struct {
	server map[string]any
	index  int
}

func (p *place) list() []any {
	list, _ := p.server["routes"].([]any)
	return list
}

func (p *place) route() any { return p.list()[p.index] }

func (p *place) set(route any) { p.list()[p.index] = route }

func (p *place) listener(address string) bool { return listens(p.server, address) }

// servers returns the HTTP servers by name.
func (c *config) servers() map[string]any {
	apps, _ := c.all["apps"].(map[string]any)
	http, _ := apps["http"].(map[string]any)
	servers, _ := http["servers"].(map[string]any)
	return servers
}

// find returns where the route of a host is, or nil.
func (c *config) find(host string) *place { return c.findID(id(host)) }

func (c *config) findID(id string) *place {
	for _, s := range c.servers() {
		server, _ := s.(map[string]any)
		list, _ := server["routes"].([]any)
		for i, route := range list {
			if m, ok := route.(map[string]any); ok && m["@id"] == id {
				return &place{server: server, index: i}
			}
		}
	}
	return nil
}

// remove takes the route of a host out and reports whether there was one.
func (c *config) remove(host string) bool { return c.removeID(id(host)) }

func (c *config) removeID(id string) bool {
	p := c.findID(id)
	if p == nil {
		return false
	}
	p.server["routes"] = slices.Delete(p.list(), p.index, p.index+1)
	return true
}

// add puts a route first on the server with the listener, before routes for any host. There will be such a server.
func (c *config) add(listener string, route any) error {
	server := c.server(listener)
	if server == nil {
		servers := child(child(child(&c.all, "apps"), "http"), "servers")
		if other, taken := (*servers)[serverName]; taken {
			return fault.New(fault.Invalid, "its server %q listens on %v, not on %s", serverName, listeners(other), listener)
		}
		server = map[string]any{"listen": []any{listener}, "automatic_https": map[string]any{"disable": true}}
		(*servers)[serverName] = server
	}
	list, _ := server["routes"].([]any)
	server["routes"] = slices.Insert(list, 0, route)
	return nil
}

// server returns the server with the listener, or nil.
func (c *config) server(listener string) map[string]any {
	for _, s := range c.servers() {
		if server, _ := s.(map[string]any); listens(server, listener) {
			return server
		}
	}
	return nil
}

// child returns the object of that name in parent, making both if need be.
func child(parent *map[string]any, name string) *map[string]any {
	if *parent == nil {
		*parent = map[string]any{}
	}
	inner, ok := (*parent)[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
		(*parent)[name] = inner
	}
	return &inner
}

func listens(server any, address string) bool {
	return slices.Contains(listeners(server), plain(address))
}

func listeners(server any) []string {
	s, _ := server.(map[string]any)
	list, _ := s["listen"].([]any)
	var all []string
	for _, l := range list {
		all = append(all, plain(fmt.Sprint(l)))
	}
	return all
}

// plain leaves out the network, as in tcp/:8080.
func plain(address string) string { return address[strings.LastIndex(address, "/")+1:] }
