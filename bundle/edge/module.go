package main

import (
	"context"
	"net"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/crossfade-dev/crossfade/bundle/edge/brief"
	"github.com/crossfade-dev/crossfade/bundle/edge/dice"
	"github.com/crossfade-dev/crossfade/bundle/edge/hold"
	"github.com/crossfade-dev/crossfade/bundle/edge/mirror"
	"github.com/crossfade-dev/crossfade/bundle/edge/sides"
)

// network is the name under which a server listens through package hold, as in "hold/127.0.0.1:8080".
const network = "hold"

// register makes package hold known to Caddy: as the network of that name, and as a listener wrapper that servers on that
// network name, too, because only a wrapper is told which server it belongs to.
func register() {
	caddy.RegisterNetwork(network, listen)
	caddy.RegisterModule(new(wrapper))
	caddy.RegisterModule(new(brief.Transport))
	caddy.RegisterModule(brief.Admin{})
	caddy.RegisterModule(new(dice.Match))
	caddy.RegisterModule(new(mirror.Handler))
	caddy.RegisterModule(mirror.Admin{})
	caddy.RegisterModule(new(sides.Handler))
}

// listen is a caddy.ListenerFunc.
func listen(ctx context.Context, _, host, portRange string, offset uint, config net.ListenConfig) (any, error) {
	port, err := strconv.ParseUint(portRange, 10, 16)
	if err != nil {
		return nil, err
	}
	return hold.Listen(ctx, config, net.JoinHostPort(host, strconv.FormatUint(port+uint64(offset), 10)))
}

// wrapper tells the connections of its server's listeners what the server does with them. It wraps nothing.
type wrapper struct{}

var (
	_ caddy.ListenerWrapper = (*wrapper)(nil)
	_ caddy.Provisioner     = (*wrapper)(nil)
)

// CaddyModule describes the module to Caddy.
func (*wrapper) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners." + network, New: func() caddy.Module { return new(wrapper) }}
}

// Provision is called by Caddy while it sets the server up.
func (*wrapper) Provision(ctx caddy.Context) error {
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		server.RegisterConnState(hold.ConnState)
	}
	return nil
}

// WrapListener returns the listener as it is.
func (*wrapper) WrapListener(l net.Listener) net.Listener { return l }
