package certs

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Prover shows that a name is ours.
type Prover interface {
	// Probe asks for a proof of the name as the CA will, before the CA is asked for anything. A name that does not lead to where proofs are
	// shown is an error of code fault.Refused, which says who answered.
	Probe(ctx context.Context, name string) error
	// Type is the type of the challenges that it meets.
	Type() string
	// Present shows the proof that a challenge asks for, and returns once the CA can see it. It may be called again.
	Present(ctx context.Context, c acme.Challenge) error
	// Withdraw ends that. A proof that is not shown is no error.
	Withdraw(ctx context.Context, c acme.Challenge) error
}

// HTTP proves a name by what a router answers at it (RFC 8555 section 8.3).
type HTTP struct {
	Router traffic.Answerer
	Name   string       // of the router, for people
	Client *http.Client // asks as the CA does; nil for one that does so at port 80
}

// What a probe may take, and how much of an answer is read, in bytes.
const (
	probeLimit = 10 * time.Second
	probeRead  = 1 << 10
)

const wellKnown = "/.well-known/acme-challenge/"

// NewHTTP proves names by a router. It asks as CAs do: without a proxy, whatever certificate a redirection leads to.
func NewHTTP(router traffic.Answerer, name string) *HTTP {
	return &HTTP{Router: router, Name: name, Client: &http.Client{Timeout: probeLimit, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a CA does the same: there is no certificate yet
	}}}
}

// Type is http-01.
func (h *HTTP) Type() string { return acme.ChallengeTypeHTTP01 }

// Probe puts a random token where the CA would ask, and asks for it by the name.
func (h *HTTP) Probe(ctx context.Context, name string) error {
	token, text := "crossfade-"+rand.Text(), rand.Text()
	if err := h.Router.Answer(ctx, name, wellKnown+token, text); err != nil {
		return err
	}
	got, who, err := h.fetch(ctx, "http://"+name+wellKnown+token)
	if silenced := h.Router.Silence(context.WithoutCancel(ctx), name); silenced != nil {
		return silenced
	}
	if err == nil && strings.TrimSpace(got) == text {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%s answered, and that is not the router %s", who, h.Name) //nolint:err113 // its text is all there is to it
	}
	return fault.New(fault.Refused, "cannot prove %s to a CA by HTTP: %w", name, err).
		WithHint("lead http://%s, port 80, to the router %s, or prove it by dns01; nothing was asked of the CA", name, h.Name)
}

// fetch asks for a URL, and says who has answered it how.
func (h *HTTP) fetch(ctx context.Context, url string) (text, who string, err error) {
	peer := ""
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { peer = c.Conn.RemoteAddr().String() }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", "", err
	}
	res, err := h.Client.Do(req)
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, probeRead))
	who = fmt.Sprintf("%s (status %d", peer, res.StatusCode)
	if server := res.Header.Get("Server"); server != "" {
		who += ", " + server
	}
	return string(raw), who + ")", err
}

// Present has the router answer the challenge.
func (h *HTTP) Present(ctx context.Context, c acme.Challenge) error {
	return h.Router.Answer(ctx, c.Identifier.Value, c.HTTP01ResourcePath(), c.KeyAuthorization)
}

// Withdraw silences the router.
func (h *HTTP) Withdraw(ctx context.Context, c acme.Challenge) error {
	return h.Router.Silence(ctx, c.Identifier.Value)
}

// DNS proves a name by a TXT record (RFC 8555 section 8.4).
type DNS struct{ Zone traffic.Publisher }

// Type is dns-01.
func (d *DNS) Type() string { return acme.ChallengeTypeDNS01 }

// Probe has nothing to ask: Present returns once all authoritative servers answer the record, and the CA is told after it.
func (d *DNS) Probe(context.Context, string) error { return nil }

// Present publishes the record.
func (d *DNS) Present(ctx context.Context, c acme.Challenge) error {
	return d.Zone.Publish(ctx, c.DNS01TXTRecordName(), c.DNS01KeyAuthorization())
}

// Withdraw takes it away.
func (d *DNS) Withdraw(ctx context.Context, c acme.Challenge) error {
	return d.Zone.Withdraw(ctx, c.DNS01TXTRecordName(), c.DNS01KeyAuthorization())
}

// meet proves what an order asks for: every name that the CA does not know to be ours yet.
func (r *Request) meet(ctx context.Context, c *client, order acme.Order) error {
	for _, at := range order.Authorizations {
		authz, err := c.acme.GetAuthorization(ctx, c.account, at)
		if err != nil {
			return err
		}
		if authz.Status == acme.StatusValid {
			continue
		}
		if err := r.meetOne(ctx, c, authz); err != nil {
			return err
		}
	}
	return nil
}

func (r *Request) meetOne(ctx context.Context, c *client, authz acme.Authorization) error {
	for _, challenge := range authz.Challenges {
		if challenge.Type != r.Prover.Type() {
			continue
		}
		defer r.withdraw(ctx, challenge) // one that is not shown as it should be, too
		if err := r.Prover.Present(ctx, challenge); err != nil {
			return err
		}
		if challenge.Status == acme.StatusPending {
			if _, err := c.acme.InitiateChallenge(ctx, c.account, challenge); err != nil {
				return err
			}
		}
		authz.Status = "" // ask before the first wait
		_, err := c.acme.PollAuthorization(ctx, c.account, authz)
		return err
	}
	return fault.New(fault.Failed, "the CA does not take %s for %s", r.Prover.Type(), authz.IdentifierValue()).WithHint("use the other of http01 and dns01")
}

// withdraw ends the proof of a challenge.
func (r *Request) withdraw(ctx context.Context, c acme.Challenge) {
	if err := r.Prover.Withdraw(context.WithoutCancel(ctx), c); err != nil {
		r.Say("the proof for %s may still be there: %v", c.Identifier.Value, err)
	}
}

// sweep ends the proofs of an order: who showed them was stopped before that. Those that the CA still waits for are left alone, unless all are
// meant. A CA that does not tell is no reason to do without the certificate.
func (r *Request) sweep(ctx context.Context, c *client, order acme.Order, all bool) {
	for _, at := range order.Authorizations {
		authz, err := c.acme.GetAuthorization(ctx, c.account, at)
		if err != nil {
			r.Say("a proof for %s may still be there: %v", strings.Join(r.Of.Names, ", "), translate(r.Of.Issuer, err))
			continue
		}
		for _, challenge := range authz.Challenges {
			if (all || authz.Status != acme.StatusPending) && challenge.Type == r.Prover.Type() {
				r.withdraw(ctx, challenge)
			}
		}
	}
}
