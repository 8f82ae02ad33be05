package dns_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
)

// TestOwners: records of others are refused with who owns them, and left as they are; those that were handed over are led.
func TestOwners(t *testing.T) {
	t.Parallel()
	const theirs, ours = `"heritage=external-dns,external-dns/owner=cluster-a,external-dns/resource=ingress/shop/web"`, `"heritage=external-dns,external-dns/owner=crossfade-shop"`
	cases := map[string]struct {
		zone           string // what is there
		prefix, suffix string
		says           string // "" where the route is taken
	}{
		"external-dns":                  {zone: "shop 1 IN A 10.0.1.1\na-shop 1 IN TXT " + theirs, says: `shop.example.com: it belongs to the owner "cluster-a"`},
		"external-dns, a CNAME":         {zone: "shop 1 IN CNAME www\ncname-shop 1 IN TXT " + theirs, says: `it belongs to the owner "cluster-a"`},
		"external-dns before 0.12":      {zone: "shop 1 IN A 10.0.1.1\nshop 1 IN TXT " + theirs, says: `it belongs to the owner "cluster-a"`},
		"with a prefix":                 {zone: "shop 1 IN A 10.0.1.1\nedns-a-shop 1 IN TXT " + theirs, prefix: "edns-", says: `it belongs to the owner "cluster-a"`},
		"with the type in a prefix":     {zone: "shop 1 IN A 10.0.1.1\na.edns.shop 1 IN TXT " + theirs, prefix: "%{record_type}.edns.", says: `it belongs to the owner "cluster-a"`},
		"with a suffix":                 {zone: "shop 1 IN A 10.0.1.1\na-shop-edns 1 IN TXT " + theirs, suffix: "-edns", says: `it belongs to the owner "cluster-a"`},
		"quoted twice":                  {zone: "shop 1 IN A 10.0.1.1\na-shop 1 IN TXT " + `"\"` + strings.Trim(theirs, `"`) + `\""`, says: `it belongs to the owner "cluster-a"`},
		"of others, already alike":      {zone: "shop 1 IN CNAME shop.g1\ncname-shop 1 IN TXT " + theirs, says: `it belongs to the owner "cluster-a"`},
		"claimed, and not there":        {zone: "cname-shop 1 IN TXT " + theirs, says: `it belongs to the owner "cluster-a"`},
		"the pre-live name":             {zone: "next.shop 1 IN A 10.0.1.1\na-next.shop 1 IN TXT " + theirs, says: `next.shop.example.com: it belongs to the owner "cluster-a"`},
		"an intermediate name":          {zone: "shop.g1 1 IN A 10.0.1.1\na-shop.g1 1 IN TXT " + theirs, says: `shop.g1.example.com: it belongs to the owner "cluster-a"`},
		"another Crossfade":             {zone: `_crossfade.shop 1 IN TXT "owner=crossfade-other&live=g1&side=g1&rest=0&lowered=0&moved=0&drain=0s"`, says: "its route belongs to the owner crossfade-other"},
		"a note that nobody understand": {zone: `_crossfade.shop 1 IN TXT "hello"`, says: "the TXT record _crossfade.shop.example.com was changed by other hands"},
		"nobody's":                      {zone: "shop 1 IN A 10.0.1.1", says: "shop.example.com: nobody owns its records, and they lead elsewhere"},
		"nobody's, to the next one":     {zone: "shop 1 IN CNAME shop.g2", says: "nobody owns its records"},
		"a text in the registry":        {zone: `cname-shop 1 IN TXT "hello"`, says: "at cname-shop.example.com: there is a TXT record of somebody else"},
		"nobody's, already alike":       {zone: "shop 1 IN CNAME shop.g1"},
		"handed over":                   {zone: "shop 1 IN A 10.9.0.1\nshop 1 IN A 10.9.0.2\na-shop 1 IN TXT " + ours},
		"handed over, a CNAME":          {zone: "shop 1 IN CNAME www\ncname-shop 1 IN TXT " + ours},
		"wildcards'":                    {zone: "*.g1 1 IN CNAME www\n*.shop 1 IN A 10.9.9.9"},
		"the live name is a wildcard's": {zone: "* 1 IN A 10.9.9.9", says: "users may reach it by a wildcard of the zone"},
		"texts of a wildcard":           {zone: "* 1 IN TXT \"v=spf1 -all\"\n*.shop 1 IN TXT hello\n*.g1 1 IN TXT hello"},
		"claims of a wildcard":          {zone: "*.g1 1 IN A 10.9.9.9\n* 1 IN TXT " + theirs},
		"mail beside it":                {zone: "shop 1 IN MX 10 www", says: "shop.example.com has other records, such as MX or TXT"},
		"handed over, mail beside it":   {zone: "shop 1 IN A 10.9.0.1\nshop 1 IN MX 10 www\na-shop 1 IN TXT " + ours, says: "shop.example.com has other records"},
	}
	for reason, tc := range cases {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			b := bindtest.Start(t, tc.zone+"\n")
			o := options(b)
			o.Prefix, o.Suffix = tc.prefix, tc.suffix
			r := router(t, o)
			before := b.All(t)
			err := r.Apply(t.Context(), two("g1"))
			if tc.says == "" {
				if err != nil {
					t.Fatalf("%v (%s)", err, fault.HintOf(err))
				}
				if got := b.Leads(t, host); got != "10.0.1.1 10.0.1.2 shop.g1.example.com" {
					t.Errorf("it leads to %s", got)
				}
				return
			}
			code := fault.Refused
			if strings.Contains(tc.zone, "hello") && strings.HasPrefix(tc.zone, dns.StateLabel) {
				code = fault.Failed
			}
			refused(t, reason, err, code, tc.says)
			for _, line := range before {
				if !strings.Contains(strings.Join(b.All(t), "\n"), line) {
					t.Errorf("%s is gone", line)
				}
			}
			if got := b.Leads(t, host); strings.Contains(got, "10.0.1.2") {
				t.Errorf("it leads to %s", got)
			}
		})
	}
}

// TestKeys: keys that are wrong or may not, and zones that are not the server's.
func TestKeys(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	for reason, tc := range map[string]struct {
		change func(*settings)
		code   fault.Code
		says   string
		reads  bool
	}{
		"unknown key":     {func(o *settings) { o.Key.Name = "nobody" }, fault.Invalid, "it does not know the TSIG key nobody with hmac-sha256 (BADKEY)", false},
		"wrong secret":    {func(o *settings) { o.Key.Secret = otherSecret }, fault.Invalid, "the TSIG key crossfade has another secret there (BADSIG)", false},
		"wrong algorithm": {func(o *settings) { o.Key.Algorithm = "hmac-sha512" }, fault.Invalid, "BADKEY", false},
		"may not":         {func(o *settings) { o.Key.Name, o.Key.Secret = "reader", otherSecret }, fault.Failed, "it refuses updates of example.com by the key reader", true},
		"not its zone":    {func(o *settings) { o.Zone = "example.net" }, fault.Invalid, "it is not authoritative for example.net (REFUSED)", false},
		"below a zone":    {func(o *settings) { o.Zone = "shop.example.com" }, fault.Invalid, "it has no zone shop.example.com", false},
	} {
		o := options(b)
		tc.change(&o)
		r := router(t, o)
		wanted := two("g1")
		wanted.Host, wanted.PreLiveHost = "shop."+o.Zone, "next."+o.Zone
		refused(t, reason+", apply", r.Apply(t.Context(), wanted), tc.code, tc.says, "shop."+o.Zone, b.Address)
		if _, err := r.Observe(t.Context(), wanted.Host); !tc.reads {
			refused(t, reason+", observe", err, tc.code, tc.says)
		} else if err != nil {
			t.Errorf("%s: it may read: %v", reason, err)
		}
	}
	if got := b.Serial(t); got != 1 {
		t.Errorf("the zone was changed: serial %d", got)
	}
}

// TestDelegated: a name may be in the zone by its name, and belong to another.
func TestDelegated(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "g1 60 IN NS ns.example.net.\n")
	refused(t, "delegated", router(t, options(b)).Apply(t.Context(), two("g1")), fault.Invalid, "it is not authoritative for shop.g1.example.com")
}

// TestSecondary: a server that copies the zone answers, but takes no updates.
func TestSecondary(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	second := bindtest.New(t)
	second.Secondary(t, b)
	o := options(b)
	o.Server = second.Address
	refused(t, "a secondary", router(t, o).Apply(t.Context(), two("g1")), fault.Failed, "it refuses updates of example.com")
}

// TestAway: a server that is gone is worth asking again.
func TestAway(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	r := router(t, options(b))
	apply(t, r, two("g1"))
	b.Stop()
	_, observed := r.Observe(t.Context(), host)
	_, located := r.Locate(t.Context(), host, host)
	_, leading := r.Leading(t.Context(), host, "g2")
	for call, err := range map[string]error{
		"observe": observed, "locate": located, "leading": leading, "apply": r.Apply(t.Context(), two("g2")), "remove": r.Remove(t.Context(), host),
	} {
		refused(t, call, err, fault.Unavailable, "it does not answer")
	}
}

// TestMeanwhile has somebody else change the live name after it was read and before it is written: their change is not overwritten.
func TestMeanwhile(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	x := startBetween(t, b)
	o := options(b)
	o.Server = x.address
	r := router(t, o)
	apply(t, r, two("g1"))
	x.watch(func(m, answer *wire.Msg) bool {
		if m.Opcode == wire.OpcodeUpdate && answer == nil {
			b.Change(t, "shop.example.com. 0 IN CNAME .", "shop.example.com. 5 IN CNAME www.example.com.")
			x.seen = nil
		}
		return true
	})
	refused(t, "apply", r.Apply(t.Context(), two("g2")), fault.Failed, "somebody else changed where it leads")
	if got := b.Leads(t, host); got != "10.9.9.9 www.example.com" {
		t.Errorf("it leads to %s, want what the other one wrote", got)
	}
	_, err := r.Observe(t.Context(), host)
	refused(t, "observe", err, fault.Failed, "somebody else changed where it leads")
}

// TestWhileRead has another process move the users while the route is read: it is seen as it was or as it is, not half of each.
func TestWhileRead(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	other := router(t, options(b))
	apply(t, other, two("g1"))
	x := startBetween(t, b)
	o := options(b)
	o.Server = x.address
	x.watch(func(m, answer *wire.Msg) bool {
		if answer == nil && m.Question[0].Name == host+"." {
			x.seen = nil
			apply(t, other, two("g2"))
		}
		return true
	})
	if diff := cmp.Diff(two("g2"), observe(t, router(t, o)).Route); diff != "" {
		t.Errorf("observed (-applied +observed):\n%s", diff)
	}
}

// TestTwo has two processes apply the same route at a time: both come to the same end.
func TestTwo(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	done := make(chan error)
	for range 2 {
		go func() {
			r, err := options(b).make()
			if err == nil {
				err = r.Apply(t.Context(), two("g1"))
			}
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(two("g1"), observe(t, router(t, options(b))).Route); diff != "" {
		t.Errorf("observed (-applied +observed):\n%s", diff)
	}
}

// TestHosts: routes of one zone do not know each other.
func TestHosts(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	r := router(t, options(b))
	apply(t, r, two("g1"))
	before := b.All(t)
	other := traffic.Route{Host: "api.shop.example.com", PreLiveHost: "next.api.shop.example.com", PreLive: "g2", Sides: two("g2").Sides}
	apply(t, r, other)
	if seen, err := r.Observe(t.Context(), other.Host); err != nil || cmp.Diff(other, seen.Route) != "" {
		t.Errorf("%v: %s", err, cmp.Diff(other, seen.Route))
	}
	if diff := cmp.Diff(two("g1"), observe(t, r).Route); diff != "" {
		t.Errorf("the first (-applied +observed):\n%s", diff)
	}
	if err := r.Remove(t.Context(), other.Host); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, b.All(t)); diff != "" {
		t.Errorf("the zone (-before +after):\n%s", diff)
	}
}
