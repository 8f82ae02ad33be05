package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/suite"
)

// hook is a provider that says to order what real ones do not.
type hook struct {
	domains, records, adjust string // "" for what a good one says
	status                   int    // 0 for that of a good one
	kind                     string // the media type; "" for that of a good one
}

func (h hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	is := mediaType
	if h.kind != "" {
		is = h.kind
	}
	w.Header().Set("Content-Type", is)
	if h.status != 0 {
		w.WriteHeader(h.status)
		return
	}
	answer := func(own, good string) {
		if own == "" {
			own = good
		}
		fmt.Fprint(w, own)
	}
	switch {
	case r.URL.Path == "/":
		answer(h.domains, "{}")
	case r.URL.Path == "/records" && r.Method == http.MethodGet:
		answer(h.records, "[]")
	case r.URL.Path == "/records":
		w.WriteHeader(http.StatusNoContent)
	case h.adjust != "":
		answer(h.adjust, "")
	default:
		var all []endpoint
		_ = json.NewDecoder(r.Body).Decode(&all) // nothing is answered then
		_ = json.NewEncoder(w).Encode(all)
	}
}

// TestAnswers: what a provider may say, in our words.
func TestAnswers(t *testing.T) {
	bind := bindtest.Start(t, "")
	for reason, tc := range map[string]struct {
		hook hook
		code fault.Code
		says string
	}{
		"other domains":        {hook{domains: `{"include":["example.net"]}`}, fault.Invalid, "its provider is for other domains: example.net"},
		"not ours":             {hook{domains: `{"exclude":["example.com"]}`}, fault.Invalid, "its provider is for other domains"},
		"another protocol":     {hook{kind: "text/html"}, fault.Invalid, "is no provider that speaks application/external.dns.webhook+json;version=1"},
		"not JSON":             {hook{records: "<html>"}, fault.Failed, "its provider's answer to GET /records cannot be read"},
		"it fails":             {hook{status: http.StatusInternalServerError}, fault.Unavailable, "its provider answers GET / with 500"},
		"it is something else": {hook{status: http.StatusNotFound}, fault.Failed, "its provider answers GET / with 404"},
		"it has shares":        {hook{records: `[{"dnsName":"shop.example.com","recordType":"CNAME","targets":["www.example.com"],"setIdentifier":"blue"}]`}, fault.Refused, "leads only a share of its users"},
		"a longer TTL":         {hook{adjust: `[{"dnsName":"_crossfade.shop.example.com","recordType":"TXT","targets":["x"],"recordTTL":60}]`}, fault.Invalid, "its provider makes the TTL of _crossfade.shop.example.com 60 seconds, not 1"},
		"it drops a record":    {hook{adjust: `[]`}, fault.Invalid, "its provider would not keep the record _crossfade.shop.example.com TXT as it is"},
	} {
		t.Run(reason, func(t *testing.T) {
			server := httptest.NewServer(tc.hook)
			t.Cleanup(server.Close)
			b := open(t, server.URL)
			err := suite.Router(t, &suite.Zone{Backend: b, Server: bind}).Apply(t.Context(), suite.Between(0))
			if fault.CodeOf(err) != tc.code || fault.HintOf(err) == "" || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("got %v (%s, hint %q), want %s that says %q", err, fault.CodeOf(err), fault.HintOf(err), tc.code, tc.says)
			}
		})
	}
	server := httptest.NewServer(hook{})
	server.Close()
	_, err := open(t, server.URL).Open(t.Context())
	if fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := New(Options{Zone: bindtest.Zone, URL: "http://user:geheim@ns"}); fault.CodeOf(err) != fault.Invalid || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a user: %v", err)
	}
}

// TestApex: shares at the zone's own name hide nothing of who answers for the zone.
func TestApex(t *testing.T) {
	server := httptest.NewServer(hook{records: `[{"dnsName":"example.com","recordType":"A","targets":["10.9.0.1"],"setIdentifier":"blue"},` +
		`{"dnsName":"example.com","recordType":"NS","targets":["ns1.example.com"]}]`})
	t.Cleanup(server.Close)
	session, err := open(t, server.URL).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	found, err := session.Ask(t.Context(), "example.com.", wire.TypeNS)
	if at := (dns.Set{Name: "example.com.", Kind: wire.TypeNS}); err != nil || len(found[at]) != 1 || len(found) != 1 {
		t.Errorf("the name servers are %v: %v", found, err)
	}
	if _, err := session.Ask(t.Context(), "example.com.", wire.TypeA); fault.CodeOf(err) != fault.Refused {
		t.Errorf("got %v, want it refused to lead users there", err)
	}
}

// TestAddressesIntoName: a provider cannot be asked to make a CNAME of addresses in one go, so it is refused before anything leads elsewhere.
func TestAddressesIntoName(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "shop 1 IN A 10.9.0.1\na-shop 1 IN TXT \"heritage=external-dns,external-dns/owner=crossfade-shop\"\n")
	r := suite.Router(t, &suite.Zone{Backend: open(t, provider(t, b)), Server: b})
	err := r.Apply(t.Context(), suite.Between(0))
	if fault.CodeOf(err) != fault.Refused || !strings.Contains(fmt.Sprint(err), "shop.example.com is led by a record of the type A and shall be led by CNAME") {
		t.Errorf("got %v", err)
	}
	if got := b.Leads(t, "shop.example.com"); got != "10.9.0.1" {
		t.Errorf("it leads to %s", got)
	}
}

// TestLong: a note that one string cannot hold is refused.
func TestLong(t *testing.T) {
	b := bindtest.Start(t, "")
	r, err := dns.New(dns.Options{Zone: bindtest.Zone, Owner: strings.Repeat("o", 250), TTL: 1e9, Authorities: []string{b.Address}}, open(t, provider(t, b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(t.Context(), suite.Between(0)); fault.CodeOf(err) != fault.Invalid || !strings.Contains(fmt.Sprint(err), "has more than 255 characters") {
		t.Errorf("got %v", err)
	}
}
