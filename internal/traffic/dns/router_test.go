package dns_test

import (
	"context"
	"fmt"
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
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/rfc2136"
)

// TestApply: what is applied is observed, and applied again it changes nothing.
func TestApply(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	r := router(t, options(b))
	if seen := observe(t, r); seen != nil {
		t.Fatalf("there is a route before there is one: %+v", seen)
	}
	alone := traffic.Route{Host: host, Sides: []traffic.Side{side("g2", 100, "10.0.2.1")}}
	steps := []struct {
		reason string
		route  traffic.Route
		leads  string // the live name
		next   string // the pre-live name
	}{
		{"nobody is led yet", two(""), "", "10.0.2.1 shop.g2.example.com"},
		{"the live generation is met", two("g1"), "10.0.1.1 10.0.1.2 shop.g1.example.com", "10.0.2.1 shop.g2.example.com"},
		{"users are moved", two("g2"), "10.0.2.1 shop.g2.example.com", "10.0.2.1 shop.g2.example.com"},
		{"and back", two("g1"), "10.0.1.1 10.0.1.2 shop.g1.example.com", "10.0.2.1 shop.g2.example.com"},
		{"IPv6, and a side that answers nowhere yet", route(side("g1", 100, "10.0.1.3", "fd00::1"), side("g2", 0, "10.0.2.2"), side("g3", 0), side("g4", 0, "10.0.4.1")), "10.0.1.3 shop.g1.example.com", "10.0.4.1 shop.g4.example.com"},
		{"the name of a load balancer", route(side("g1", 100, "lb.example.net"), side("g2", 0, "10.0.2.1")), "lb.example.net shop.g1.example.com", "10.0.2.1 shop.g2.example.com"},
		{"another generation is left alone", alone, "10.0.2.1 shop.g2.example.com", ""},
	}
	for _, step := range steps {
		var serial uint32
		for i := range 2 {
			apply(t, r, step.route)
			if diff := cmp.Diff(step.route, observe(t, r).Route); diff != "" {
				t.Fatalf("%s (-applied +observed):\n%s", step.reason, diff)
			}
			if i == 1 && b.Serial(t) != serial {
				t.Errorf("%s: applied again, the zone changed", step.reason)
			}
			serial = b.Serial(t)
		}
		if got := b.Leads(t, host); got != step.leads {
			t.Errorf("%s: the live name leads to %q, want %q", step.reason, got, step.leads)
		}
		if got := b.Leads(t, preLiveHost); got != step.next {
			t.Errorf("%s: the pre-live name leads to %q, want %q", step.reason, got, step.next)
		}
	}
	swapped := two("g2")
	swapped.Sides[0], swapped.Sides[1], swapped.PreLive = swapped.Sides[1], swapped.Sides[0], "g2"
	apply(t, r, two("g2"))
	serial := b.Serial(t)
	if apply(t, r, swapped); b.Serial(t) != serial {
		t.Errorf("the order of sides means something")
	}
}

// TestRecords is what a route is in the zone, to the letter, and that nothing else is touched.
func TestRecords(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	before := b.All(t)
	r := router(t, options(b))
	wanted := two("g1")
	wanted.Sides[1] = side("g2", 0, "fd00::2")
	apply(t, r, wanted)
	owner := `"heritage=external-dns,external-dns/owner=crossfade-shop,external-dns/resource=crossfade/shop.example.com"`
	want := append(slices.Clone(before),
		`_crossfade.shop.example.com. 1 IN TXT "drain=1s&live=g1&owner=crossfade-shop&port=80&preLiveHost=next.shop.example.com&side=g1&side=g2"`,
		"shop.example.com. 1 IN CNAME shop.g1.example.com.", "cname-shop.example.com. 1 IN TXT "+owner,
		"next.shop.example.com. 1 IN CNAME shop.g2.example.com.", "cname-next.shop.example.com. 1 IN TXT "+owner,
		"shop.g1.example.com. 1 IN A 10.0.1.1", "shop.g1.example.com. 1 IN A 10.0.1.2", "a-shop.g1.example.com. 1 IN TXT "+owner,
		"shop.g2.example.com. 1 IN AAAA fd00::2", "aaaa-shop.g2.example.com. 1 IN TXT "+owner,
	)
	slices.Sort(want)
	if diff := cmp.Diff(want, b.All(t)); diff != "" {
		t.Errorf("the zone (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := r.Remove(t.Context(), host); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, b.All(t)); diff != "" {
			t.Errorf("the zone after the route was removed (-before +after):\n%s", diff)
		}
		if seen := observe(t, r); seen != nil {
			t.Errorf("a route is left: %+v", seen)
		}
	}
}

// TestNeverNowhere asks for the live name all the time while its users are moved there, back and there again, and the first generation goes: every
// answer has an address, and of no generation that is not a side.
func TestNeverNowhere(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "shop 2 IN A 10.0.1.1\na-shop 60 IN TXT \"heritage=external-dns,external-dns/owner=crossfade-shop\"\n")
	r := router(t, options(b))
	ctx, stop := context.WithCancel(t.Context())
	asked := make(chan map[string]int)
	go func() {
		answers := map[string]int{}
		for ctx.Err() == nil {
			answer, err := b.Query(host, wire.TypeA)
			switch {
			case err != nil || answer.Rcode != wire.RcodeSuccess || len(answer.Answer) == 0:
				answers[fmt.Sprintf("nowhere: %v %v", answer, err)]++
			default:
				last := answer.Answer[len(answer.Answer)-1]
				answers[dns.Target(last)]++
			}
		}
		asked <- answers
	}()
	apply(t, r, route(side("g1", 100, "10.0.1.1"), side("g2", 0, "10.0.2.1")))
	for _, live := range []string{"g2", "g1", "g2"} {
		wanted := route(side("g1", 0, "10.0.1.1"), side("g2", 0, "10.0.2.1"))
		wanted.Sides[map[string]int{"g1": 0, "g2": 1}[live]].Weight = 100
		apply(t, r, wanted)
	}
	last := route(side("g2", 100, "10.0.2.1"))
	last.PreLive = ""
	apply(t, r, last)
	stop()
	answers := <-asked
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

// TestStopped cuts the connection to the server at every update, before it arrives and after it took effect, and at some of the questions. The
// route is the old or the new one then, and the next Apply completes it.
func TestStopped(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	x := startBetween(t, b)
	o := options(b)
	o.Server = x.address
	r := router(t, o)
	apply(t, r, two("g1"))
	live := "g1"
	for i := range 14 {
		cut := stopAt(i)
		next := map[string]string{"g1": "g2", "g2": "g1"}[live]
		want := two(next)
		want.Sides = append(want.Sides, side(fmt.Sprintf("h%02d", i), 0, "10.0.3.1")) // comes, and the one before goes
		var updates, questions int
		x.watch(func(m, answer *wire.Msg) bool {
			switch update := m.Opcode == wire.OpcodeUpdate; {
			case answer == nil && update:
				updates++
			case answer == nil:
				questions++
			}
			if m.Opcode == wire.OpcodeUpdate {
				return updates != cut.update || answer != nil != cut.after
			}
			return questions != cut.question
		})
		err := r.Apply(t.Context(), want)
		x.watch(nil)
		refused(t, fmt.Sprintf("%+v", cut), err, fault.Unavailable, "it does not answer")
		if got := liveOf(observe(t, r).Route); got != live && got != next {
			t.Errorf("%+v: the users are led to %q", cut, got)
		}
		apply(t, r, want)
		if diff := cmp.Diff(want, observe(t, r).Route); diff != "" {
			t.Fatalf("%+v (-applied +observed):\n%s", cut, diff)
		}
		live = next
	}
}

// cut is where a connection breaks.
type cut struct {
	update, question int  // the how manieth of them; 0 for none
	after            bool // the server has done what the update says
}

// stopAt is the i-th of the cuts: an Apply makes three updates.
func stopAt(i int) cut {
	if i < 6 {
		return cut{update: i/2 + 1, after: i%2 == 1}
	}
	return cut{question: (i-6)*11 + 1}
}

func liveOf(r traffic.Route) string {
	for _, s := range r.Sides {
		if s.Weight == 100 {
			return s.Generation
		}
	}
	return ""
}

// TestInvalid: what DNS cannot do is an error before anything is done.
func TestInvalid(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	r := router(t, options(b))
	of := func(change func(*traffic.Route)) traffic.Route {
		route := two("g1")
		change(&route)
		return route
	}
	for reason, tc := range map[string]struct {
		route traffic.Route
		says  string
	}{
		"no sides":              {traffic.Route{Host: host}, "at least one side"},
		"no host":               {of(func(r *traffic.Route) { r.Host = "" }), "not a name below the zone"},
		"another zone":          {of(func(r *traffic.Route) { r.Host = "shop.example.net" }), `"shop.example.net" by DNS: it is not a name below the zone example.com`},
		"ends alike":            {of(func(r *traffic.Route) { r.Host = "shopexample.com" }), "not a name below the zone"},
		"no name":               {of(func(r *traffic.Route) { r.Host = "shop..example.com" }), "not a name below the zone"},
		"the zone itself":       {of(func(r *traffic.Route) { r.Host = zone }), "it is the zone itself, whose name cannot be a CNAME"},
		"pre-live elsewhere":    {of(func(r *traffic.Route) { r.PreLiveHost = "next.example.net" }), "not a name below the zone"},
		"pre-live and live":     {of(func(r *traffic.Route) { r.PreLiveHost = host }), "the live name itself"},
		"pre-live without name": {of(func(r *traffic.Route) { r.PreLiveHost = "" }), "its pre-live name is missing"},
		"pre-live unknown":      {of(func(r *traffic.Route) { r.PreLive = "g3" }), "generation g3 has no endpoints"},
		"weights between":       {route(side("g1", 95, "10.0.1.1"), side("g2", 5, "10.0.2.1")), "all users or none, and g1 has the weight 95"},
		"all twice":             {route(side("g1", 100, "10.0.1.1"), side("g2", 100, "10.0.2.1")), "g2 has the weight 100"},
		"one name twice":        {route(side("g1", 100, "10.0.1.1"), side("g1", 0, "10.0.2.1")), `"g1" is there twice`},
		"no label":              {route(side("g.1", 100, "10.0.1.1")), "no DNS label"},
		"weight on nothing":     {route(side("g1", 100), side("g2", 0, "10.0.2.1")), "generation g1 has no endpoints"},
		"two ports":             {of(func(r *traffic.Route) { r.Sides[1].Endpoints = []string{"10.0.2.1:8080"} }), "the ports 80 and 8080"},
		"no port":               {of(func(r *traffic.Route) { r.Sides[1].Endpoints = []string{"10.0.2.1"} }), "HOST:PORT"},
		"two names":             {route(side("g1", 100, "a.example.net", "b.example.net")), "a CNAME leads to one name alone"},
		"health":                {of(func(r *traffic.Route) { r.Health.Path = "/healthz" }), "DNS asks no endpoint for its health"},
		"too long":              {of(func(r *traffic.Route) { r.Host = strings.Repeat("a", 60) + "." + zone }), "too long for a name"},
	} {
		refused(t, reason, r.Apply(t.Context(), tc.route), fault.Invalid, tc.says)
	}
	if got := b.Serial(t); got != 1 {
		t.Errorf("the zone was changed by routes that are invalid: serial %d", got)
	}
	apply(t, r, two("g1"))
	refused(t, "users would be led nowhere", r.Apply(t.Context(), two("")), fault.Invalid, "it leads users to g1, and no side")
}

// TestOptions: what cannot be right is said when the router is made.
func TestOptions(t *testing.T) {
	good := settings{
		Options: dns.Options{Zone: zone, Owner: "us", TTL: time.Second}, Server: "127.0.0.1:53",
		Key: rfc2136.Key{Name: "k", Algorithm: "hmac-sha256", Secret: secret},
	}
	for reason, change := range map[string]func(*settings){
		`"127.0.0.1" is not a server's HOST:PORT`: func(o *settings) { o.Resolvers = []string{"127.0.0.1"} },
		"no name of a zone":                       func(o *settings) { o.Zone = "a..b" },
		"its owner":                               func(o *settings) { o.Owner = "a,b" },
		"a TTL of at least a second":              func(o *settings) { o.TTL = time.Millisecond },
		"at most one of prefix and suffix":        func(o *settings) { o.Prefix, o.Suffix = "a", "b" },
		"no name of a TSIG key":                   func(o *settings) { o.Key.Name = "" },
		`algorithm "hmac-md5"`:                    func(o *settings) { o.Key.Algorithm = "hmac-md5" },
		"not in base64":                           func(o *settings) { o.Key.Secret = secret + "!" },
	} {
		o := good
		change(&o)
		_, err := o.make()
		refused(t, reason, err, fault.Invalid, reason)
	}
}

// TestLocate: each name answers at an address of its own.
func TestLocate(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	r := router(t, options(b))
	_, err := r.Locate(t.Context(), host, host)
	refused(t, "no route", err, fault.Failed, "it leads to no generation")
	apply(t, r, two("g1"))
	for name, want := range map[string]string{host: "http://10.0.1.1:80", preLiveHost: "http://10.0.2.1:80"} {
		if got, err := r.Locate(t.Context(), host, name); err != nil || got != want {
			t.Errorf("%s: at %q, want %q: %v", name, got, want, err)
		}
	}
	_, err = r.Locate(t.Context(), host, "www.example.com")
	refused(t, "not of the route", err, fault.Failed, "it leads to no generation")
	safe := traffic.Route{Host: host, Sides: []traffic.Side{{Generation: "g1", Weight: 100, Endpoints: []string{"10.0.1.1:443"}}}}
	apply(t, r, safe)
	if got, err := r.Locate(t.Context(), host, host); err != nil || got != "https://shop.example.com" {
		t.Errorf("at %q, want the name that the certificate is for: %v", got, err)
	}
	if got := r.Entry(); got != "" {
		t.Errorf("all names answer at %q, want none", got)
	}
}
