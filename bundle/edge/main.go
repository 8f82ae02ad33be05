// Crossfade-edge is Caddy with the modules that the edge needs (routing, proxying, headers, metrics; TLS and its storage for
// those who add it) and five of our own: package hold keeps users' connections open across changes of configuration, package
// brief keeps those to endpoints for a second, and counts what becomes of requests, packages sides and dice lead requests to
// generations at little cost, package mirror compares how others answer. It knows nothing of Crossfade otherwise, and outlives
// every process of it.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	_ "github.com/caddyserver/caddy/v2/modules/metrics"
)

func main() {
	register()
	caddycmd.Main()
}
