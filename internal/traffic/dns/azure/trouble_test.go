package azure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/azure/azuretest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/suite"
)

const host = "shop.example.com"

// refused wants an error of a code, of one line, with a hint, that says something and no secret.
func refused(t *testing.T, reason string, err error, code fault.Code, says string) {
	t.Helper()
	text := fmt.Sprint(err)
	if fault.CodeOf(err) != code || fault.HintOf(err) == "" || !strings.Contains(text, says) || strings.Contains(text, "\n") || strings.Contains(text, "geheim") {
		t.Errorf("%s: got %v (%s, hint %q), want one line of code %s that says %q", reason, err, fault.CodeOf(err), fault.HintOf(err), code, says)
	}
}

// observe asks for the route of a host by a backend.
func observe(t *testing.T, a *azuretest.Server, b *Backend) error {
	t.Helper()
	_, err := suite.Router(t, &suite.Zone{Backend: b, Server: a.DNS}).Observe(t.Context(), host)
	return err
}

// TestTrouble: what Azure may say, in our words.
func TestTrouble(t *testing.T) {
	for reason, tc := range map[string]struct {
		status        int
		code, message string
		want          fault.Code
		says          string
	}{
		"may not":         {http.StatusForbidden, "AuthorizationFailed", "geheim", fault.Failed, "it does not let us (AuthorizationFailed)"},
		"an old token":    {http.StatusUnauthorized, "ExpiredAuthenticationToken", "geheim", fault.Failed, "it does not let us (ExpiredAuthenticationToken)"},
		"no subscription": {http.StatusBadRequest, "InvalidSubscriptionId", "", fault.Invalid, "it has no such zone (InvalidSubscriptionId)"},
		"not found":       {http.StatusNotFound, "", "", fault.Invalid, "it has no such zone (404)"},
		"throttled":       {http.StatusTooManyRequests, "SubscriptionRequestsThrottled", "for an hour", fault.Unavailable, "it is busy (SubscriptionRequestsThrottled)"},
		"pending":         {http.StatusConflict, "Conflict", "Another operation is pending for requested object.", fault.Unavailable, "it is busy (Conflict)"},
		"locked":          {http.StatusConflict, "ScopeLocked", "The scope\ncannot perform it.", fault.Failed, "it answers ScopeLocked: The scope cannot perform it."},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			a := azuretest.Start(t, "")
			a.Trouble = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Retry-After", "3600")
				azuretest.Refuse(w, tc.status, tc.code, tc.message)
				return true
			}
			refused(t, reason, observe(t, a, backendOf(t, a, options(), token(azuretest.Token))), tc.want, tc.says)
		})
	}
}

// TestWhere: a zone that is not there, another token, and nobody there.
func TestWhere(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	for reason, tc := range map[string]struct {
		change func(*Options)
		token  token
		want   fault.Code
		says   string
	}{
		"another zone":           {func(o *Options) { o.Zone = "example.net" }, azuretest.Token, fault.Invalid, "it has no such zone (ParentResourceNotFound)"},
		"another resource group": {func(o *Options) { o.ResourceGroup = "other" }, azuretest.Token, fault.Invalid, "it has no such zone (ResourceGroupNotFound)"},
		"another subscription":   {func(o *Options) { o.Subscription = "other" }, azuretest.Token, fault.Invalid, "it has no such zone (SubscriptionNotFound)"},
		"another token":          {func(*Options) {}, "geheim", fault.Failed, "it does not let us (InvalidAuthenticationToken)"},
	} {
		o := options()
		tc.change(&o)
		session, err := backendOf(t, a, o, tc.token).Open(t.Context())
		if err == nil {
			err = session.Look(t.Context(), func() error { return nil })
		}
		refused(t, reason, err, tc.want, tc.says)
	}
	b := backendOf(t, a, options(), token(azuretest.Token))
	a.HTTP.Close()
	refused(t, "nobody there", observe(t, a, b), fault.Unavailable, "it does not answer")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := (&session{Backend: b}).Ask(ctx, "shop.example.com.", wire.TypeA)
	refused(t, "cancelled", err, fault.Unavailable, "it does not answer in time")
	if got := line("a\nb " + strings.Repeat("c", 1000)); !strings.HasPrefix(got, "a b c") || len(got) > 300 {
		t.Errorf("got %q", got)
	}
}

// TestThrottled: requests that were throttled are sent again when Azure says, and what was done without anybody being told is seen.
func TestThrottled(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	asked, put := 0, 0
	a.Trouble = func(w http.ResponseWriter, _ *http.Request) bool {
		if asked++; asked == 1 || asked == 4 {
			w.Header().Set("Retry-After", "1")
			azuretest.Refuse(w, http.StatusTooManyRequests, "SubscriptionRequestsThrottled", "")
			return true
		}
		return false
	}
	a.Lost = func(r *http.Request) bool {
		if r.Method == http.MethodPut {
			put++
		}
		return r.Method == http.MethodPut && (put == 1 || put == 5)
	}
	suite.Apply(t, suite.Router(t, zoneOf(t, a)), suite.Between(0))
	if got := a.DNS.Leads(t, host); got != "10.0.1.1 10.0.1.2 shop.g1.example.com" {
		t.Errorf("it leads to %s", got)
	}
}

// TestConditions: what somebody else has changed, deleted or made since it was read is not overwritten.
func TestConditions(t *testing.T) {
	t.Parallel()
	const name = "shop.example.com."
	to := func(ttl uint32, target string) dns.Records {
		rr, err := dns.Record(name, wire.TypeCNAME, ttl, target)
		if err != nil {
			t.Fatal(err)
		}
		rs := dns.Records{}
		rs.Add(rr)
		return rs
	}
	theirs := func(a *azuretest.Server, target string) {
		a.Put("CNAME/shop", func(s *azuretest.Set) {
			s.Properties.CNAME, s.Properties.TTL = &azuretest.Record{Cname: target}, 60
		})
	}
	for reason, tc := range map[string]struct {
		before bool // there is a record
		want   dns.Records
	}{
		"changed, to be changed": {true, to(1, "shop.g1.example.com")},
		"changed, to be deleted": {true, dns.Records{}},
		"made, to be made":       {false, to(1, "shop.g1.example.com")},
	} {
		a := azuretest.Start(t, "")
		if tc.before {
			theirs(a, "www.example.com")
		}
		s, err := zoneOf(t, a).Backend.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		have, err := s.Ask(t.Context(), name, wire.TypeCNAME)
		if err != nil || len(have) > 0 != tc.before {
			t.Fatalf("%v: %v", have, err)
		}
		theirs(a, "theirs.example.net")
		if err := s.Change(t.Context(), have, tc.want); !errors.Is(err, dns.ErrCollision) {
			t.Errorf("%s: got %v, want a collision", reason, err)
		}
		if got := a.DNS.Answers(host); got != "theirs.example.net" {
			t.Errorf("%s: it leads to %s", reason, got)
		}
		have, err = s.Ask(t.Context(), name, wire.TypeCNAME)
		if err != nil || dns.Value(have[dns.Set{Name: name, Kind: wire.TypeCNAME}][0]) != "theirs.example.net" {
			t.Errorf("%s: read again, it is %v: %v", reason, have, err)
		}
	}
}

// TestLists: a zone whose list takes several requests is read as it is at one moment.
func TestLists(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "shop 1 IN MX 10 www\nzebra 1 IN CNAME www\n")
	changes := 1
	a.Trouble = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("$skiptoken") && changes > 0 { // the first page is on its way
			changes--
			a.Put("A/www", func(s *azuretest.Set) { s.Properties.A[0].IPv4Address = fmt.Sprintf("10.9.9.%d", 100-changes) })
		}
		return false
	}
	look := func() (string, error) {
		s, err := zoneOf(t, a).Backend.Open(t.Context())
		if err != nil {
			return "", err
		}
		var found dns.Records
		err = s.Look(t.Context(), func() (err error) {
			found, err = s.Ask(t.Context(), "www.example.com.", wire.TypeA)
			return err
		})
		if err != nil {
			return "", err
		}
		return dns.Value(found[dns.Set{Name: "www.example.com.", Kind: wire.TypeA}][0]), nil
	}
	if got, err := look(); got != "10.9.9.100" || err != nil {
		t.Errorf("it is %s, want what was changed meanwhile: %v", got, err)
	}
	changes = 99
	_, err := look()
	refused(t, "all the time", err, fault.Unavailable, "its record sets change all the time")
}

// TestOccupied: a CNAME at a name that has other records, which the name servers do not show yet.
func TestOccupied(t *testing.T) {
	t.Parallel()
	s, err := zoneOf(t, azuretest.Start(t, "shop 1 IN MX 10 www\n")).Backend.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	have, err := s.Ask(t.Context(), "shop.example.com.", wire.TypeCNAME)
	if err != nil {
		t.Fatal(err)
	}
	rr, err := dns.Record("shop.example.com.", wire.TypeCNAME, 1, "www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	want := dns.Records{}
	want.Add(rr)
	refused(t, "mail", s.Change(t.Context(), have, want), fault.Refused, "it refuses the change: The CNAME record could not be created because another record with the same name already exists")
}

// TestEtag: without an etag, nothing is changed.
func TestEtag(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "shop 1 IN CNAME www\n")
	s := &session{Backend: backendOf(t, a, options(), token(azuretest.Token))}
	have, err := s.Ask(t.Context(), "shop.example.com.", wire.TypeCNAME)
	if err != nil || len(have) != 1 {
		t.Fatalf("%v: %v", have, err)
	}
	for at := range have {
		s.raw[at].Etag = nil
	}
	refused(t, "none", s.Change(t.Context(), have, dns.Records{}), fault.Failed, "it gives no etag of CNAME shop.example.com")
	if got := a.Get("CNAME/shop").Properties.CNAME; got == nil {
		t.Error("it was changed")
	}
}

// TestBeside: another process that had not moved the live name yet wrote its note after ours had. Who wants what there is goes on, others do not.
func TestBeside(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	r := suite.Router(t, zoneOf(t, a))
	suite.Apply(t, r, suite.Between(0))
	a.Put("TXT/_crossfade.shop", func(s *azuretest.Set) {
		s.Properties.TXT[0].Value[0] = strings.Replace(s.Properties.TXT[0].Value[0], "live=g1&", "", 1)
	})
	refused(t, "to another", r.Apply(t.Context(), suite.Between(100)), fault.Failed, "somebody else changed where it leads")
	suite.Apply(t, r, suite.Between(0))
	if seen := suite.Observed(t, r, host); seen == nil || seen.Sides[0].Weight != 100 {
		t.Errorf("observed: %+v", seen)
	}
	suite.Apply(t, r, suite.Between(100))
}

// TestCollisions: where another process is in between all the time, what was read may be the same, and nothing else is at the name.
func TestCollisions(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "")
	left := 5
	a.Trouble = func(w http.ResponseWriter, r *http.Request) bool {
		if left == 0 || !strings.Contains(r.URL.Path, "/CNAME/") {
			return false
		}
		left--
		azuretest.Refuse(w, http.StatusPreconditionFailed, "PreconditionFailed", "")
		return true
	}
	suite.Apply(t, suite.Router(t, zoneOf(t, a)), suite.Between(0))
}

// TestKept: what else is at a record set is kept, and an alias record set is refused.
func TestKept(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "shop 1 IN CNAME www\ncname-shop 1 IN TXT \"heritage=external-dns,external-dns/owner="+suite.Owner+"\"\n")
	a.Put("CNAME/shop", func(s *azuretest.Set) { s.Properties.Metadata = map[string]string{"team": "shop"} })
	r := suite.Router(t, zoneOf(t, a))
	suite.Apply(t, r, suite.Between(0))
	if got := a.Get("CNAME/shop").Properties; got.Metadata["team"] != "shop" || got.CNAME.Cname != "shop.g1.example.com" {
		t.Errorf("it is %+v", got)
	}
	a.Put("CNAME/shop", func(s *azuretest.Set) { s.Properties.TargetResource.ID = "/subscriptions/x" })
	refused(t, "an alias", r.Apply(t.Context(), suite.Between(0)), fault.Refused, "shop.example.com has an alias record set, which Crossfade does not keep")
}

// TestCut stops a move of users, with a generation that comes and one that goes, at each request that changes the zone: both names lead to
// addresses then, and the next Apply completes it.
func TestCut(t *testing.T) {
	t.Parallel()
	cutAtEach(t, zoneOf)
}

// cutAtEach is TestCut for zones of a kind.
func cutAtEach(t *testing.T, zone func(*testing.T, *azuretest.Server) *suite.Zone) {
	t.Helper()
	stands, want := suite.Between(0), suite.Between(100)
	stands.Sides, stands.PreLive = append(stands.Sides, suite.Side("h00", 0, "10.0.3.1")), "h00"
	want.Sides, want.PreLive = append(want.Sides, suite.Side("h01", 0, "10.0.3.1")), "h01"
	const most = 20
	cut := make(chan bool, most)
	t.Run("at", func(t *testing.T) {
		for at := range most {
			t.Run(fmt.Sprint(at), func(t *testing.T) {
				t.Parallel()
				a := azuretest.Start(t, "")
				r := suite.Router(t, zone(t, a))
				suite.Apply(t, r, stands)
				left := at
				a.Trouble = func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method == http.MethodGet {
						return false
					}
					if left--; left < 0 {
						azuretest.Refuse(w, http.StatusBadRequest, "Cut", "")
					}
					return left < 0
				}
				err := r.Apply(t.Context(), want)
				cut <- err != nil
				for _, name := range []string{host, "next." + host} {
					if answer, err := a.DNS.Query(name, wire.TypeA); err != nil || len(answer.Answer) < 2 {
						t.Errorf("%s leads nowhere: %v %v", name, answer, err)
					}
				}
				a.Trouble = nil
				suite.Apply(t, r, want)
				if got := a.DNS.Leads(t, host); got != "10.0.2.1 shop.g2.example.com" {
					t.Errorf("it leads to %s", got)
				}
				if all := strings.Join(a.All(t), "\n"); strings.Contains(all, "h00") {
					t.Errorf("something is left:\n%s", all)
				}
			})
		}
	})
	cuts := 0
	for range most {
		if <-cut {
			cuts++
		}
	}
	t.Logf("cut at each of %d requests", cuts)
	if cuts < 10 || cuts == most {
		t.Errorf("there were %d requests to cut at", cuts)
	}
}

// TestLag: name servers that have a CNAME long before the addresses that it leads to never answer it without them.
func TestLag(t *testing.T) {
	t.Parallel()
	a := azuretest.Start(t, "shop 1 IN CNAME www\ncname-shop 1 IN TXT \"heritage=external-dns,external-dns/owner="+suite.Owner+"\"\n")
	a.Lag = func(key string) time.Duration {
		if strings.HasPrefix(key, "CNAME/") {
			return 10 * time.Millisecond
		}
		return 1500 * time.Millisecond
	}
	done := make(chan error)
	go func() { done <- suite.Router(t, zoneOf(t, a)).Apply(t.Context(), suite.Between(0)) }()
	for {
		answer, err := a.DNS.Query(host, wire.TypeA)
		if err != nil || len(answer.Answer) < 2 {
			t.Errorf("it leads nowhere: %v %v", answer, err)
		}
		select {
		case err := <-done:
			if got := a.DNS.Leads(t, host); err != nil || got != "10.0.1.1 10.0.1.2 shop.g1.example.com" {
				t.Errorf("it leads to %s: %v", got, err)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// failing is a credential that has none.
type failing struct{ err error }

// GetToken fails.
func (f failing) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, f.err
}

// TestCredentials: they are looked for in the environment, and what is wrong with them is said without telling of them.
func TestCredentials(t *testing.T) {
	a := azuretest.Start(t, "")
	for name, value := range map[string]string{
		"AZURE_TOKEN_CREDENTIALS": "dev", "PATH": t.TempDir(), "AZURE_TENANT_ID": "", "AZURE_CLIENT_ID": "", "AZURE_CLIENT_SECRET": "",
	} {
		t.Setenv(name, value)
	}
	b, err := New(options())
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "none", observe(t, a, b), fault.Failed, "there are no credentials for it")
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "all")
	_, err = New(options())
	refused(t, "credentials of no kind", err, fault.Invalid, "the credentials of Azure cannot be looked for: invalid AZURE_TOKEN_CREDENTIALS")
	for reason, tc := range map[string]struct {
		status int
		body   string
		want   fault.Code
		says   string
	}{
		"a wrong secret":      {http.StatusUnauthorized, `{"error_description":"AADSTS7000215: Invalid client secret geheim provided."}`, fault.Failed, "there is no login to Azure with these credentials (AADSTS7000215)"},
		"something else":      {http.StatusBadRequest, "geheim", fault.Failed, "with these credentials (no code)"},
		"the login is broken": {http.StatusBadGateway, "geheim", fault.Unavailable, "it does not answer as expected: the login to Azure answers 502"},
	} {
		answer := &http.Response{StatusCode: tc.status, Body: io.NopCloser(strings.NewReader(tc.body))}
		b := backendOf(t, a, options(), failing{&azidentity.AuthenticationFailedError{RawResponse: answer}})
		refused(t, reason, observe(t, a, b), tc.want, tc.says)
	}
	start := time.Now()
	err = observe(t, a, backendOf(t, a, options(), failing{azidentity.NewCredentialUnavailableError("failed to acquire a token.\ngeheim")}))
	if refused(t, "none, otherwise", err, fault.Failed, "there are no credentials for it"); time.Since(start) > time.Second {
		t.Errorf("it was asked for again, for %v", time.Since(start))
	}
}
