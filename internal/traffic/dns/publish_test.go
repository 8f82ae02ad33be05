package dns_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
)

// texts are the TXT records that a server answers at a name.
func texts(t *testing.T, b *bindtest.Server, name string) []string {
	t.Helper()
	answer, err := b.Query(name, wire.TypeTXT)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, rr := range answer.Answer {
		if text := dns.TextOf(rr); text != "" {
			all = append(all, text)
		}
	}
	return all
}

// TestPublish adds TXT records beside each other, where CNAMEs lead, and takes away its own.
func TestPublish(t *testing.T) {
	const at = "_acme-challenge.shop.example.com"
	b := bindtest.Start(t, "_acme-challenge.led IN CNAME proofs\n_acme-challenge.away IN CNAME elsewhere.example.net.\n"+
		"_acme-challenge.circle IN CNAME circle\ncircle IN CNAME _acme-challenge.circle\n")
	o := options(b)
	o.Resolvers = []string{b.Address} // which knows no other zone
	r := router(t, o)
	publish := func(name, text string) {
		t.Helper()
		if err := r.Publish(t.Context(), name, text); err != nil {
			t.Fatalf("%v (%s)", err, fault.HintOf(err))
		}
	}
	publish(at, "one")
	publish(at, "one")
	publish(at, "two") // of the wildcard at the same name
	if got := len(texts(t, b, at)); got != 2 {
		t.Errorf("%d records, want both", got)
	}
	for range 2 {
		if err := r.Withdraw(t.Context(), at, "one"); err != nil {
			t.Fatal(err)
		}
	}
	if got := texts(t, b, at); len(got) != 1 || got[0] != "two" {
		t.Errorf("left are %v, want the other one", got)
	}
	publish("_acme-challenge.led.example.com", "led")
	if got := texts(t, b, "proofs.example.com"); len(got) != 1 || got[0] != "led" {
		t.Errorf("where the CNAME leads are %v", got)
	}
	if err := r.Withdraw(t.Context(), "_acme-challenge.led.example.com", "led"); err != nil || len(texts(t, b, "proofs.example.com")) > 0 {
		t.Errorf("it is not taken away: %v", err)
	}
	refused(t, "in a circle", r.Publish(t.Context(), "_acme-challenge.circle.example.com", "x"), fault.Invalid, "CNAMEs")
	refused(t, "a name of nobody here", r.Publish(t.Context(), "_acme-challenge.away.example.com", "x"), fault.Unavailable, "elsewhere.example.net")
}

// TestPublishElsewhere follows a CNAME of another zone below ours, by a resolver.
func TestPublishElsewhere(t *testing.T) {
	b := bindtest.Start(t, "")
	o := options(b)
	o.Zone, o.Resolvers = "proofs.example.com", []string{b.Address}
	b.Change(t, "_acme-challenge.www.example.com. 60 CNAME www.proofs.example.com.")
	r := router(t, o)
	err := r.Publish(t.Context(), "_acme-challenge.mail.example.com", "x")
	refused(t, "without a CNAME", err, fault.Invalid, "_acme-challenge.mail.example.com is not below the zone")
	next, err := r.Alias(t, "_acme-challenge.www.example.com.")
	if err != nil || next != "www.proofs.example.com." {
		t.Errorf("the CNAME leads to %q: %v", next, err)
	}
}

// TestPublishBesideWildcards: what a wildcard answers (RFC 4592) is neither followed nor taken for what is there.
func TestPublishBesideWildcards(t *testing.T) {
	t.Parallel()
	for reason, more := range map[string]string{
		"a text": "* 7 IN TXT \"v=spf1 -all\"\n", "a CNAME out of the zone": "* 7 IN CNAME lb.example.net.\n", "a CNAME within": "* 7 IN CNAME www\n",
	} {
		b := bindtest.Start(t, more)
		before := b.All(t)
		o := options(b)
		o.Resolvers = []string{b.Address}
		r := router(t, o)
		for _, text := range []string{"one", "two", "one"} {
			if err := r.Publish(t.Context(), "_acme-challenge.shop.example.com", text); err != nil {
				t.Errorf("%s: %v (%s)", reason, err, fault.HintOf(err))
			}
		}
		want := append([]string{`_acme-challenge.shop.example.com. 1 IN TXT "one"`, `_acme-challenge.shop.example.com. 1 IN TXT "two"`}, before...)
		slices.Sort(want)
		if diff := cmp.Diff(want, b.All(t)); diff != "" {
			t.Errorf("%s: the zone (-want +got):\n%s", reason, diff)
		}
		for _, text := range []string{"one", "two", "two"} {
			if err := r.Withdraw(t.Context(), "_acme-challenge.shop.example.com", text); err != nil {
				t.Errorf("%s: %v (%s)", reason, err, fault.HintOf(err))
			}
		}
		if diff := cmp.Diff(before, b.All(t)); diff != "" {
			t.Errorf("%s: the zone in the end (-before +after):\n%s", reason, diff)
		}
	}
}

// TestAsksOnce: what is known to be ours is not asked for whether it is of a wildcard.
func TestAsksOnce(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	x := startBetween(t, b)
	o := options(b)
	o.Server = x.address
	r := router(t, o)
	asked := 0
	x.watch(func(m, answer *wire.Msg) bool {
		if answer == nil && m.Opcode == wire.OpcodeUpdate && len(m.Ns) == 0 { // but conditions
			asked++
		}
		return true
	})
	for range 2 {
		apply(t, r, two("g1"))
		if err := r.Publish(t.Context(), "_acme-challenge.shop.example.com", "one"); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Withdraw(t.Context(), "_acme-challenge.shop.example.com", "one"); err != nil || asked > 0 {
		t.Errorf("it asked %d times: %v", asked, err)
	}
}

// TestPublishAwaited waits for every authoritative server, and says which is late.
func TestPublishAwaited(t *testing.T) {
	b, deaf := bindtest.Start(t, ""), bindtest.Start(t, "")
	o := options(b)
	o.Authorities, o.Wait = []string{b.Address, deaf.Address}, 2*time.Second
	err := router(t, o).Publish(t.Context(), "_acme-challenge.shop.example.com", "x")
	refused(t, "a server that does not follow", err, fault.Failed, deaf.Address+" does not answer the TXT record yet")
	if strings.Contains(err.Error(), b.Address+" does not") {
		t.Errorf("the primary does: %v", err)
	}
}
