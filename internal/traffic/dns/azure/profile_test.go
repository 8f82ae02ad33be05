package azure

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/azure/azuretest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/suite"
)

// profileOfHost is the name of the profile for the host of the suite.
func profileOfHost(z *suite.Zone) string {
	return z.Backend.(*Backend).profileName(host + ".")
}

// TestOtherHands: what others did to a profile, or that it is theirs, is refused and stays; set back, things go on.
func TestOtherHands(t *testing.T) {
	t.Parallel()
	for reason, tc := range map[string]struct {
		change func(*azuretest.Profile) bool
		code   fault.Code
		says   string
	}{
		"not ours":        {func(p *azuretest.Profile) bool { p.Tags = nil; return true }, fault.Refused, "is somebody else's: it has no tag crossfade-host"},
		"of another host": {func(p *azuretest.Profile) bool { p.Tags = map[string]string{mark: "x"}; return true }, fault.Refused, "is somebody else's"},
		"disabled":        {func(p *azuretest.Profile) bool { p.Properties.ProfileStatus = "Disabled"; return true }, fault.Refused, "was changed by other hands: it is not enabled"},
		"other routing":   {func(p *azuretest.Profile) bool { p.Properties.TrafficRoutingMethod = "Priority"; return true }, fault.Refused, "its routing is not weighted"},
		"a disabled endpoint": {func(p *azuretest.Profile) bool {
			p.Properties.Endpoints[0].Properties.EndpointStatus = "Disabled"
			return true
		}, fault.Refused, "its endpoint g1 is not enabled, or not always served"},
		"an asked endpoint": {func(p *azuretest.Profile) bool { p.Properties.Endpoints[0].Properties.AlwaysServe = ""; return true }, fault.Refused, "its endpoint g1 is not enabled, or not always served"},
		"an endpoint in Azure": {func(p *azuretest.Profile) bool {
			p.Properties.Endpoints[1].Type = "Microsoft.Network/trafficManagerProfiles/azureEndpoints"
			return true
		}, fault.Refused, "it has an endpoint that is not external"},
		"other weights": {func(p *azuretest.Profile) bool { p.Properties.Endpoints[0].Properties.Weight = 1; return true }, fault.Failed, "somebody else changed where it leads"},
		"led elsewhere": {func(p *azuretest.Profile) bool {
			p.Properties.Endpoints[0].Properties.Target = "theirs.example.net"
			return true
		}, fault.Failed, "somebody else changed where it leads"},
		"gone": {func(*azuretest.Profile) bool { return false }, fault.Failed, "somebody else changed where it leads"},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			a := azuretest.Start(t, "")
			z := managed(t, a)
			r := suite.Router(t, z)
			suite.Apply(t, r, suite.Between(25))
			var ours azuretest.Profile
			a.PutProfile(profileOfHost(z), func(p *azuretest.Profile) bool {
				ours = *p
				p.Properties.Endpoints = slices.Clone(p.Properties.Endpoints)
				return tc.change(p)
			})
			writes := a.Writes(t)
			refused(t, reason, r.Apply(t.Context(), suite.Between(50)), tc.code, tc.says)
			if got := a.Writes(t); got != writes {
				t.Errorf("it was changed %d times", got-writes)
			}
			a.PutProfile(profileOfHost(z), func(p *azuretest.Profile) bool { *p = ours; return true })
			suite.Apply(t, r, suite.Between(50))
		})
	}
}

// TestTaken: a name of a profile that somebody else in the world has.
func TestTaken(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	z := managed(t, a)
	a.Taken = profileOfHost(z)
	refused(t, "taken", suite.Router(t, z).Apply(t.Context(), suite.Between(0)), fault.Refused, "it refuses the Traffic Manager profile "+a.Taken+": Domain name")
	if answer, err := a.DNS.Query(host, wire.TypeA); err != nil || len(answer.Answer) > 0 {
		t.Errorf("the name leads to what is somebody else's: %v %v", answer, err)
	}
}

// TestChangedMeanwhile: a profile that somebody else changes between our reading and our writing is read again, and not overwritten.
func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	z := managed(t, a)
	r := suite.Router(t, z)
	suite.Apply(t, r, suite.Between(25))
	asked := 0
	a.Trouble = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "trafficmanagerprofiles") && r.Method == http.MethodGet {
			if asked++; asked == 3 { // it was read to be changed, and is read once more before it is
				a.PutProfile(profileOfHost(z), func(p *azuretest.Profile) bool {
					p.Properties.Endpoints[0].Properties.Target = "theirs.example.net"
					return true
				})
			}
		}
		return false
	}
	refused(t, "meanwhile", r.Apply(t.Context(), suite.Between(50)), fault.Failed, "somebody else changed where it leads")
	if all := strings.Join(a.All(t), "\n"); !strings.Contains(all, "theirs.example.net") {
		t.Errorf("it was overwritten:\n%s", all)
	}
}

// TestBusy: a profile that another request is changing is busy, and not an error that stays.
func TestBusy(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	a.Trouble = func(w http.ResponseWriter, r *http.Request) bool {
		busy := strings.Contains(r.URL.Path, "trafficmanagerprofiles") && r.Method == http.MethodPut
		if busy {
			azuretest.Refuse(w, http.StatusConflict, "Conflict", "Another operation is pending for requested object.")
		}
		return busy
	}
	refused(t, "busy", suite.Router(t, managed(t, a)).Apply(t.Context(), suite.Between(0)), fault.Unavailable, "it is busy (Conflict)")
}

// TestReadMeanwhile: another process moves users between our reading of the zone and of the profile: both are read again.
func TestReadMeanwhile(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	r := suite.Router(t, managed(t, a))
	suite.Apply(t, r, suite.Between(0))
	other, begun := suite.Router(t, managed(t, a)), false
	a.Trouble = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "trafficmanagerprofiles") && !begun {
			begun = true
			suite.Apply(t, other, suite.Between(50))
		}
		return false
	}
	if seen := suite.Observed(t, r, host); seen == nil || seen.Sides[1].Weight != 50 {
		t.Errorf("observed: %+v", seen)
	}
	changes := 0
	a.Trouble = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "trafficmanagerprofiles") {
			changes++
			a.Put("A/www", func(s *azuretest.Set) { s.Properties.TTL = changes })
		}
		return false
	}
	_, err := r.Observe(t.Context(), host)
	refused(t, "all the time", err, fault.Unavailable, "its record sets change all the time")
}

// TestProfileKept: what else a profile has stays when users are moved.
func TestProfileKept(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	z := managed(t, a)
	r := suite.Router(t, z)
	suite.Apply(t, r, suite.Between(0))
	a.PutProfile(profileOfHost(z), func(p *azuretest.Profile) bool {
		p.Tags["team"], p.Properties.MonitorConfig.Port = "shop", 8443
		return true
	})
	suite.Apply(t, r, suite.Between(50))
	a.PutProfile(profileOfHost(z), func(p *azuretest.Profile) bool {
		if p.Tags["team"] != "shop" || p.Tags[mark] != host || p.Properties.MonitorConfig.Port != 8443 || len(p.Properties.Endpoints) != 2 {
			t.Errorf("it is %+v", p)
		}
		return true
	})
}

// TestLeftOver: a profile that was left by something that was stopped, and leads elsewhere, leads users once its servers answer what it shall be.
func TestLeftOver(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "shop 1 IN CNAME www\ncname-shop 1 IN TXT \"heritage=external-dns,external-dns/owner="+suite.Owner+"\"\n")
	z := managed(t, a)
	a.PutProfile(profileOfHost(z), func(p *azuretest.Profile) bool {
		p.Tags = map[string]string{mark: host}
		p.Properties.ProfileStatus, p.Properties.TrafficRoutingMethod, p.Properties.DNSConfig.TTL = "Enabled", "Weighted", 1
		p.Properties.MonitorConfig.Protocol, p.Properties.MonitorConfig.Port = "TCP", 443
		e := azuretest.Endpoint{Name: "gone", Type: kindOf}
		e.Properties.EndpointStatus, e.Properties.AlwaysServe, e.Properties.Target, e.Properties.Weight = "Enabled", "Enabled", "shop.gone.example.com", 100
		p.Properties.Endpoints = []azuretest.Endpoint{e}
		return true
	})
	if got := a.Relay.Answers(profileOfHost(z) + ".trafficmanager.net"); got != "shop.gone.example.com" {
		t.Fatalf("the profile leads to %q", got)
	}
	a.Lag = func(key string) time.Duration {
		if strings.HasPrefix(key, "profile/") {
			return 2 * time.Second
		}
		return 0
	}
	always(t, a, func() error { return suite.Router(t, z).Apply(t.Context(), suite.Between(0)) })
	if got := a.DNS.Leads(t, host); got != "10.0.1.1 10.0.1.2 shop.g1.example.com" {
		t.Errorf("it leads to %s", got)
	}
}

// always wants the live name to lead somewhere at every moment of something, which must succeed.
func always(t *testing.T, a *azuretest.Server, during func() error) {
	t.Helper()
	done := make(chan error)
	go func() { done <- during() }()
	for {
		answer, err := a.DNS.Query(host, wire.TypeA)
		if err != nil || len(answer.Answer) < 2 {
			t.Errorf("it leads nowhere: %v %v", answer, err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%v (%s)", err, fault.HintOf(err))
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestManagedCut is TestCut where the live name has a profile.
func TestManagedCut(t *testing.T) {
	t.Parallel()
	cutAtEach(t, managed)
}

// TestTurnedOn: a route that was led by a plain CNAME gets a profile, which the servers of Traffic Manager answer late: users notice nothing, and
// are moved in shares from then on.
func TestTurnedOn(t *testing.T) {
	t.Parallel()
	for reason, before := range map[string]string{"a route": "", "before there was a route": "shop 1 IN CNAME www\ncname-shop 1 IN TXT \"heritage=external-dns,external-dns/owner=" + suite.Owner + "\"\n"} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			a := azuretest.Start(t, before)
			if before == "" {
				suite.Apply(t, suite.Router(t, zoneOf(t, a)), suite.Between(0))
			}
			a.Lag = func(key string) time.Duration {
				if strings.HasPrefix(key, "CNAME/") {
					return 10 * time.Millisecond
				}
				return 1500 * time.Millisecond
			}
			r := suite.Router(t, managed(t, a))
			always(t, a, func() error {
				if err := r.Apply(t.Context(), suite.Between(0)); err != nil {
					return err
				}
				return r.Apply(t.Context(), suite.Between(50))
			})
			if seen := suite.Observed(t, r, host); seen == nil || seen.Sides[1].Weight != 50 {
				t.Errorf("observed: %+v", seen)
			}
		})
	}
}

// TestTurnedOnLate: the TTL of a plain CNAME counts from when a profile, which its servers answer late, takes its place.
func TestTurnedOnLate(t *testing.T) {
	t.Parallel()
	const ttl, lag = 5 * time.Second, 4 * time.Second
	a := azuretest.Start(t, "")
	z := managed(t, a)
	plain, err := dns.New(dns.Options{Zone: bindtest.Zone, Owner: suite.Owner, TTL: ttl, Wait: 20 * time.Second, Authorities: []string{a.DNS.Address}}, zoneOf(t, a).Backend)
	if err != nil {
		t.Fatal(err)
	}
	suite.Apply(t, plain, suite.Route(suite.Side("g1", 100, "10.0.1.1")))
	a.Lag = func(key string) time.Duration {
		if strings.HasPrefix(key, "profile/") {
			return lag
		}
		return 0
	}
	switched := make(chan time.Time, 1)
	go func() {
		bindtest.Holds(time.Minute, func() bool { return a.Get("CNAME/shop").Properties.CNAME.Cname != "shop.g1.example.com" })
		switched <- time.Now()
	}()
	r := suite.Router(t, z)
	suite.Apply(t, r, suite.Between(0))
	at := <-switched
	a.Lag = nil
	suite.Apply(t, r, suite.Between(100))
	if took := time.Since(at); took < ttl {
		t.Errorf("the users were moved %v after the CNAME was replaced, and resolvers keep it for %v", took, ttl)
	}
}

// TestTurnedOff: a route that has a profile is not led without it.
func TestTurnedOff(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	suite.Apply(t, suite.Router(t, managed(t, a)), suite.Between(0))
	refused(t, "off", suite.Router(t, zoneOf(t, a)).Apply(t.Context(), suite.Between(100)), fault.Refused, "shop.example.com is led by a Traffic Manager profile, and the router has none")
	suite.Apply(t, suite.Router(t, managed(t, a)), suite.Between(100))
}

// TestSettles: servers of which each stands for many have followed a move once the last of them may have.
func TestSettles(t *testing.T) {
	t.Parallel()
	const settles = 3 * time.Second
	a := azuretest.Start(t, "")
	z := managed(t, a)
	z.Backend.(*Backend).settles = settles
	r := suite.Router(t, z)
	suite.Apply(t, r, suite.Between(5))
	start := time.Now()
	suite.Apply(t, r, suite.Between(0))
	if took := time.Since(start); took < settles+time.Second {
		t.Errorf("it was in force after %v, want what they take, %v, and the TTL waited out", took, settles)
	}
	// A server that answers a new profile now and then is not one that has it.
	asked := 0
	b := z.Backend.(*Backend)
	b.serveLimit, b.relays = 4*time.Second, []string{azuretest.Serve(t, func(w wire.ResponseWriter, m *wire.Msg) {
		reply := new(wire.Msg).SetReply(m)
		if asked++; asked%4 > 0 {
			reply.Answer = []wire.RR{&wire.CNAME{Hdr: wire.RR_Header{Name: m.Question[0].Name, Rrtype: wire.TypeCNAME, Class: wire.ClassINET, Ttl: 1}, Target: "shop.g1.example.com."}}
		}
		_ = w.WriteMsg(reply) // who asks sees it
	})}
	if err := r.Remove(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	refused(t, "now and then", r.Apply(t.Context(), suite.Between(0)), fault.Unavailable, "does not answer its new Traffic Manager profile")
}

// TestNotServed: a profile that its servers do not answer is led to by nobody, and waited for within a bound.
func TestNotServed(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	z := managed(t, a)
	b := z.Backend.(*Backend)
	b.relays, b.serveLimit = []string{a.Relay.Address, azuretest.Serve(t, func(w wire.ResponseWriter, m *wire.Msg) {
		_ = w.WriteMsg(new(wire.Msg).SetRcode(m, wire.RcodeNameError)) // who asks sees it
	})}, time.Second
	r, said := suite.Router(t, z), ""
	r.Tell(func(format string, args ...any) { said += fmt.Sprintf(format, args...) + "\n" })
	refused(t, "not served", r.Apply(t.Context(), suite.Between(0)), fault.Unavailable, "does not answer its new Traffic Manager profile shop-example-com-")
	if answer, err := a.DNS.Query(host, wire.TypeA); err != nil || len(answer.Answer) > 0 {
		t.Errorf("the name leads to it: %v %v", answer, err)
	}
	if !strings.Contains(said, "shop.example.com waits: the servers of Traffic Manager must all answer its new profile "+profileOfHost(z)) {
		t.Errorf("it said %q", said)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.relays = nil
	_, err := b.Servers(ctx)
	refused(t, "no resolver", err, fault.Unavailable, "the servers of Traffic Manager are not found")
}

// chasing is a resolver that keeps nothing: it asks the zone, then Traffic Manager, then the zone again, and answers all of it.
func chasing(t *testing.T, a *azuretest.Server) string {
	t.Helper()
	return azuretest.Serve(t, func(w wire.ResponseWriter, m *wire.Msg) {
		reply := new(wire.Msg).SetReply(m)
		name := m.Question[0].Name
		for range 3 {
			from := a.DNS.Address
			if strings.HasSuffix(name, "."+trafficManager) {
				from = a.Relay.Address
			}
			q := new(wire.Msg).SetQuestion(name, m.Question[0].Qtype)
			q.RecursionDesired = false
			answer, err := dns.Query(t.Context(), from, q)
			if err != nil || len(answer.Answer) == 0 {
				break
			}
			reply.Answer = append(reply.Answer, answer.Answer...)
			led, is := answer.Answer[len(answer.Answer)-1].(*wire.CNAME)
			if !is {
				break
			}
			name = led.Target
		}
		_ = w.WriteMsg(reply) // who asks sees it
	})
}

// TestRelayed: users are moved once the servers of Traffic Manager and resolvers say so, and who still leads to a generation is named.
func TestRelayed(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	z := managed(t, a)
	keeping := bindtest.StartResolver(t, &bindtest.Server{Address: chasing(t, a)}, func(time.Duration) time.Duration { return time.Minute })
	with := func(wait time.Duration, resolvers ...string) *dns.Router {
		r, err := dns.New(dns.Options{
			Zone: bindtest.Zone, Owner: suite.Owner, TTL: time.Second, Wait: wait, Authorities: []string{z.Server.Address}, Resolvers: resolvers,
		}, z.Backend)
		if err != nil {
			t.Fatal(err)
		}
		r.Tell(t.Logf)
		return r
	}
	const long, short = 20 * time.Second, time.Second
	suite.Apply(t, with(long, chasing(t, a), keeping.Address), suite.Between(0))
	const lag = 6 * time.Second
	a.Lag = func(string) time.Duration { return lag }
	start := time.Now()
	suite.Apply(t, with(long), suite.Between(100))
	if took := time.Since(start); took < lag {
		t.Errorf("it took %v, and the servers of Traffic Manager %v", took, lag)
	}
	a.Lag = nil
	if got := a.Relay.Answers(profileOfHost(z) + strings.TrimSuffix("."+trafficManager, ".")); got != "shop.g2.example.com" {
		t.Errorf("Traffic Manager leads to %s", got)
	}
	err := with(short, keeping.Address).Apply(t.Context(), suite.Between(100))
	refused(t, "a resolver that keeps", err, fault.Failed, fmt.Sprintf("resolver %s still answers %s by shop.g1.example.com", keeping.Address, host))
	who, err := with(short, keeping.Address).Leading(t.Context(), host, "g1")
	if got := strings.Join(who, "; "); err != nil || !strings.HasSuffix(got, "which still answers by shop.g1.example.com") || strings.Contains(got, "server ") {
		t.Errorf("to g1 leads %s: %v", got, err)
	}
	keeping.Forget()
	if !bindtest.Holds(10*time.Second, func() bool {
		who, err = with(short, keeping.Address).Leading(t.Context(), host, "g1")
		return err == nil && len(who) == 0
	}) {
		t.Errorf("somebody still leads to g1: %v %v", who, err)
	}
	relay := azuretest.Serve(t, func(wire.ResponseWriter, *wire.Msg) {})
	z.Backend.(*Backend).relays = []string{relay}
	if who, err = with(short).Leading(t.Context(), host, "g1"); err != nil || len(who) != 1 || who[0] != "server "+relay+", which does not answer" {
		t.Errorf("a silent server of Traffic Manager may lead to g1, and it is said: %v %v", who, err)
	}
}

// TestCleared: with a route its profile goes, also when that is cut off; one that a record leads to stays.
func TestCleared(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	z := managed(t, a)
	r := suite.Router(t, z)
	suite.Apply(t, r, suite.Between(25))
	if got := a.ProfileNames(); !slices.Equal(got, []string{profileOfHost(z)}) {
		t.Fatalf("profiles: %v", got)
	}
	a.Trouble = func(w http.ResponseWriter, r *http.Request) bool {
		cut := r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "trafficmanagerprofiles")
		if cut {
			azuretest.Refuse(w, http.StatusBadRequest, "Cut", "")
		}
		return cut
	}
	refused(t, "cut", r.Remove(t.Context(), host), fault.Failed, "it answers Cut")
	a.Trouble = nil
	if got := a.Get("CNAME/shop").Properties.CNAME; got != nil || len(a.ProfileNames()) != 1 || suite.Observed(t, r, host) == nil {
		t.Errorf("the record is %v, the profiles are %v: a name leads to what is not there, or nobody knows of the route", got, a.ProfileNames())
	}
	a.Put("CNAME/shop", func(s *azuretest.Set) {
		s.Properties.CNAME, s.Properties.TTL = &azuretest.Record{Cname: profileOfHost(z) + ".trafficmanager.net"}, 60
	})
	b := z.Backend.(*Backend)
	if err := b.Clear(t.Context(), host+"."); err != nil || len(a.ProfileNames()) != 1 {
		t.Errorf("what a record leads to: %v %v", a.ProfileNames(), err)
	}
	s := &session{Backend: b}
	if err := s.list(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.change(t.Context(), dns.Set{Name: host + ".", Kind: wire.TypeCNAME}, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Remove(t.Context(), host); err != nil {
			t.Fatal(err)
		}
		if got := a.ProfileNames(); len(got) > 0 {
			t.Errorf("profiles: %v", got)
		}
	}
}

// TestProfileNames: they are labels, and no two are the same.
func TestProfileNames(t *testing.T) {
	t.Parallel()
	b := managed(t, azuretest.Start(t, "")).Backend.(*Backend)
	other := *b
	other.group = "other"
	names := []string{
		b.profileName("shop.example.com."), other.profileName("shop.example.com."), b.profileName("shop-example.com."), b.profileName("xn--80ak6aa92e.example.com."),
		b.profileName(strings.Repeat("a.", 60) + "example.com."), b.profileName(strings.Repeat("a.", 61) + "example.com."),
	}
	for i, name := range names {
		if len(name) > 63 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || slices.Contains(names[:i], name) {
			t.Errorf("%q is no label, or there twice", name)
		}
	}
}
