package step

import (
	"cmp"
	"context"
	"os"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/cluster/existing"
	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/contexts"
	"github.com/crossfade-dev/crossfade/internal/nginxctl"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/release/image"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/caddy"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/azure"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/rfc2136"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/route53"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/webhook"
	"github.com/crossfade-dev/crossfade/internal/traffic/gateway"
	"github.com/crossfade-dev/crossfade/internal/traffic/haproxy"
	"github.com/crossfade-dev/crossfade/internal/traffic/nginx"
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
	case r.DNS != nil:
		return zone(*r.DNS)
	case r.Gateway != nil:
		return entryCluster(*r.Gateway)
	case r.HAProxy != nil:
		return haproxy.New(haproxy.Options{Socket: r.HAProxy.Socket, Entry: r.HAProxy.Entry})
	case r.Nginx != nil:
		return nodes(*r.Nginx)
	default:
		return nil, fault.New(fault.Invalid, "router %s is of no known kind", r.Name).WithHint("set caddy, dns, gateway, haproxy or nginx")
	}
}

// router is a router that says what it waits for in the events of the step.
func (j *job) router(r spec.Router) (traffic.Router, error) {
	router, err := j.Toolbox.router(r)
	if teller, ok := router.(traffic.Teller); ok {
		teller.Tell(j.say)
	}
	return router, err
}

// nodes is the router of the nginx of machines.
func nodes(r spec.NginxRouter) (traffic.Router, error) {
	o := nginx.Options{Entry: r.Entry, Listen: r.Listen}
	if len(o.Listen) == 0 {
		o.Listen = []string{"80"}
	}
	for _, n := range plan.NodesWithDefaults(r.Nodes) {
		o.Nodes = append(o.Nodes, nginxctl.Node{Host: machine(n, r.SSH), Command: n.Command, PIDFile: n.PIDFile, Dir: n.Dir})
	}
	return nginx.New(o)
}

// entryCluster is the router of a Gateway.
func entryCluster(r spec.GatewayRouter) (traffic.Router, error) {
	c, err := kube.Connect(cluster.Access{Kubeconfig: contexts.InUse(r.Kubeconfig), Context: r.Context})
	if err != nil {
		return nil, err
	}
	return gateway.New(gateway.Options{Cluster: c, Namespace: r.Namespace, Gateway: r.Gateway, Section: r.Section, Entry: r.Entry})
}

// zone is the router of a DNS zone.
func zone(d spec.DNSRouter) (traffic.Router, error) {
	backend, err := keeper(d)
	if err != nil {
		return nil, err
	}
	o := dns.Options{
		Zone: d.Zone, Owner: d.Owner, TTL: d.TTL.Or(30 * time.Second), Wait: d.Wait.Or(time.Minute), Prefix: d.TXTPrefix, Suffix: d.TXTSuffix,
	}
	for _, server := range d.Authorities {
		o.Authorities = append(o.Authorities, spec.ServerAddress(server))
	}
	for _, server := range d.Resolvers {
		o.Resolvers = append(o.Resolvers, spec.ServerAddress(server))
	}
	return dns.New(o, backend)
}

// keeper is the one list of what keeps zones.
func keeper(d spec.DNSRouter) (dns.Backend, error) {
	switch {
	case d.RFC2136 != nil:
		key := d.RFC2136.TSIG
		secret, err := secretOf(key)
		if err != nil {
			return nil, err
		}
		return rfc2136.New(rfc2136.Options{
			Zone: d.Zone, Server: spec.ServerAddress(d.RFC2136.Server),
			Key: rfc2136.Key{Name: key.Name, Algorithm: cmp.Or(key.Algorithm, "hmac-sha256"), Secret: secret},
		})
	case d.Webhook != nil:
		return webhook.New(webhook.Options{Zone: d.Zone, URL: d.Webhook.URL})
	case d.Route53 != nil:
		return route53.New(route53.Options{Zone: d.Zone, HostedZone: d.Route53.HostedZone})
	case d.Azure != nil:
		return azure.New(azure.Options{Zone: d.Zone, Subscription: d.Azure.Subscription, ResourceGroup: d.Azure.ResourceGroup, TrafficManager: d.Azure.TrafficManager})
	default:
		return nil, fault.New(fault.Invalid, "the zone %s is kept nowhere that is known", d.Zone).WithHint("set rfc2136, webhook, route53 or azure")
	}
}

// secretOf reads the secret of a key from where the configuration says it is.
func secretOf(key spec.TSIG) (string, error) {
	if key.SecretEnv != "" {
		secret := os.Getenv(key.SecretEnv)
		if secret == "" {
			return "", fault.New(fault.Invalid, "cannot sign by the TSIG key %s: the environment variable %s is not set", key.Name, key.SecretEnv).
				WithHint("set it to the key's secret, in base64, where crossfade runs")
		}
		return strings.TrimSpace(secret), nil
	}
	raw, err := os.ReadFile(key.SecretFile)
	if err != nil {
		return "", fault.New(fault.Invalid, "cannot sign by the TSIG key %s: %w", key.Name, err).WithHint("put the key's secret there, in base64, where crossfade runs")
	}
	return strings.TrimSpace(string(raw)), nil
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
