// Package suite is what every backend of the router dns must pass, with a real peer: the routes that the router makes of it, and that
// nobody is ever without an answer.
package suite

import (
	"context"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
)

// Owner is that of all routers of the suite.
const Owner = "crossfade-shop"

const (
	host        = "shop." + bindtest.Zone
	preLiveHost = "next." + host
	// ours is what the registry says of records that were handed over.
	ours = `"heritage=external-dns,external-dns/owner=` + Owner + `"`
)

// Zone is a zone example.com for one test, kept by a backend and served by an authoritative server.
type Zone struct {
	Backend dns.Backend
	Server  *bindtest.Server // which need not be a BIND, but answers as one
	// All are the records of the zone but its SOA, a line each.
	All func(t *testing.T) []string
	// Writes counts what has changed the zone.
	Writes func(t *testing.T) uint32
}

// Peer is how zones of a backend are made.
type Peer struct {
	// Start makes a zone with records that a test adds to it, as lines of a zone file.
	Start func(t *testing.T, more string) *Zone
	// Weighs is whether it knows shares.
	Weighs bool
}

// Run runs the suite.
func Run(t *testing.T, p Peer) {
	for name, test := range map[string]func(*testing.T, Peer){
		"apply": apply, "remove": remove, "never nowhere": neverNowhere, "stopped": stopped, "ttl": ttl, "leaves last": leavesLast,
		"leading": leading, "hosts": hosts, "owners": owners, "two": two, "nodes": nodes,
		"weights": weights, "remove stopped": removeStopped, "back": back,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

// Router makes a router of a zone, with the shortest TTL there is.
func Router(t *testing.T, z *Zone) *dns.Router {
	t.Helper()
	return router(t, z, z.Backend)
}

func router(t *testing.T, z *Zone, b dns.Backend) *dns.Router {
	t.Helper()
	r, err := dns.New(options(z), b)
	if err != nil {
		t.Fatal(err)
	}
	r.Tell(t.Logf)
	return r
}

// options are those of a router of a zone, with the shortest TTL there is.
func options(z *Zone) dns.Options {
	return dns.Options{Zone: bindtest.Zone, Owner: Owner, TTL: time.Second, Wait: 10 * time.Second, Authorities: []string{z.Server.Address}}
}

// Side makes a side whose endpoints have the port 80.
func Side(generation string, weight int, addresses ...string) traffic.Side {
	s := traffic.Side{Generation: generation, Weight: weight}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, net.JoinHostPort(a, "80"))
	}
	return s
}

// Route makes a route of sides, of which the last one is the pre-live one.
func Route(sides ...traffic.Side) traffic.Route {
	return traffic.Route{Host: host, PreLiveHost: preLiveHost, PreLive: sides[len(sides)-1].Generation, Sides: sides, Drain: time.Second}
}

// Between is a route of two generations, of which the second one has a share of the users.
func Between(share int) traffic.Route {
	return Route(Side("g1", 100-share, "10.0.1.1", "10.0.1.2"), Side("g2", share, "10.0.2.1"))
}

// Apply applies a route, which must succeed.
func Apply(t *testing.T, r *dns.Router, route traffic.Route) {
	t.Helper()
	if err := r.Apply(t.Context(), route); err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
}

// Observed is the route that a router reports; nil for none.
func Observed(t *testing.T, r *dns.Router, host string) *traffic.Route {
	t.Helper()
	seen, err := r.Observe(t.Context(), host)
	if err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
	if seen == nil {
		return nil
	}
	return &seen.Route
}

// apply: what is applied is observed, and applied again it changes nothing.
func apply(t *testing.T, p Peer) {
	z := p.Start(t, "")
	r := Router(t, z)
	if seen := Observed(t, r, host); seen != nil {
		t.Fatalf("there is a route before there is one: %+v", seen)
	}
	nobody := Between(0)
	nobody.Sides[0].Weight = 0
	steps := []struct {
		reason string
		route  traffic.Route
		leads  string // the live name
		next   string // the pre-live name
	}{
		{"nobody is led yet", nobody, "", "10.0.2.1 shop.g2.example.com"},
		{"the live generation is met", Between(0), "10.0.1.1 10.0.1.2 shop.g1.example.com", "10.0.2.1 shop.g2.example.com"},
		{"users are moved", Between(100), "10.0.2.1 shop.g2.example.com", "10.0.2.1 shop.g2.example.com"},
		{"and back", Between(0), "10.0.1.1 10.0.1.2 shop.g1.example.com", "10.0.2.1 shop.g2.example.com"},
		{"IPv6, and a side that answers nowhere yet", Route(Side("g1", 100, "10.0.1.3", "fd00::1"), Side("g2", 0, "10.0.2.2"), Side("g3", 0), Side("g4", 0, "10.0.4.1")), "10.0.1.3 shop.g1.example.com", "10.0.4.1 shop.g4.example.com"},
		{"another generation is left alone", traffic.Route{Host: host, Sides: []traffic.Side{Side("g2", 100, "10.0.2.1")}}, "10.0.2.1 shop.g2.example.com", ""},
	}
	for _, step := range steps {
		var writes uint32
		for i := range 2 {
			Apply(t, r, step.route)
			if diff := cmp.Diff(&step.route, Observed(t, r, host)); diff != "" {
				t.Fatalf("%s (-applied +observed):\n%s", step.reason, diff)
			}
			if i == 1 && z.Writes(t) != writes {
				t.Errorf("%s: applied again, the zone changed", step.reason)
			}
			writes = z.Writes(t)
		}
		if got := z.Server.Leads(t, host); got != step.leads {
			t.Errorf("%s: the live name leads to %q, want %q", step.reason, got, step.leads)
		}
		if got := z.Server.Leads(t, preLiveHost); got != step.next {
			t.Errorf("%s: the pre-live name leads to %q, want %q", step.reason, got, step.next)
		}
	}
}

// remove: a route that was removed leaves nothing behind.
func remove(t *testing.T, p Peer) {
	z := p.Start(t, "")
	before := z.All(t)
	r := Router(t, z)
	Apply(t, r, Between(0))
	if got := z.All(t); slices.Equal(before, got) {
		t.Fatal("the zone shows nothing of the route")
	}
	for range 2 {
		if err := r.Remove(t.Context(), host); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, z.All(t)); diff != "" {
			t.Errorf("the zone after the route was removed (-before +after):\n%s", diff)
		}
	}
}

// asking asks for the live name all the time, each time so much after the answer before, until it is called; then it returns where the answers led,
// and how many did.
func asking(t *testing.T, z *Zone, pause time.Duration) func() map[string]int {
	ctx, stop := context.WithCancel(t.Context())
	asked := make(chan map[string]int)
	go func() {
		answers := map[string]int{}
		for ctx.Err() == nil {
			answer, err := z.Server.Query(host, wire.TypeA)
			switch {
			case err != nil || answer.Rcode != wire.RcodeSuccess || len(answer.Answer) == 0:
				answers[fmt.Sprintf("nowhere: %v %v", answer, err)]++
			default:
				answers[dns.Value(answer.Answer[len(answer.Answer)-1])]++
			}
			<-time.After(pause)
		}
		asked <- answers
	}()
	return func() map[string]int {
		stop()
		return <-asked
	}
}

// neverNowhere asks for the live name all the time while its users are moved there, back and there again, and the first generation goes:
// every answer has an address, and of no generation that is not a side.
func neverNowhere(t *testing.T, p Peer) {
	z := p.Start(t, "")
	r := Router(t, z)
	Apply(t, r, Route(Side("g1", 100, "10.0.1.1")))
	end := asking(t, z, 0)
	for _, share := range []int{0, 100, 0, 100} {
		Apply(t, r, Route(Side("g1", 100-share, "10.0.1.1"), Side("g2", share, "10.0.2.1")))
	}
	last := Route(Side("g2", 100, "10.0.2.1"))
	last.PreLive = ""
	Apply(t, r, last)
	answers := end()
	t.Logf("answers: %v", answers)
	for to, n := range answers {
		if to != "10.0.1.1" && to != "10.0.2.1" {
			t.Errorf("%d answers led to %s", n, to)
		}
	}
	if answers["10.0.1.1"] < 100 || answers["10.0.2.1"] < 100 {
		t.Errorf("there were too few answers to say anything: %v", answers)
	}
}

// ttl: the TTL of before is lowered ahead, and there again when one generation is left.
func ttl(t *testing.T, p Peer) {
	z := p.Start(t, "")
	long, err := dns.New(dns.Options{
		Zone: bindtest.Zone, Owner: Owner, TTL: 4 * time.Second, Wait: 10 * time.Second, Authorities: []string{z.Server.Address},
	}, z.Backend)
	if err != nil {
		t.Fatal(err)
	}
	alone := traffic.Route{Host: host, Sides: []traffic.Side{Side("g1", 100, "10.0.1.1")}}
	Apply(t, long, alone)
	r := Router(t, z)
	start := time.Now()
	Apply(t, r, Between(0))
	if got := z.Server.TTL(t, host); got != 1 {
		t.Errorf("the TTL is %d with another generation, want it lowered", got)
	}
	Apply(t, r, Between(100))
	if took := time.Since(start); took < 3*time.Second {
		t.Errorf("the users were moved within %v, want the TTL of before waited out", took)
	}
	Apply(t, r, Between(0))
	for range 2 {
		Apply(t, r, alone)
	}
	if got := z.Server.TTL(t, host); got != 4 {
		t.Errorf("the TTL is %d with one generation left, want that of before", got)
	}
}

// leavesLast: a resolver that keeps where the live name led asks for that intermediate name, so it stays until no resolver does.
func leavesLast(t *testing.T, p Peer) {
	z := p.Start(t, "")
	r := Router(t, z)
	Apply(t, r, Between(0))
	stayed := make(chan time.Duration)
	go func() {
		bindtest.Holds(time.Minute, func() bool { return !strings.Contains(z.Server.Answers(host), "shop.g1") })
		moved := time.Now()
		bindtest.Holds(time.Minute, func() bool { return z.Server.Answers("shop.g1.example.com") == "" })
		stayed <- time.Since(moved)
	}()
	Apply(t, r, traffic.Route{Host: host, Sides: []traffic.Side{Side("g2", 100, "10.0.2.1")}})
	if d := <-stayed; d < time.Second {
		t.Errorf("the name of the old generation stayed %v after the users left, want the TTL waited out", d)
	}
}

// leading: who may still lead users to a generation that has none.
func leading(t *testing.T, p Peer) {
	z := p.Start(t, "")
	r := Router(t, z)
	who := func(generation string) string {
		who, err := r.Leading(t.Context(), host, generation)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(who, "; ")
	}
	Apply(t, r, Between(0))
	if got := who("g2"); got != "" {
		t.Errorf("to a generation that never had users: %s", got)
	}
	moved := Between(100)
	moved.Drain = 5 * time.Second
	Apply(t, r, moved)
	if got := who("g1"); !strings.HasPrefix(got, "resolvers and requests under way, until ") {
		t.Errorf("while requests may be under way: %q", got)
	}
	if !bindtest.Holds(15*time.Second, func() bool { return who("g1") == "" }) {
		t.Errorf("somebody still leads to g1: %s", who("g1"))
	}
}

// hosts: routes of one zone do not know each other.
func hosts(t *testing.T, p Peer) {
	z := p.Start(t, "")
	r := Router(t, z)
	first, other := Between(0), Between(0)
	Apply(t, r, first)
	before := z.All(t)
	other.Host, other.PreLiveHost = "api."+host, "next.api."+host
	Apply(t, r, other)
	if diff := cmp.Diff(&other, Observed(t, r, other.Host)); diff != "" {
		t.Errorf("the second (-applied +observed):\n%s", diff)
	}
	if diff := cmp.Diff(&first, Observed(t, r, host)); diff != "" {
		t.Errorf("the first (-applied +observed):\n%s", diff)
	}
	if err := r.Remove(t.Context(), other.Host); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, z.All(t)); diff != "" {
		t.Errorf("the zone (-before +after):\n%s", diff)
	}
}

// two processes apply the same route at a time: both come to the same end, at the latest when they try again.
func two(t *testing.T, p Peer) {
	z := p.Start(t, "")
	done := make(chan error)
	for range 2 {
		go func() {
			r, err := dns.New(dns.Options{Zone: bindtest.Zone, Owner: Owner, TTL: time.Second, Wait: 10 * time.Second, Authorities: []string{z.Server.Address}}, z.Backend)
			for range 10 {
				if err = r.Apply(t.Context(), Between(0)); !fault.Retryable(err) {
					break
				}
			}
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	want := Between(0)
	if diff := cmp.Diff(&want, Observed(t, Router(t, z), host)); diff != "" {
		t.Errorf("observed (-applied +observed):\n%s", diff)
	}
}

// nodes: the nodes of a generation come and go, and the name of the generation always answers with some of them.
func nodes(t *testing.T, p Peer) {
	z := p.Start(t, "")
	r := Router(t, z)
	Apply(t, r, Route(Side("g1", 100, "10.0.1.1", "10.0.1.2")))
	end := asking(t, z, 0)
	for _, addresses := range [][]string{{"10.0.1.1"}, {"10.0.1.1", "10.0.1.3"}, {"10.0.1.2", "10.0.1.3"}} {
		Apply(t, r, Route(Side("g1", 100, addresses...)))
		if got, want := z.Server.Leads(t, host), strings.Join(addresses, " ")+" shop.g1.example.com"; got != want {
			t.Errorf("it leads to %s, want %s", got, want)
		}
	}
	for to, n := range end() {
		if !strings.HasPrefix(to, "10.0.1.") {
			t.Errorf("%d answers led to %s", n, to)
		}
	}
}

// weights: users are moved in shares, as many of them as asked for; where names have none, the route is refused.
func weights(t *testing.T, p Peer) {
	z := p.Start(t, "")
	r := Router(t, z)
	Apply(t, r, Between(0))
	if !p.Weighs {
		err := r.Apply(t.Context(), Between(5))
		if fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), "DNS leads all users or none") {
			t.Errorf("got %v, want %s", err, fault.Invalid)
		}
		return
	}
	for _, share := range []int{5, 50, 100, 25, 0} {
		want := Between(share)
		Apply(t, r, want)
		if diff := cmp.Diff(&want, Observed(t, r, host)); diff != "" {
			t.Fatalf("%d %% (-applied +observed):\n%s", share, diff)
		}
		const asked = 10_000
		moved := 0
		for range asked {
			if strings.Contains(z.Server.Answers(host), "shop.g2") {
				moved++
			}
		}
		if got := float64(moved) / asked * 100; math.Abs(got-float64(share)) > 2 {
			t.Errorf("%.1f %% of the answers lead to g2, want %d %%", got, share)
		}
		who, err := r.Leading(t.Context(), host, "g1")
		if err != nil || share < 100 && len(who) > 0 {
			t.Errorf("%d %%: g1 has users, and %v lead to it beside them: %v", share, who, err)
		}
	}
}
