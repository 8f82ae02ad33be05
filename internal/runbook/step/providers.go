package step

import (
	"context"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/cluster/existing"
	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/caddy"
)

// clusterProvider is the one list of cluster providers.
func clusterProvider(c spec.Cluster, stateDir, environment string) (cluster.Provider, error) {
	switch c.Provider {
	case "local":
		o := local.Options{StateDir: stateDir}
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

// trafficRouter is the one list of routers.
func trafficRouter(r spec.Router, stateDir string) (traffic.Router, error) {
	switch {
	case r.Caddy != nil && r.Caddy.Admin != "":
		return caddy.New(caddy.Options{Admin: r.Caddy.Admin, Listen: r.Caddy.Listen})
	case r.Caddy != nil:
		return caddy.New(caddy.Options{Admin: edge.Admin(stateDir), Listen: r.Caddy.Listen})
	default:
		return nil, fault.New(fault.Invalid, "router %s is of no known kind", r.Name).WithHint("set caddy")
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
