package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// client is an ACME account at a CA.
type client struct {
	acme    *acme.Client
	account acme.Account
	wait    *patience
	close   func()
}

// What one answer of a CA may take, and how often an order is asked for.
const (
	answerLimit = 30 * time.Second
	beat        = 500 * time.Millisecond
)

// patience notes what the ACME client does not tell of a CA's answers: when it wants to be asked again, and the last status.
type patience struct {
	next   http.RoundTripper
	mu     sync.Mutex
	until  time.Time
	status int
	now    func() time.Time
}

// RoundTrip notes the Retry-After of answers that refuse, in seconds or as a date (RFC 9110 section 10.2.3).
func (p *patience) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := p.next.RoundTrip(req)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = 0
	if err != nil {
		return res, err
	}
	p.status = res.StatusCode
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
		return res, nil
	}
	after := res.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(after); err == nil {
		p.until = p.now().Add(time.Duration(seconds) * time.Second)
	} else if at, err := http.ParseTime(after); err == nil {
		p.until = at
	}
	return res, nil
}

// last is the status of the last answer; 0 for none.
func (p *patience) last() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// again is when the CA wants to be asked again: what it said, or else after a while.
func (p *patience) again() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until.After(p.now()) {
		return p.until
	}
	return p.now().Add(time.Hour)
}

// dial makes a client for an issuer. It asks nothing.
func dial(issuer spec.Issuer, now func() time.Time) (*client, error) {
	roots, err := rootsIn(issuer.CAFile, now())
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	wait := &patience{next: transport, now: now}
	return &client{
		acme: &acme.Client{
			Directory: issuer.Directory, UserAgent: "crossfade", PollInterval: beat,
			HTTPClient: &http.Client{Transport: wait, Timeout: answerLimit},
		},
		wait: wait, close: transport.CloseIdleConnections,
	}, nil
}

// rootsIn reads the certificates that sign those of a CA's server; nil for those of the system.
func rootsIn(file string, now time.Time) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // as package tls has it
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot trust the CA: %w", err).WithHint("put its root certificates there, in PEM: issuer.caFile")
	}
	roots, all, expired := x509.NewCertPool(), 0, []string{}
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		if all++; now.After(c.NotAfter) {
			expired = append(expired, c.Subject.CommonName+" expired on "+date(c.NotAfter))
		}
		roots.AddCert(c)
	}
	if all == 0 {
		return nil, fault.New(fault.Invalid, "cannot trust the CA: %s has no certificate in PEM", file).WithHint("put its root certificates there: issuer.caFile")
	}
	if all == len(expired) {
		return nil, fault.New(fault.Invalid, "cannot trust the CA by %s: %s", file, strings.Join(expired, ", ")).WithHint("put its present root certificates there: issuer.caFile")
	}
	return roots, nil
}

// login signs in to the CA with the account of the backup, which is made if need be. The caller holds the lock.
func (c *client) login(ctx context.Context, b *Backup, issuer spec.Issuer) error {
	id := issuer.Directory
	if issuer.Account != nil {
		id += " " + issuer.Account.KeyID
	}
	sum := sha256.Sum256([]byte(id))
	file := b.state("account-" + hex.EncodeToString(sum[:8]) + ".age")
	key, err := b.open(file)
	if err != nil {
		return err
	}
	if key == nil {
		if key, err = newKey(); err != nil {
			return err
		}
		if err := b.seal(file, key); err != nil {
			return err
		}
	}
	signer, err := Key(key).signer()
	if err != nil {
		return fault.New(fault.Invalid, "cannot use the key of the ACME account in %s: %w", file, err).WithHint("remove the file, and another account is made")
	}
	account := acme.Account{TermsOfServiceAgreed: true, PrivateKey: signer}
	if issuer.Email != "" {
		account.Contact = []string{"mailto:" + issuer.Email}
	}
	if err := c.bind(ctx, &account, issuer.Account); err != nil {
		return err
	}
	c.account, err = c.acme.NewAccount(ctx, account) // the one there is for the key, if there is one (RFC 8555 section 7.3)
	return err
}

// bind proves that the account belongs to one of the CA's customers.
func (c *client) bind(ctx context.Context, account *acme.Account, external *spec.ExternalAccount) error {
	if external == nil {
		return nil
	}
	raw, err := os.ReadFile(external.KeyFile)
	if err != nil {
		return fault.New(fault.Invalid, "cannot bind the ACME account to %s: %w", external.KeyID, err).WithHint("put its HMAC key there, in base64url")
	}
	err = account.SetExternalAccountBinding(ctx, c.acme, acme.EAB{KeyID: external.KeyID, MACKey: strings.TrimSpace(string(raw))})
	if err != nil && strings.Contains(err.Error(), "MAC key") {
		return fault.New(fault.Invalid, "cannot bind the ACME account to %s: the key in %s is not in base64url", external.KeyID, external.KeyFile).
			WithHint("put the HMAC key there as the CA shows it")
	}
	return err
}

func newKey() (Key, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return encode(key)
}

// limited reports whether the CA has refused because it was asked too often.
func limited(err error) bool {
	p, is := problemIn(err)
	return is && (p.Type == acme.ProblemTypeRateLimited || p.Status == http.StatusTooManyRequests)
}

// problemIn is what a CA says in an error; the ACME client has it by value and by reference.
func problemIn(err error) (acme.Problem, bool) {
	if p, is := errors.AsType[acme.Problem](err); is {
		return p, true
	}
	if p, is := errors.AsType[*acme.Problem](err); is && p != nil {
		return *p, true
	}
	return acme.Problem{}, false
}

// failure says of an error of a CA what could not be done for which names.
func failure(issuer spec.Issuer, names []string, err error) error {
	if fault.CodeOf(err) == fault.Failed { // which is that of all errors that are no faults
		err = translate(issuer, err)
	}
	return fault.New(fault.CodeOf(err), "cannot get a certificate for %s: %w", strings.Join(names, ", "), err)
}

// translate makes a fault of what an ACME client returns. Only what the CA says is in its words, on one line.
func translate(issuer spec.Issuer, err error) error {
	if _, known := errors.AsType[*fault.Error](err); known {
		return err
	}
	if p, is := problemIn(err); is {
		said := oneLine(p.Detail)
		for _, s := range p.Subproblems {
			said += "; " + s.Identifier.Value + ": " + oneLine(s.Detail)
		}
		f := fault.New(fault.Failed, "%s says: %s (%s)", issuer.Directory, said, strings.TrimPrefix(p.Type, "urn:ietf:params:acme:error:"))
		switch p.Type {
		case acme.ProblemTypeExternalAccountRequired, acme.ProblemTypeUserActionRequired, acme.ProblemTypeUnauthorized:
			return f.WithHint("see what the CA asks of its accounts and names: issuer.externalAccount, and CAA records")
		}
		return f.WithHint("see what the CA says, then try again")
	}
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	if unknown || invalid {
		return fault.New(fault.Invalid, "the certificate of %s is not to be trusted: %s", issuer.Directory, lastCause(err)).WithHint("name the root certificates of a private CA: issuer.caFile")
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fault.New(fault.Unavailable, "%s does not answer as it should: %s", issuer.Directory, oneLine(err.Error())).WithHint("see whether the CA is reached from here")
}

// lastCause is the innermost of an error's causes, whose text does not repeat the URL.
func lastCause(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return oneLine(err.Error())
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
