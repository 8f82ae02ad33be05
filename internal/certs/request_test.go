package certs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/crossfade-dev/crossfade/internal/certs/pebbletest"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// TestObtain gets a certificate of a CA that refuses a third of the nonces, once: whoever comes later finds it in the backup.
func TestObtain(t *testing.T) {
	s := newScene(t, pebbletest.Options{Nonces: 33})
	p, err := s.request(t, "shop.example.com", "www.example.com").Obtain(t.Context())
	ok(t, err)
	if why := p.Unfit([]string{"www.example.com", "shop.example.com"}, time.Now()); why != "" {
		t.Errorf("it does not serve: %s", why)
	}
	again, err := s.request(t, "shop.example.com", "www.example.com").Obtain(t.Context())
	ok(t, err)
	if !bytes.Equal(p.Chain, again.Chain) || !bytes.Equal(p.Key, again.Key) {
		t.Error("the second one is another certificate")
	}
	s.asked(t, "asked twice", 1, 1)
	if len(s.edge.texts) > 0 {
		t.Errorf("the router goes on to answer: %v", s.edge.texts)
	}
	s.noKeys(t, p)
}

// noKeys looks for private keys in what was said, and on the disk.
func (s *scene) noKeys(t *testing.T, p *Pair) {
	t.Helper()
	secret := strings.Split(string(p.Key), "\n")[1]
	for _, text := range append(s.heard, fmt.Sprintf("%v %+v %#v %s", p, *p, *p, p.Key)) {
		if strings.Contains(text, secret) || strings.Contains(text, "PRIVATE KEY") {
			t.Errorf("a private key is in %q", text)
		}
	}
	ok(t, filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte("PRIVATE KEY")) {
			t.Errorf("a private key is in the clear in %s", path)
		}
		if info, err := d.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return err
	}))
}

// TestAtOnce has several ask for the same at once; one does.
func TestAtOnce(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	var all gosync.WaitGroup
	for range 4 {
		r := s.request(t, "shop.example.com")
		all.Go(func() {
			if _, err := r.Obtain(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s.asked(t, "four at once", 1, 1)
}

// TestRenewal requests another certificate in the last third of the first one's life, and when it is for other names.
func TestRenewal(t *testing.T) {
	s := newScene(t, pebbletest.Options{Validity: 3600})
	first, err := s.request(t, "shop.example.com").Obtain(t.Context())
	ok(t, err)
	s.now = time.Now().Add(45 * time.Minute)
	second, err := s.request(t, "shop.example.com").Obtain(t.Context())
	ok(t, err)
	if bytes.Equal(first.Chain, second.Chain) || bytes.Equal(first.Key, second.Key) {
		t.Error("it was not renewed, or has the key of before")
	}
	s.now = time.Time{}
	third, err := s.request(t, "shop.example.com", "www.example.com").Obtain(t.Context())
	ok(t, err)
	if why := third.Unfit([]string{"www.example.com"}, time.Now()); why != "" {
		t.Error(why)
	}
	s.asked(t, "renewed, and for other names", 3, 3)
}

// TestProbe asks nothing of the CA while the name leads to somebody else.
func TestProbe(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	other := startEdge(t)
	cases := map[string]struct {
		address string
		says    string
	}{
		"AnotherServer": {other.server.Listener.Addr().String(), other.server.Listener.Addr().String() + " (status 404, somebody-else) answered"},
		"Nobody":        {"127.0.0.1:1", "connection refused"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := s.request(t, "shop.example.com")
			r.Prover = s.edge.proof(tc.address)
			_, err := r.Obtain(t.Context())
			refused(t, name, err, fault.Refused, "shop.example.com", tc.says)
			s.asked(t, name, 0, 0)
		})
	}
}

// TestNotProven has the CA meet another server than the probe: the request fails for good, and begins anew, five times in an hour.
func TestNotProven(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	r := s.request(t, "shop.example.com")
	r.Prover = &silent{HTTP: s.edge.proof(s.edge.server.Listener.Addr().String())}
	for range maxFailed {
		_, err := r.Obtain(t.Context())
		refused(t, "not proven", err, fault.Failed, "shop.example.com", "returned 404", "unauthorized")
	}
	s.asked(t, "each in an order of its own", maxFailed, 0)
	_, err := r.Obtain(t.Context())
	refused(t, "too many failed", err, fault.Failed, "5 requests for the same names failed within an hour")
	s.asked(t, "the CA is not asked a sixth time", maxFailed, 0)
	s.now = time.Now().Add(time.Hour)
	_, err = s.request(t, "shop.example.com").Obtain(t.Context())
	ok(t, err)
}

// TestDuplicates asks for no sixth certificate of the same names within a week.
func TestDuplicates(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	for range maxIssued {
		r := s.request(t, "shop.example.com")
		_, err := r.Obtain(t.Context())
		ok(t, err)
		ok(t, os.Remove(r.Backup.File("shop"))) // somebody loses it
	}
	_, err := s.request(t, "shop.example.com").Obtain(t.Context())
	refused(t, "a sixth", err, fault.Failed, "shop.example.com", "5 certificates were requested", "before 20")
	s.asked(t, "a sixth is not asked for", maxIssued, maxIssued)
	_, err = s.request(t, "other.example.com").Obtain(t.Context())
	ok(t, err)
}

// TestRateLimited keeps to what the CA says of when it may be asked again.
func TestRateLimited(t *testing.T) {
	cases := map[string]string{"Seconds": "7200", "Date": time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat)}
	for name, after := range cases {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, pebbletest.Options{})
			refusals := 0
			s.ca.Before(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, pebbletest.NewOrder) {
					return false
				}
				refusals++
				w.Header().Set("Retry-After", after)
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusTooManyRequests)
				fmt.Fprint(w, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates already issued","status":429}`)
				return true
			})
			at := time.Now().Add(2 * time.Hour).UTC().Format("2006-01-02 15:")
			_, err := s.request(t, "shop.example.com").Obtain(t.Context())
			refused(t, "limited", err, fault.Failed, "too many certificates already issued", "asked again after "+at)
			_, err = s.request(t, "shop.example.com").Obtain(t.Context())
			refused(t, "too early", err, fault.Failed, "shop.example.com before "+at)
			if refusals != 1 {
				t.Errorf("the CA was asked %d times", refusals)
			}
			s.ca.Before(nil)
			s.now = time.Now().Add(2*time.Hour + time.Minute)
			_, err = s.request(t, "shop.example.com").Obtain(t.Context())
			ok(t, err)
		})
	}
}

// TestExternalAccount binds the account to one at the CA.
func TestExternalAccount(t *testing.T) {
	const mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	s := newScene(t, pebbletest.Options{Accounts: map[string]string{"kid-1": mac}})
	_, err := s.request(t, "shop.example.com").Obtain(t.Context())
	refused(t, "without one", err, fault.Failed, "externalAccountRequired")
	r := s.request(t, "shop.example.com")
	r.Of.Issuer.Account = external(t, "kid-1", "not base64url!")
	_, err = r.Obtain(t.Context())
	refused(t, "with a key that is none", err, fault.Invalid, "kid-1", "base64url")
	if strings.Contains(err.Error(), "not base64url!") {
		t.Errorf("the key is in %v", err)
	}
	r.Of.Issuer.Account = external(t, "kid-1", mac)
	_, err = r.Obtain(t.Context())
	ok(t, err)
}

// TestSuggested renews when the CA suggests it (RFC 9773), before the last third of the life.
func TestSuggested(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	first, err := s.request(t, "shop.example.com").Obtain(t.Context())
	ok(t, err)
	s.ca.RenewNow(t, first.Chain)
	second, err := s.request(t, "shop.example.com").Obtain(t.Context())
	ok(t, err)
	if bytes.Equal(first.Chain, second.Chain) || !strings.Contains(strings.Join(s.heard, "\n"), "the CA wants it renewed since 20") {
		t.Errorf("it was not renewed: %v", s.heard)
	}
	_, err = s.request(t, "shop.example.com").Obtain(t.Context())
	ok(t, err)
	s.asked(t, "the suggestion was followed once", 2, 2)
}

// TestUnknownReplaced has a CA, such as one that the issuer was moved to, know nothing of the certificate that is to be replaced.
func TestUnknownReplaced(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	first, err := s.request(t, "shop.example.com").Obtain(t.Context())
	ok(t, err)
	s.ca.RenewNow(t, first.Chain)
	refused := 0
	s.ca.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, pebbletest.NewOrder) {
			return false
		}
		raw, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(raw))
		var signed struct{ Payload string }
		_ = json.Unmarshal(raw, &signed)
		if payload, _ := base64.RawURLEncoding.DecodeString(signed.Payload); !strings.Contains(string(payload), `"replaces"`) {
			return false
		}
		refused++
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"type":"urn:ietf:params:acme:error:serverInternal","detail":"could not find an order for the given certificate","status":500}`)
		return true
	})
	second, err := s.request(t, "shop.example.com").Obtain(t.Context())
	ok(t, err)
	if bytes.Equal(first.Chain, second.Chain) || refused == 0 {
		t.Errorf("it was not renewed, or asked for %d times as a replacement", refused)
	}
}

// TestOrderGone goes on where the CA knows nothing of an order that is under way, and nothing of the account.
func TestOrderGone(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	r := s.request(t, "shop.example.com")
	s.interrupt(t, r, pebbletest.Authorize)
	s.ca.Forget(t)
	p, err := r.Obtain(t.Context())
	ok(t, err)
	if why := p.Unfit(r.Of.Names, time.Now()); why != "" {
		t.Error(why)
	}
}

// interrupt ends a request when the CA has done what was asked below a path.
func (s *scene) interrupt(t *testing.T, r *Request, path string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s.ca.After(func(req *http.Request) {
		if strings.HasPrefix(req.URL.Path, path) {
			cancel()
		}
	})
	if _, err := r.Obtain(ctx); err == nil {
		t.Fatal("it was not interrupted")
	}
	s.ca.After(nil)
	if _, err := os.Stat(r.orderFile()); err != nil {
		t.Fatal(err)
	}
}

// TestLeftover has a process be killed when its certificate is kept, and its order not forgotten yet: later that order is no way to another one.
func TestLeftover(t *testing.T) {
	s := newScene(t, pebbletest.Options{Validity: 3600})
	r := s.request(t, "shop.example.com")
	s.interrupt(t, r, pebbletest.Finalize)
	order, err := os.ReadFile(r.orderFile())
	ok(t, err)
	first, err := r.Obtain(t.Context())
	ok(t, err)
	s.asked(t, "the first one", 1, 1)

	ok(t, os.WriteFile(r.orderFile(), order, 0o600))
	_, err = r.Obtain(t.Context())
	ok(t, err)
	if _, err := os.Stat(r.orderFile()); !os.IsNotExist(err) {
		t.Error("the order is not forgotten while nothing is due")
	}

	ok(t, os.WriteFile(r.orderFile(), order, 0o600))
	s.ca.RenewNow(t, first.Chain)
	second, err := r.Obtain(t.Context())
	ok(t, err)
	if second.Leaf().Equal(first.Leaf()) {
		t.Error("the CA wanted another one, and got the order of the first")
	}
	s.asked(t, "as the CA wants", 2, 2)

	ok(t, os.WriteFile(r.orderFile(), order, 0o600))
	s.now = time.Now().Add(50 * time.Minute)
	third, err := r.Obtain(t.Context())
	ok(t, err)
	if third.Leaf().Equal(first.Leaf()) || third.Leaf().Equal(second.Leaf()) {
		t.Error("it is due, and was not renewed")
	}
	s.asked(t, "due", 3, 3)
}

// down has the CA fail below paths, as one that is overloaded.
func (s *scene) down(paths ...string) {
	s.ca.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if !slices.ContainsFunc(paths, func(path string) bool { return strings.HasPrefix(r.URL.Path, path) }) {
			return false
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"type":"urn:ietf:params:acme:error:serverInternal","detail":"out of order","status":500}`)
		return true
	})
}

// TestSettled has a process be killed when the CA has signed what it wanted renewed, and the CA not say so again: the certificate is the one that
// was signed, once the CA gives it.
func TestSettled(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	r := s.request(t, "shop.example.com")
	first, err := r.Obtain(t.Context())
	ok(t, err)
	s.ca.RenewNow(t, first.Chain)
	s.interrupt(t, r, pebbletest.Finalize)
	s.down(pebbletest.RenewalInfo, pebbletest.Order)
	kept, err := r.Obtain(t.Context())
	ok(t, err)
	if !kept.Leaf().Equal(first.Leaf()) || !strings.Contains(strings.Join(s.heard, "\n"), "an order for shop.example.com that was under way stays: ") {
		t.Errorf("the CA is down; heard %q", s.heard)
	}
	s.down(pebbletest.RenewalInfo)
	second, err := r.Obtain(t.Context())
	ok(t, err)
	if second.Leaf().Equal(first.Leaf()) {
		t.Error("the certificate that was signed is lost")
	}
	s.asked(t, "the order that was under way", 2, 2)
	if _, err := os.Stat(r.orderFile()); !os.IsNotExist(err) {
		t.Error("the order is not forgotten")
	}
}

// TestOutOfOrder has a CA fail when an order is gone on with: it keeps its key, for the certificate is there, and needs no more than that.
func TestOutOfOrder(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	r := s.request(t, "shop.example.com")
	s.interrupt(t, r, pebbletest.Finalize)
	s.down(pebbletest.Download)
	_, err := r.Obtain(t.Context())
	refused(t, "no certificate", err, fault.Failed, "out of order")
	s.down(pebbletest.Authorize)
	_, err = r.Obtain(t.Context())
	ok(t, err)
	s.asked(t, "the same order", 1, 1)
}

// watched notes which proofs are shown; none of them is right while it is blind.
type watched struct {
	*HTTP
	blind bool
	shown map[string]bool
}

func (w *watched) Present(ctx context.Context, c acme.Challenge) error {
	w.shown[c.Token] = true
	if w.blind {
		return nil
	}
	return w.HTTP.Present(ctx, c)
}

func (w *watched) Withdraw(ctx context.Context, c acme.Challenge) error {
	if !w.blind {
		delete(w.shown, c.Token)
	}
	return w.HTTP.Withdraw(ctx, c)
}

// TestProofsOfFailed: a proof ends though whoever showed it was stopped, and the CA has given up the order since.
func TestProofsOfFailed(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	r := s.request(t, "shop.example.com")
	w := &watched{HTTP: r.Prover.(*HTTP), blind: true, shown: map[string]bool{}}
	r.Prover = w
	var order []byte
	s.ca.After(func(req *http.Request) {
		if strings.HasPrefix(req.URL.Path, pebbletest.Challenge) {
			order, _ = os.ReadFile(r.orderFile())
		}
	})
	if _, err := r.Obtain(t.Context()); err == nil {
		t.Fatal("the CA has seen a proof that was not shown")
	}
	s.ca.After(nil)
	ok(t, os.WriteFile(r.orderFile(), order, 0o600)) // as if it had been killed then
	w.blind = false
	if len(w.shown) != 1 {
		t.Fatalf("%d proofs are left, want one", len(w.shown))
	}
	_, err := r.Obtain(t.Context())
	ok(t, err)
	if len(w.shown) > 0 {
		t.Errorf("proofs stay for ever: %v", w.shown)
	}
	s.asked(t, "another order", 2, 1)
}

// leaves shows proofs, and is stopped before it takes them away.
type leaves struct{ *HTTP }

func (l *leaves) Withdraw(context.Context, acme.Challenge) error { return nil }

// TestProofsEnd: a proof ends though whoever showed it was stopped.
func TestProofsEnd(t *testing.T) {
	for _, at := range []string{pebbletest.Challenge, pebbletest.Finalize} {
		s := newScene(t, pebbletest.Options{})
		r := s.request(t, "shop.example.com")
		here := r.Prover
		r.Prover = &leaves{here.(*HTTP)}
		s.interrupt(t, r, at)
		s.edge.mu.Lock()
		left := len(s.edge.texts)
		s.edge.mu.Unlock()
		if left == 0 {
			t.Fatal("no proof is left")
		}
		r.Prover = here
		_, err := r.Obtain(t.Context())
		ok(t, err)
		if len(s.edge.texts) > 0 {
			t.Errorf("stopped after %s, proofs stay for ever: %v", at, s.edge.texts)
		}
	}
}

// TestResumedElsewhere does not go on with an order whose names lead elsewhere by now, and does once they lead back.
func TestResumedElsewhere(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	r := s.request(t, "shop.example.com")
	s.interrupt(t, r, pebbletest.Authorize)
	here := r.Prover
	r.Prover = s.edge.proof(startEdge(t).server.Listener.Addr().String())
	_, err := r.Obtain(t.Context())
	refused(t, "it leads elsewhere", err, fault.Refused, "shop.example.com", "somebody-else")
	if n := s.ca.Asked(pebbletest.Challenge); n != 0 {
		t.Errorf("the CA was told of %d challenges", n)
	}
	r.Prover = here
	_, err = r.Obtain(t.Context())
	ok(t, err)
	s.asked(t, "the same order", 1, 1)
}

// TestOtherNames leaves an order for other names alone.
func TestOtherNames(t *testing.T) {
	s := newScene(t, pebbletest.Options{})
	s.interrupt(t, s.request(t, "shop.example.com"), pebbletest.Authorize)
	p, err := s.request(t, "www.example.com").Obtain(t.Context())
	ok(t, err)
	if why := p.Unfit([]string{"www.example.com"}, time.Now()); why != "" {
		t.Error(why)
	}
}
