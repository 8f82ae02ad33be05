package step

import (
	"context"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/cluster/existing"
	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/release/image"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/caddy"
	"github.com/crossfade-dev/crossfade/internal/traffic/haproxy"
)

// provider is the one list of cluster providers.
func (t *Toolbox) provider(c spec.Cluster, environment string) (cluster.Provider, error) {
	if t.makeProvider != nil {
		return t.makeProvider(c)
	}
	switch c.Provider {
	case "local":
		o := local.Options{StateDir: t.StateDir}
		if c.Local != nil {
			o.Nodes, o.Kubernetes = c.Local.Nodes, c.Local.Kubernetes
		}
		return local.New(o), nil
	case "existing":
		return existing.New(*c.Existing, environment)
	default:
		return nil, fault.New(fault.Invalid, "environment %s: no cluster provider is called %q", environment, c.Provider).WithHint("use local or existing")
	}
}

// images reaches registries by their names, and the one of local clusters by its socket.
func (t *Toolbox) images() image.Client {
	host, socket := local.New(local.Options{StateDir: t.StateDir}).Registry()
	return image.Client{Sockets: map[string]string{host: socket}}
}

// router is the one list of routers.
func (t *Toolbox) router(r spec.Router) (traffic.Router, error) {
	if t.makeRouter != nil {
		return t.makeRouter(r)
	}
	switch {
	case r.Caddy != nil && r.Caddy.Admin != "":
		return caddy.New(caddy.Options{Admin: r.Caddy.Admin, Listen: r.Caddy.Listen})
	case r.Caddy != nil:
		return caddy.New(caddy.Options{Admin: edge.Admin(t.StateDir), Listen: r.Caddy.Listen, Edge: true})
	case r.HAProxy != nil:
		return haproxy.New(haproxy.Options{Socket: r.HAProxy.Socket, Entry: r.HAProxy.Entry})
	default:
		return nil, fault.New(fault.Invalid, "router %s is of no known kind", r.Name).WithHint("set caddy or haproxy")
	}
}

// openRouter starts a router that is ours to start; it runs on when this process ends.
func openRouter(ctx context.Context, r spec.Router, stateDir string) error {
	if !ownEdge(r) {
		return nil
	}
	_, err := edge.Start(ctx, edge.Options{StateDir: stateDir, Listen: r.Caddy.Listen})
	return err
}

// ownEdge reports whether a router is the edge of the state directory.
func ownEdge(r spec.Router) bool { return r.Caddy != nil && r.Caddy.Admin == "" }
