package step

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/route53/route53test"
)

// generations starts what answers for the generations old and new with their names, at two addresses and one port.
func generations(t *testing.T) (old, fresh string) {
	t.Helper()
	port := "0"
	var at []string
	for ip, name := range []string{"old", "new"} {
		l, err := net.Listen("tcp", net.JoinHostPort(fmt.Sprintf("127.0.0.%d", ip+1), port))
		ok(t, err)
		at = append(at, l.Addr().String())
		_, port, _ = net.SplitHostPort(at[0])
		s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })}
		go func() { _ = s.Serve(l) }() // until it is closed
		t.Cleanup(func() { s.Close() })
	}
	return at[0], at[1]
}

// TestMovedByDNS moves the users of a route by a real BIND: the checks ask where the names lead, and the old generation is idle, and leaves, once no
// resolver can lead to it.
func TestMovedByDNS(t *testing.T) {
	bind := bindtest.Start(t, "")
	key := filepath.Join(t.TempDir(), "key")
	ok(t, os.WriteFile(key, []byte(bindtest.Secret+"\n"), 0o600))
	zone := spec.Router{Name: "zone", DNS: &spec.DNSRouter{
		Zone: bindtest.Zone, Owner: "crossfade", TTL: spec.Duration(2 * time.Second), Authorities: []string{bind.Address},
		RFC2136: &spec.RFC2136Zone{Server: bind.Address, TSIG: spec.TSIG{Name: bindtest.Key, SecretFile: key}},
	}}
	b := newBench(t, func(p *plan.Plan) {
		p.Routes = p.Routes[:1]
		p.Routes[0].Router = zone
		p.Shift.Drain = spec.Duration(2 * time.Second)
		p.Shift.Checks = []spec.Check{{HTTP: &spec.HTTPCheck{Route: p.Routes[0].Host, Contains: "new"}}}
	})
	b.makeRouter = nil
	b.verify(t)
	old, fresh := generations(t)
	router, err := b.Toolbox.router(zone)
	ok(t, err)
	ok(t, router.Apply(t.Context(), traffic.Route{
		Host: "shop.example.com", PreLiveHost: "pre-live.shop.example.com", PreLive: "new", Drain: 2 * time.Second,
		Sides: []traffic.Side{{Generation: "old", Endpoints: []string{old}, Weight: 100}, {Generation: "new", Endpoints: []string{fresh}}},
	}))
	url, _, err := b.job(t.Context()).entry(live)("shop.example.com")
	ok(t, err)
	same(t, "the live name answers from the old generation", "http://"+old, url)

	begin := time.Now()
	ok(t, b.Weigh(t.Context(), Weight{Step: ID{Run: "r1", Name: "shift/100", Time: 1}, Share: 100}))
	same(t, "the live name", "127.0.0.2 shop.new.example.com", bind.Leads(t, "shop.example.com"))
	ok(t, b.Drain(t.Context(), ID{Run: "r1", Name: "drain", Time: 1}))
	if took := time.Since(begin); took < 4*time.Second {
		t.Errorf("the old generation was idle after %v, want the TTL and the drain to have passed", took)
	}
	ok(t, b.Quarantine(t.Context(), ID{Run: "r1", Name: "retire/quarantine", Time: 1}))
	same(t, "the intermediate name of the old generation", "", bind.Leads(t, "shop.old.example.com"))
	same(t, "the live name", "127.0.0.2 shop.new.example.com", bind.Leads(t, "shop.example.com"))
	story := strings.Join(b.story(t), "\n")
	for _, want := range []string{
		"progress shift/100: shop.example.com waits: what resolvers keep by the TTL lasts until ",
		"done shift/100: 100 % of the users are on new",
		"done drain: old answers nothing any more",
		"done retire/quarantine: old receives nothing and is out of every route",
	} {
		if !strings.Contains(story, want) {
			t.Errorf("the story lacks %q:\n%s", want, story)
		}
	}
}

// TestWeighedByRoute53 moves the users of a route in steps, which are weights in a hosted zone of a server that speaks as Route 53 does, with
// credentials of the environment.
func TestWeighedByRoute53(t *testing.T) {
	amazon := route53test.Start(t, "")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_ROUTE_53": amazon.HTTP.URL, "AWS_ACCESS_KEY_ID": route53test.KeyID, "AWS_SECRET_ACCESS_KEY": route53test.Secret,
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_PROFILE": "", "AWS_SESSION_TOKEN": "",
	} {
		t.Setenv(name, value)
	}
	b := newBench(t, func(p *plan.Plan) {
		p.Routes = p.Routes[:1]
		p.Routes[0].Router = spec.Router{Name: "zone", DNS: &spec.DNSRouter{
			Zone: bindtest.Zone, Owner: "crossfade", TTL: spec.Duration(time.Second), Authorities: []string{amazon.DNS.Address},
			Route53: &spec.Route53Zone{HostedZone: route53test.HostedZone},
		}}
		p.Shift.Drain = spec.Duration(5 * time.Second)
	})
	b.makeRouter = nil
	b.verify(t)
	old, fresh := generations(t)
	router, err := b.Toolbox.router(b.plan.Routes[0].Router)
	ok(t, err)
	ok(t, router.Apply(t.Context(), traffic.Route{
		Host: "shop.example.com", PreLiveHost: "pre-live.shop.example.com", PreLive: "new",
		Sides: []traffic.Side{{Generation: "old", Endpoints: []string{old}, Weight: 100}, {Generation: "new", Endpoints: []string{fresh}}},
	}))
	for i, share := range []int{5, 50, 100} {
		ok(t, b.Weigh(t.Context(), Weight{Step: ID{Run: "r1", Name: fmt.Sprintf("shift/%d", share), Time: i + 1}, Share: share}))
		const asked = 2000
		moved := 0
		for range asked {
			if amazon.DNS.Answers("shop.example.com") == "127.0.0.2 shop.new.example.com" {
				moved++
			}
		}
		if got := 100 * moved / asked; got < share-4 || got > share+4 {
			t.Errorf("%d %% of the answers lead to the new generation, want %d %%", got, share)
		}
	}
	ok(t, b.Drain(t.Context(), ID{Run: "r1", Name: "drain", Time: 1}))
	ok(t, b.Quarantine(t.Context(), ID{Run: "r1", Name: "retire/quarantine", Time: 1}))
	same(t, "the intermediate name of the old generation", "", amazon.DNS.Answers("shop.old.example.com"))
	same(t, "the live name", "127.0.0.2 shop.new.example.com", amazon.DNS.Answers("shop.example.com"))
}

// TestAzureOfTheEnvironment: a zone in Azure DNS is asked for with credentials of the environment, and an error says which zone it is.
func TestAzureOfTheEnvironment(t *testing.T) {
	for name, value := range map[string]string{"AZURE_TOKEN_CREDENTIALS": "dev", "PATH": t.TempDir()} {
		t.Setenv(name, value)
	}
	router, err := zone(spec.DNSRouter{Zone: "example.dev", Owner: "crossfade", Azure: &spec.AzureZone{
		Subscription: "0b1f6471-1bf0-4dda-aec3-111122223333", ResourceGroup: "dns-production",
	}})
	ok(t, err)
	_, err = router.Observe(t.Context(), "shop.example.dev")
	same(t, "the error", "cannot read the route of shop.example.dev in the zone example.dev at Azure DNS, resource group dns-production: there are no credentials for it", fmt.Sprint(err))
}
