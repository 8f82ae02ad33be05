package azure

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/trafficmanager/armtrafficmanager"
	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
)

// trafficManager is the zone with the names of all profiles of the world.
const trafficManager = "trafficmanager.net."

// mark is the tag by which a profile is ours; it has the name that the profile leads.
const mark = "crossfade-host"

// kindOf is the type of an endpoint outside of Azure, as ours are: they lead to names.
const kindOf = "Microsoft.Network/trafficManagerProfiles/externalEndpoints"

// settles is how long all servers of Traffic Manager in the world may take for a change, as those of Azure DNS may ("within 60 seconds"): each of
// its addresses stands for many, of which the closest answers. serveBeat is how often they are asked for a new profile, and serveLimit how long until
// they must answer it.
const (
	settles    = time.Minute
	serveBeat  = 500 * time.Millisecond
	serveLimit = 5 * time.Minute
)

// Via is the name of the profile that leads the users of a name.
func (b *Backend) Via(name string) string { return b.profileName(name) + "." + trafficManager }

// profileName is that of the profile for a name: readable, and nobody else's, for names of profiles are those of all the world. It has at most 63
// letters, digits and hyphens.
func (b *Backend) profileName(name string) string {
	const readable, unique = 44, 8
	at := strings.ReplaceAll(strings.TrimSuffix(name, "."), ".", "-")
	sum := sha256.Sum256([]byte(strings.ToLower(b.subscription + "/" + b.group + "/" + name)))
	return strings.Trim(at[:min(len(at), readable)], "-") + "-" + hex.EncodeToString(sum[:unique])
}

// Servers are those of Traffic Manager, by their addresses of IPv4, which every network has.
func (b *Backend) Servers(ctx context.Context) ([]string, error) {
	if len(b.relays) > 0 {
		return b.relays, nil
	}
	unknown := func(err error) ([]string, error) {
		return nil, fault.New(fault.Unavailable, "the servers of Traffic Manager are not found: %w", err).WithHint("see the resolver of this machine")
	}
	names, err := net.DefaultResolver.LookupNS(ctx, trafficManager)
	if err != nil {
		return unknown(err)
	}
	var all []string
	for _, ns := range names {
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", ns.Host)
		if err != nil {
			return unknown(err)
		}
		for _, ip := range found {
			all = append(all, net.JoinHostPort(ip.Unmap().String(), "53"))
		}
	}
	return all, nil
}

// Settles is a minute.
func (b *Backend) Settles() time.Duration { return cmp.Or(b.settles, settles) }

// Clear deletes the profile of a name, unless a record leads to it: a name of a profile that is gone is free for everybody.
func (b *Backend) Clear(ctx context.Context, name string) error {
	now, err := b.profile(ctx, name)
	if err != nil || now == nil {
		return err
	}
	s := &session{Backend: b}
	if err := s.list(ctx); err != nil || s.leadsOn(name) {
		return err
	}
	if _, err := b.profiles.Delete(ctx, b.group, b.profileName(name), nil); err != nil {
		return failure(err)
	}
	return nil
}

// profile is that of a name, which must be ours; nil when there is none.
func (b *Backend) profile(ctx context.Context, name string) (*armtrafficmanager.Profile, error) {
	got, err := b.profiles.Get(ctx, b.group, b.profileName(name), nil)
	if api, answered := errors.AsType[*azcore.ResponseError](err); answered && api.ErrorCode == "ResourceNotFound" {
		return nil, nil //nolint:nilnil // documented
	}
	switch {
	case err != nil:
		return nil, failure(err)
	case deref(got.Tags[mark]) != strings.TrimSuffix(name, "."):
		return nil, fault.New(fault.Refused, "the Traffic Manager profile %s is somebody else's: it has no tag %s that names the host", b.profileName(name), mark).
			WithHint("move it to another resource group, or give it the tag if it is Crossfade's")
	}
	return &got.Profile, nil
}

// leadsOn reports whether a name is a CNAME to its profile.
func (s *session) leadsOn(name string) bool {
	set := s.raw[dns.Set{Name: name, Kind: wire.TypeCNAME}]
	return set != nil && set.Properties.CnameRecord != nil && wire.CanonicalName(deref(set.Properties.CnameRecord.Cname)) == s.Via(name)
}

// shares are the records by which the profile of a name leads its users, and are seen; none where there is no profile.
func (s *session) shares(ctx context.Context, name string) (dns.Records, error) {
	if s.profiles == nil {
		return nil, fault.New(fault.Refused, "%s is led by a Traffic Manager profile, and the router has none", strings.TrimSuffix(name, ".")).
			WithHint("set azure.trafficManager of the router again")
	}
	now, err := s.profile(ctx, name)
	if err != nil {
		return nil, err
	}
	remember(&s.seen, name, nil)
	if now == nil {
		return nil, nil
	}
	led, why := sharesOf(name, now.Properties)
	if why != "" {
		return nil, fault.New(fault.Refused, "the Traffic Manager profile %s was changed by other hands: %s", s.profileName(name), why).
			WithHint("set it back in Azure")
	}
	s.seen[name] = led
	return led, nil
}

// remember notes something of a name.
func remember(of *map[string]dns.Records, name string, what dns.Records) {
	if *of == nil {
		*of = map[string]dns.Records{}
	}
	(*of)[name] = what
}

// sharesOf are the records by which a profile leads a name, or why it does not as Crossfade had it.
func sharesOf(name string, p *armtrafficmanager.ProfileProperties) (led dns.Records, why string) {
	switch {
	case p == nil || p.DNSConfig == nil:
		return nil, "it has no properties"
	case deref(p.ProfileStatus) != armtrafficmanager.ProfileStatusEnabled:
		return nil, "it is not enabled"
	case deref(p.TrafficRoutingMethod) != armtrafficmanager.TrafficRoutingMethodWeighted:
		return nil, "its routing is not weighted"
	}
	led = dns.Records{}
	for _, e := range p.Endpoints {
		if e == nil || e.Properties == nil || !strings.EqualFold(deref(e.Type), kindOf) {
			return nil, "it has an endpoint that is not external"
		}
		if deref(e.Properties.EndpointStatus) != armtrafficmanager.EndpointStatusEnabled || deref(e.Properties.AlwaysServe) != armtrafficmanager.AlwaysServeEnabled {
			return nil, "its endpoint " + line(deref(e.Name)) + " is not enabled, or not always served"
		}
		rr, err := dns.Record(name, wire.TypeCNAME, uint32(deref(p.DNSConfig.TTL)), deref(e.Properties.Target))
		if err != nil {
			return nil, line(err.Error())
		}
		led.AddTo(dns.Share{Name: deref(e.Name), Percent: int(deref(e.Properties.Weight))}, rr)
	}
	return led, ""
}

// lead has the profile of a name lead its users by their shares, unless it is not as it was read: Traffic Manager knows no conditions. Where the name
// does not lead there yet, its servers are waited for first, and that is a dns.ErrCollision: what was read before is old by then, and so are the moments
// that were reckoned from it. Asked again by the same session, it returns at once, and the name may lead there.
func (s *session) lead(ctx context.Context, name string, led dns.Records) error {
	now, err := s.profile(ctx, name)
	if err != nil {
		return err
	}
	as, why := dns.Records(nil), "it is gone"
	if now != nil {
		as, why = sharesOf(name, now.Properties)
	}
	if seen, read := s.seen[name]; read && (why != "" || !dns.Alike(as, seen)) {
		return dns.ErrCollision
	}
	if why != "" || !dns.Alike(as, led) {
		if _, err := s.profiles.CreateOrUpdate(ctx, s.group, s.profileName(name), s.profileOf(name, led, now), nil); err != nil {
			return s.unmade(name, err)
		}
	}
	if s.leadsOn(name) {
		remember(&s.seen, name, led)
		return nil
	}
	if settled, is := s.settled[name]; is && dns.Alike(settled, led) {
		return nil
	}
	if err := s.served(ctx, name, led); err != nil {
		return err
	}
	remember(&s.settled, name, led)
	return dns.ErrCollision
}

// ttlOf is the TTL of sets of one name, in seconds.
func ttlOf(led dns.Records) uint32 { return led[dns.Sorted(led)[0]][0].Header().Ttl }

// via is the record that leads a name to its profile. It has the TTL of the moment at which it is made; afterwards that of the profile counts.
func (s *session) via(name string, led dns.Records) wire.RR {
	return &wire.CNAME{Hdr: wire.RR_Header{Name: name, Rrtype: wire.TypeCNAME, Class: wire.ClassINET, Ttl: ttlOf(led)}, Target: s.Via(name)}
}

// profileOf is a profile that leads a name by shares; what else the one of now has, but for its endpoints, stays. They are always served: Crossfade decides who
// has users, and a service that moved them back by itself would lead them to what is withheld.
func (s *session) profileOf(name string, led dns.Records, now *armtrafficmanager.Profile) armtrafficmanager.Profile {
	p := armtrafficmanager.Profile{Location: ref("global"), Tags: map[string]*string{mark: ref(strings.TrimSuffix(name, "."))}, Properties: &armtrafficmanager.ProfileProperties{
		MonitorConfig: &armtrafficmanager.MonitorConfig{Protocol: ref(armtrafficmanager.MonitorProtocolTCP), Port: ref[int64](443)}, // needed, and without effect
	}}
	if now != nil && now.Properties != nil {
		kept := *now.Properties
		p.Tags, p.Properties = now.Tags, &kept
	}
	p.Properties.ProfileStatus, p.Properties.TrafficRoutingMethod = ref(armtrafficmanager.ProfileStatusEnabled), ref(armtrafficmanager.TrafficRoutingMethodWeighted)
	p.Properties.DNSConfig = &armtrafficmanager.DNSConfig{RelativeName: ref(s.profileName(name)), TTL: ref(int64(ttlOf(led)))}
	p.Properties.Endpoints = nil
	for _, at := range dns.Sorted(led) {
		p.Properties.Endpoints = append(p.Properties.Endpoints, &armtrafficmanager.Endpoint{
			Name: ref(at.Share.Name), Type: ref(kindOf), Properties: &armtrafficmanager.EndpointProperties{
				Target: ref(dns.Value(led[at][0])), Weight: ref(int64(at.Share.Percent)),
				EndpointStatus: ref(armtrafficmanager.EndpointStatusEnabled), AlwaysServe: ref(armtrafficmanager.AlwaysServeEnabled),
			},
		})
	}
	return p
}

// unmade is the error of a profile that could not be made or changed.
func (s *session) unmade(name string, err error) error {
	if api, answered := errors.AsType[*azcore.ResponseError](err); answered && api.StatusCode == http.StatusConflict {
		if said := message(api); !strings.Contains(said, pending) {
			return fault.New(fault.Refused, "it refuses the Traffic Manager profile %s: %s", s.profileName(name), line(said)).
				WithHint("names of profiles are those of all the world: see in Azure who has this one")
		}
	}
	return failure(err)
}

// served waits until all servers of Traffic Manager answer a new profile, for as long as they may take to. Those that take too long are an error of
// code fault.Unavailable.
func (s *session) served(ctx context.Context, name string, led dns.Records) error {
	servers, err := s.Servers(ctx)
	if err != nil {
		return err
	}
	again := time.NewTicker(serveBeat)
	defer again.Stop()
	deadline := time.Now().Add(cmp.Or(s.serveLimit, serveLimit))
	s.say("%s waits: the servers of Traffic Manager must all answer its new profile %s, for %v", strings.TrimSuffix(name, "."), s.profileName(name), s.Settles())
	for since := time.Now(); ; {
		late := slices.IndexFunc(servers, func(server string) bool { return !s.answers(ctx, server, name, led) })
		switch {
		case late < 0 && time.Since(since) >= s.Settles():
			return nil
		case late >= 0 && time.Now().After(deadline):
			return fault.New(fault.Unavailable, "server %s does not answer its new Traffic Manager profile %s", servers[late], s.profileName(name)).
				WithHint("see the profile in Azure, and whether the server is reached from here")
		case late >= 0:
			since = time.Now()
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "the wait for its Traffic Manager profile was ended: %w", ctx.Err())
		case <-again.C:
		}
	}
}

// answers reports whether a server answers the profile of a name as it leads, and not as one that was there before did.
func (s *session) answers(ctx context.Context, server, name string, led dns.Records) bool {
	answer, err := dns.Query(ctx, server, new(wire.Msg).SetQuestion(s.Via(name), wire.TypeCNAME))
	if err != nil || len(answer.Answer) != 1 || answer.Answer[0].Header().Ttl != ttlOf(led) {
		return false
	}
	for _, rrs := range led {
		if strings.EqualFold(dns.Value(rrs[0]), dns.Value(answer.Answer[0])) {
			return true
		}
	}
	return false
}
