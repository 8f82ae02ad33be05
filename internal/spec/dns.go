package spec

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

// hostedZone is an id of a zone in Route 53.
var hostedZone = regexp.MustCompile(`^Z[A-Z0-9]{1,31}$`)

// subscription is an id of a subscription of Azure, and resourceGroup a name of a group there.
var (
	subscription  = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	resourceGroup = regexp.MustCompile(`^[\p{L}\p{N}_().-]{0,89}[\p{L}\p{N}_()-]$`)
)

// dnsRouter checks a zone, the servers that are asked about it, and what keeps it, and makes the path of a key's file absolute.
func (p place) dnsRouter(d *DNSRouter) {
	p.to("zone").host(d.Zone)
	for field, servers := range map[string][]string{"authorities": d.Authorities, "resolvers": d.Resolvers} {
		for i, server := range servers {
			p.to(field, i).reached(server)
		}
	}
	if strings.ContainsAny(d.Owner, `,=" \`) {
		p.to("owner").Problem("%s has a space, a comma, an equals sign, a quote or a backslash, which the registry has no place for", strict.Quote(d.Owner))
	}
	if d.TTL != 0 && d.TTL.Or(0) < time.Second {
		p.to("ttl").Problem("%v is shorter than the second that a TTL counts in", d.TTL.Or(0))
	}
	if d.TXTPrefix != "" && d.TXTSuffix != "" {
		p.to("txtSuffix").Problem("stands beside txtPrefix; external-dns has one of them at most")
	}
	p.keeper(d)
}

// keeper checks what keeps a zone.
func (p place) keeper(d *DNSRouter) {
	if z := d.RFC2136; z != nil {
		at := p.to("rfc2136")
		at.to("server").reached(z.Server)
		if name := z.TSIG.Name; name != "" && !upstreamName.MatchString(name) {
			at.to("tsig", "name").Problem("%s is not a name of letters, digits, dots, hyphens and underscores", strict.Quote(name))
		}
		at.to("tsig", "secretFile").absolute(&z.TSIG.SecretFile)
	}
	if z := d.Webhook; z != nil && z.URL != "" {
		u, err := url.Parse(z.URL)
		switch {
		case err == nil && u.User != nil:
			p.to("webhook", "url").Problem("has a user in it; whoever may reach the provider may change the zone, so keep it where only crossfade reaches it")
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "":
			p.to("webhook", "url").Problem(`is not a URL such as "http://127.0.0.1:8888", without a query`)
		}
	}
	if z := d.Route53; z != nil && z.HostedZone != "" && !hostedZone.MatchString(z.HostedZone) {
		p.to("route53", "hostedZone").Problem(`%s is not the id of a hosted zone, such as "Z0123456789ABCDEFGHIJ"`, strict.Quote(z.HostedZone))
	}
	if z := d.Azure; z != nil && z.Subscription != "" && !subscription.MatchString(z.Subscription) {
		p.to("azure", "subscription").Problem(`%s is not the id of a subscription, such as "0b1f6471-1bf0-4dda-aec3-111122223333"`, strict.Quote(z.Subscription))
	}
	if z := d.Azure; z != nil && z.ResourceGroup != "" && !resourceGroup.MatchString(z.ResourceGroup) {
		p.to("azure", "resourceGroup").Problem("%s is not a name of a resource group: letters, digits, hyphens, underscores, parentheses and dots, with no dot at its end", strict.Quote(z.ResourceGroup))
	}
}

// byDNS checks the routes that a zone leads: their names are below it, nothing asks their endpoints, and nobody is moved by halves.
func (e environment) byDNS() {
	led := false
	for i, r := range e.spec.Routes {
		d := e.zone(r.Router)
		if d == nil {
			continue
		}
		led = led || !d.Weighs()
		zone := d.Zone
		at := e.at.to("routes", i)
		for field, host := range map[string]string{"host": r.Host, "preLive": r.PreLiveHost()} {
			if r.Host != "" && !strings.HasSuffix(host, "."+zone) {
				at.to(field).Problem("%s is not below %s, the zone of its router", strict.Show(host), zone)
			}
		}
		if r.Health != "" {
			at.to("health").Problem("asks endpoints, which DNS does not; leave it out")
		}
	}
	if steps := e.spec.Shift.Steps; led && len(steps) > 0 && !slices.Equal(steps, []int{100}) {
		e.at.to("shift", "steps").Problem("must be [100] where DNS without weights leads a route: a name leads all users or none")
	}
}

// Weighs reports whether a zone may lead shares of a name's users to different places.
func (d *DNSRouter) Weighs() bool {
	return d.Route53 != nil || d.Azure != nil && d.Azure.TrafficManager
}

// zone is a router which is one; nil for others.
func (e environment) zone(router string) *DNSRouter {
	if r := e.router(router); r != nil {
		return r.DNS
	}
	return nil
}

// ServerAddress is a DNS server's address with its port: 53 unless written.
func ServerAddress(server string) string {
	if _, _, err := net.SplitHostPort(server); err == nil {
		return server
	}
	return net.JoinHostPort(strings.Trim(server, "[]"), "53")
}
