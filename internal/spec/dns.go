package spec

import (
	"net"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

// dnsRouter checks a zone, the servers that are asked about it, and its key, and makes the path of the key's file absolute.
func (p place) dnsRouter(d *DNSRouter) {
	p.to("zone").host(d.Zone)
	p.to("server").reached(d.Server)
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
	if name := d.TSIG.Name; name != "" && !upstreamName.MatchString(name) {
		p.to("tsig", "name").Problem("%s is not a name of letters, digits, dots, hyphens and underscores", strict.Quote(name))
	}
	p.to("tsig", "secretFile").absolute(&d.TSIG.SecretFile)
}

// byDNS checks the routes that a zone leads: their names are below it, nothing asks their endpoints, and nobody is moved by halves.
func (e environment) byDNS() {
	led := false
	for i, r := range e.spec.Routes {
		zone := e.zone(r.Router)
		if zone == "" {
			continue
		}
		led = true
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
		e.at.to("shift", "steps").Problem("must be [100] where DNS leads a route: a name leads all users or none")
	}
}

// zone is that of a router which is one; "" for others.
func (e environment) zone(router string) string {
	if r := e.router(router); r != nil && r.DNS != nil {
		return r.DNS.Zone
	}
	return ""
}

// ServerAddress is a DNS server's address with its port: 53 unless written.
func ServerAddress(server string) string {
	if _, _, err := net.SplitHostPort(server); err == nil {
		return server
	}
	return net.JoinHostPort(strings.Trim(server, "[]"), "53")
}
