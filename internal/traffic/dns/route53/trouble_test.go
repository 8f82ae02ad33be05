package route53

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/route53/route53test"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/suite"
)

// refused wants an error of a code, of one line, with a hint, that says something and no secret.
func refused(t *testing.T, reason string, err error, code fault.Code, says string) {
	t.Helper()
	text := fmt.Sprint(err)
	if fault.CodeOf(err) != code || fault.HintOf(err) == "" || !strings.Contains(text, says) || strings.Contains(text, "\n") || strings.Contains(text, route53test.Secret) {
		t.Errorf("%s: got %v (%s, hint %q), want one line of code %s that says %q", reason, err, fault.CodeOf(err), fault.HintOf(err), code, says)
	}
}

// TestTrouble: what Route 53 may say, in our words.
func TestTrouble(t *testing.T) {
	for reason, tc := range map[string]struct {
		status int
		code   string
		want   fault.Code
		says   string
	}{
		"may not":        {http.StatusForbidden, "AccessDenied", fault.Failed, "it does not let us (AccessDenied)"},
		"wrong secret":   {http.StatusForbidden, "SignatureDoesNotMatch", fault.Failed, "it does not let us (SignatureDoesNotMatch)"},
		"unknown zone":   {http.StatusNotFound, "NoSuchHostedZone", fault.Invalid, "no such hosted zone"},
		"something else": {http.StatusBadRequest, "Strange", fault.Failed, "it answers Strange: Rate exceeded"},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			a := route53test.Start(t, "")
			a.Trouble = func(*http.Request) (int, string) { return tc.status, tc.code }
			_, err := suite.Router(t, zoneOf(a)).Observe(t.Context(), "shop.example.com")
			refused(t, reason, err, tc.want, tc.says)
		})
	}
}

// TestThrottled: Route 53 takes five requests a second of an account, and the rest are sent again.
func TestThrottled(t *testing.T) {
	t.Parallel()
	a := route53test.Start(t, "")
	n := 0
	a.Trouble = func(*http.Request) (int, string) {
		if n++; n < 10 && n%3 != 0 {
			return http.StatusBadRequest, "Throttling"
		}
		return 0, ""
	}
	r, said := suite.Router(t, zoneOf(a)), ""
	r.Tell(func(format string, args ...any) { said += fmt.Sprintf(format, args...) + "\n" })
	suite.Apply(t, r, suite.Between(0))
	if !strings.Contains(said, "example.com waits: the change /change/C1 is not on all servers of Route 53") {
		t.Errorf("it said %q", said)
	}
	if got := a.DNS.Leads(t, "shop.example.com"); got != "10.0.1.1 10.0.1.2 shop.g1.example.com" {
		t.Errorf("it leads to %s", got)
	}
}

// TestAlways: a zone of another name, records of a kind that Crossfade does not keep, no credentials, nobody there.
func TestAlways(t *testing.T) {
	t.Parallel()
	a := route53test.Start(t, "")
	other := backendOf(a)
	other.zone = "example.net."
	session, err := other.Open(t.Context())
	if err == nil {
		err = session.Look(t.Context(), func() error { return nil })
	}
	refused(t, "another zone", err, fault.Invalid, "is not that of example.net")

	a.Sets = append(a.Sets, route53test.Set{Name: "shop.example.com.", Type: "A", Alias: &struct {
		DNSName string `xml:"DNSName"`
	}{"lb.example.net."}})
	refused(t, "an alias", suite.Router(t, zoneOf(a)).Apply(t.Context(), suite.Between(0)), fault.Refused, "shop.example.com has an alias, which Crossfade does not keep")
	a.Sets[len(a.Sets)-1] = route53test.Set{Name: "shop.example.com.", Type: "A", TTL: 60, HealthCheckID: "h", ResourceRecords: []route53test.Value{{Value: "10.0.0.1"}}}
	refused(t, "a health check", suite.Router(t, zoneOf(a)).Apply(t.Context(), suite.Between(0)), fault.Refused, "shop.example.com has a health check")

	gone := route53test.Start(t, "")
	gone.HTTP.Close()
	_, err = suite.Router(t, zoneOf(gone)).Observe(t.Context(), "shop.example.com")
	refused(t, "nobody there", err, fault.Unavailable, "it does not answer")
	if got := line("a\nb " + strings.Repeat("c", 1000)); !strings.HasPrefix(got, "a b c") || len(got) > 300 {
		t.Errorf("got %q", got)
	}
}

// TestApex: an alias at the zone's own name, where Route 53 has it for want of a CNAME, hides nothing of who answers for the zone.
func TestApex(t *testing.T) {
	t.Parallel()
	a := route53test.Start(t, "")
	a.Sets = append(a.Sets, route53test.Set{Name: "example.com.", Type: "A", Alias: &struct {
		DNSName string `xml:"DNSName"`
	}{"lb.example.net."}})
	session, err := backendOf(a).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	found, err := session.Ask(t.Context(), "example.com.", wire.TypeNS)
	if at := (dns.Set{Name: "example.com.", Kind: wire.TypeNS}); err != nil || len(found[at]) != 1 || len(found) != 1 {
		t.Errorf("the name servers are %v: %v", found, err)
	}
	for _, kind := range []uint16{wire.TypeA, wire.TypeCNAME, wire.TypeTXT} {
		_, err := session.Ask(t.Context(), "example.com.", kind)
		refused(t, wire.TypeToString[kind], err, fault.Refused, "example.com has an alias")
	}
}

// TestConditions: what somebody else has changed since it was read is not overwritten, and a batch that breaks a condition changes nothing.
func TestConditions(t *testing.T) {
	t.Parallel()
	a := route53test.Start(t, "")
	r := suite.Router(t, zoneOf(a))
	suite.Apply(t, r, suite.Between(0))
	before := a.Writes(t)
	session, err := backendOf(a).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var have dns.Records
	if err := session.Look(t.Context(), func() error {
		have, err = session.Ask(t.Context(), "shop.g1.example.com.", wire.TypeA)
		return err
	}); err != nil || len(have) != 1 {
		t.Fatalf("%v: %v", have, err)
	}
	for i := range a.Sets {
		if a.Sets[i].Name == "shop.g1.example.com." {
			a.Sets[i].ResourceRecords = []route53test.Value{{Value: "10.9.9.1"}}
		}
	}
	if err := session.Change(t.Context(), have, dns.Records{}); err != dns.ErrCollision || a.Writes(t) != before { //nolint:errorlint // itself
		t.Errorf("got %v after %d changes, want a collision", err, a.Writes(t)-before)
	}
}

// TestCredentials: they come of the environment, and where there are none, it is said.
func TestCredentials(t *testing.T) {
	a := route53test.Start(t, "")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL_ROUTE_53": a.HTTP.URL,
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_REGION": "", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
	look := func() error {
		b, err := New(Options{Zone: bindtest.Zone, HostedZone: route53test.HostedZone})
		if err != nil {
			return err
		}
		session, err := b.Open(t.Context())
		if err == nil {
			err = session.Look(t.Context(), func() error { return nil })
		}
		b.client.Options().HTTPClient.(interface{ GetTransport() *http.Transport }).GetTransport().CloseIdleConnections()
		return err
	}
	refused(t, "none", look(), fault.Failed, "there are no credentials")
	t.Setenv("AWS_ACCESS_KEY_ID", route53test.KeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", route53test.Secret)
	if err := look(); err != nil {
		t.Errorf("with credentials: %v", err)
	}
	t.Setenv("AWS_PROFILE", "nobody")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	refused(t, "no profile", look(), fault.Invalid, "the configuration of AWS cannot be read")
}

// TestTwoSets: of what a zone has, simple and weighted sets are read as they are.
func TestTwoSets(t *testing.T) {
	s := &session{Backend: &Backend{zone: "example.com."}, sets: dns.Records{}, odd: map[string]string{}}
	s.raw = map[dns.Set]types.ResourceRecordSet{}
	s.add(types.ResourceRecordSet{Name: aws.String("A.example.com."), Type: "TXT", TTL: aws.Int64(5), SetIdentifier: aws.String("x"), Weight: aws.Int64(3), ResourceRecords: []types.ResourceRecord{{Value: aws.String(`"one" "two"`)}}})
	for at, rrs := range s.sets {
		if at != (dns.Set{Name: "a.example.com.", Kind: wire.TypeTXT, Share: dns.Share{Name: "x", Percent: 3}}) || dns.Value(rrs[0]) != "onetwo" {
			t.Errorf("got %+v %v", at, rrs)
		}
	}
	if len(s.sets) != 1 {
		t.Errorf("got %v", s.sets)
	}
}
