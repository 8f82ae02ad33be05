package certs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Request asks a CA for a certificate.
type Request struct {
	Of     spec.Certificate
	Backup *Backup
	Prover Prover
	Now    func() time.Time
	Say    func(format string, args ...any) // of what is waited for and done
}

// order is a request under way. It has the key that the certificate will be for, and is kept sealed.
type order struct {
	Directory string   `json:"directory"`
	Names     []string `json:"names"`
	URL       string   `json:"url"`
	Key       string   `json:"key"`

	resumed bool // it was made by another call
}

// Due says why a certificate is to be requested; "" while the one in the backup serves and is not to be renewed yet.
func (r *Request) Due(p *Pair) string {
	if p == nil {
		return "there is none in the backup"
	}
	if why := p.Unfit(r.Of.Names, r.Now()); why != "" {
		return why
	}
	if at := p.Renewal(); !r.Now().Before(at) {
		return "it is to be renewed since " + date(at)
	}
	return ""
}

// Obtain requests the certificate unless the backup has one that is not due, puts it into the backup and returns it. It may be called
// again, by any process, at once by several: one of them asks, the others wait and find what it got. Stopped anywhere, it goes on with the
// same order. A CA that was asked too often, or would be, is an error of code fault.Failed that says when to try again.
func (r *Request) Obtain(ctx context.Context) (*Pair, error) {
	lock, err := r.Backup.lock(ctx, func() { r.Say("waiting for another process, which requests a certificate") })
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	kept, err := r.Backup.Get(r.Of.Name)
	if err != nil {
		return nil, err
	}
	c, err := dial(r.Of.Issuer, r.Now)
	if err != nil {
		return nil, err
	}
	defer c.close()
	o, err := r.underWay()
	if err != nil {
		return nil, err
	}
	why, replaces := r.reason(ctx, c, kept)
	switch {
	case why == "" && o == nil:
		return kept, r.Backup.remove(r.orderFile()) // one for something else
	case why == "":
		return r.settle(ctx, c, o, kept), nil
	case o == nil:
		if err := r.permitted(ctx); err != nil {
			return nil, err
		}
	}
	p, err := r.request(ctx, c, o, why, replaces)
	if err != nil {
		return nil, failure(r.Of.Issuer, r.Of.Names, err)
	}
	return p, nil
}

// permitted refuses what the CA would refuse, before it is asked: too many requests, and names that do not lead to us.
func (r *Request) permitted(ctx context.Context) error {
	l, err := r.Backup.ledger()
	if err != nil {
		return err
	}
	if err := l.allows(account(r.Of.Issuer.Directory, r.Of.Names), r.Of.Names, r.Now()); err != nil {
		return err
	}
	return r.probe(ctx)
}

// probe asks every name as the CA will.
func (r *Request) probe(ctx context.Context) error {
	for _, name := range r.Of.Names {
		if err := r.Prover.Probe(ctx, strings.TrimPrefix(name, "*.")); err != nil {
			return err
		}
	}
	return nil
}

// reason says why a certificate is to be requested, if it is, and by which name the next order replaces it.
func (r *Request) reason(ctx context.Context, c *client, kept *Pair) (why, replaces string) {
	why = r.Due(kept)
	if kept == nil {
		return why, ""
	}
	early, replaces := r.hint(ctx, c, kept)
	return cmp.Or(why, early), replaces
}

// hint asks the CA when a certificate of its own should be renewed (RFC 9773): why now, if so, and by which name the next order replaces
// it. A CA that does not say, or does not answer, leaves that to us.
func (r *Request) hint(ctx context.Context, c *client, p *Pair) (why, replaces string) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	info, err := c.acme.GetRenewalInfo(ctx, p.Leaf())
	if err != nil || !info.HasWindow() {
		return "", ""
	}
	if at := info.SelectedTime; !at.IsZero() && !r.Now().Before(at) {
		why = "the CA wants it renewed since " + date(info.SuggestedWindow.Start)
	}
	return why, info.UniqueIdentifier
}

// request carries an order out, and notes when the CA wants to be asked again.
func (r *Request) request(ctx context.Context, c *client, o *order, why, replaces string) (*Pair, error) {
	p, err := r.carryOut(ctx, c, o, why, replaces)
	if !limited(err) {
		return p, err
	}
	again := c.wait.again()
	if noted := r.Backup.noteLater(account(r.Of.Issuer.Directory, r.Of.Names), again, r.Now()); noted != nil {
		return nil, errors.Join(err, noted)
	}
	return nil, fault.New(fault.Failed, "the CA was asked too often; it may be asked again after %s: %w", date(again), translate(r.Of.Issuer, err)).
		WithHint("try again then; until then nothing is asked of it")
}

// carryOut goes on with an order, or makes one.
func (r *Request) carryOut(ctx context.Context, c *client, o *order, why, replaces string) (*Pair, error) {
	if err := c.login(ctx, r.Backup, r.Of.Issuer); err != nil {
		return nil, err
	}
	if o != nil {
		r.Say("going on with the order for %s that was under way", strings.Join(r.Of.Names, ", "))
		p, err := r.follow(ctx, c, o)
		if !gone(err) {
			return p, err
		}
		if err := r.permitted(ctx); err != nil {
			return nil, err
		}
	}
	r.Say("requesting a certificate for %s: %s", strings.Join(r.Of.Names, ", "), why)
	o, err := r.begin(ctx, c, replaces)
	if err != nil {
		return nil, err
	}
	return r.follow(ctx, c, o)
}

// settle ends an order that nothing is due of any more, and returns the certificate: that of the order if the CA has signed one that is newer,
// or else the one that is kept. While the CA cannot say, the order stays.
func (r *Request) settle(ctx context.Context, c *client, o *order, kept *Pair) *Pair {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	p, err := r.last(ctx, c, o)
	if err == nil {
		return p
	}
	if !gone(err) {
		r.Say("an order for %s that was under way stays: %v", strings.Join(r.Of.Names, ", "), translate(r.Of.Issuer, err))
	}
	return kept
}

// last is the certificate of an order that has it already; any other one is forgotten.
func (r *Request) last(ctx context.Context, c *client, o *order) (*Pair, error) {
	if err := c.login(ctx, r.Backup, r.Of.Issuer); err != nil {
		return nil, err
	}
	now, err := c.acme.GetOrder(ctx, c.account, acme.Order{Location: o.URL})
	if err != nil {
		return nil, r.lost(c, err)
	}
	r.sweep(ctx, c, now, true)
	if now.Status == acme.StatusValid {
		return r.finish(ctx, c, o, now.Certificate)
	}
	return nil, r.forget()
}

func (r *Request) orderFile() string { return r.Backup.state("order-" + r.Of.Name + ".age") }

// underWay returns the order that is under way for the same names at the same CA; nil when there is none.
func (r *Request) underWay() (*order, error) {
	raw, err := r.Backup.open(r.orderFile())
	if err != nil || raw == nil {
		return nil, err
	}
	var o order
	if err := json.Unmarshal(raw, &o); err != nil || o.Directory != r.Of.Issuer.Directory || !slices.Equal(o.Names, r.Of.Names) {
		return nil, nil //nolint:nilerr,nilnil // an order for something else is of no use
	}
	o.resumed = true
	return &o, nil
}

// begin makes an order, and records it.
func (r *Request) begin(ctx context.Context, c *client, replaces string) (*order, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	want := acme.Order{Replaces: replaces}
	for _, name := range r.Of.Names {
		want.Identifiers = append(want.Identifiers, acme.Identifier{Type: "dns", Value: name})
	}
	made, err := c.acme.NewOrder(ctx, c.account, want)
	if refusedOrder(err) && replaces != "" { // it need not know what it replaces; Pebble says so with the status 500
		want.Replaces = ""
		made, err = c.acme.NewOrder(ctx, c.account, want)
	}
	if err != nil {
		return nil, err
	}
	o := &order{Directory: r.Of.Issuer.Directory, Names: r.Of.Names, URL: made.Location, Key: string(key)}
	raw, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return o, r.Backup.seal(r.orderFile(), raw)
}

// refusedOrder reports whether a CA did not take an order, for another reason than its limits.
func refusedOrder(err error) bool {
	_, is := problemIn(err)
	return is && !limited(err)
}

// errGone is an order that the CA does not know any more, or that came to its end while nobody looked.
var errGone = errors.New("the order is no more")

func gone(err error) bool { return errors.Is(err, errGone) }

// follow does what the state of an order asks for until it has become a certificate, or nothing.
func (r *Request) follow(ctx context.Context, c *client, o *order) (*Pair, error) {
	again := time.NewTicker(beat)
	defer again.Stop()
	for first := o.resumed; ; first = false {
		now, err := c.acme.GetOrder(ctx, c.account, acme.Order{Location: o.URL})
		if err != nil {
			return nil, r.lost(c, err)
		}
		if first && now.Status == acme.StatusInvalid { // it has expired, for one
			r.sweep(ctx, c, now, true)
			return nil, r.forget()
		}
		if first {
			if err := r.resume(ctx, c, now); err != nil {
				return nil, err
			}
		}
		switch now.Status {
		case acme.StatusPending:
			err = r.meet(ctx, c, now)
		case acme.StatusReady:
			err = r.finalize(ctx, c, o, now)
		case acme.StatusValid:
			return r.finish(ctx, c, o, now.Certificate)
		case acme.StatusInvalid:
			return nil, r.failed(o, now)
		}
		if err != nil {
			return nil, r.ended(ctx, c, o, err)
		}
		select {
		case <-ctx.Done():
			return nil, fault.New(fault.Unavailable, "the order was not ready in time; it goes on when this is started again: %w", ctx.Err())
		case <-again.C:
		}
	}
}

// resume looks after an order that was stopped.
func (r *Request) resume(ctx context.Context, c *client, now acme.Order) error {
	r.sweep(ctx, c, now, false)
	if now.Status != acme.StatusPending {
		return nil
	}
	return r.probe(ctx) // the names may lead elsewhere by now
}

// lost drops an order that the CA does not know any more, or not as ours, or whose certificate it does not have any more. Some say so without a
// problem document. After any other error the order stays, with its key: the certificate may be there.
func (r *Request) lost(c *client, err error) error {
	switch c.wait.last() {
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden, http.StatusUnauthorized:
		return r.forget()
	}
	return err
}

// forget drops an order that is of no use, so that another one is made.
func (r *Request) forget() error {
	if err := r.Backup.remove(r.orderFile()); err != nil {
		return err
	}
	return errGone
}

// ended looks whether an order is at its end after an error, and drops it then: what failed cannot be tried again in it.
func (r *Request) ended(ctx context.Context, c *client, o *order, err error) error {
	now, asked := c.acme.GetOrder(context.WithoutCancel(ctx), c.account, acme.Order{Location: o.URL})
	if asked != nil || now.Status != acme.StatusInvalid {
		return err
	}
	return errors.Join(err, r.drop(o))
}

// failed drops an order that came to nothing.
func (r *Request) failed(o *order, now acme.Order) error {
	var err error = fault.New(fault.Failed, "the CA has given up the order").WithHint("see that the names lead to the router that proves them")
	if now.Error != nil {
		err = *now.Error
	}
	return errors.Join(err, r.drop(o))
}

// drop records that an order failed and forgets it.
func (r *Request) drop(o *order) error {
	if err := r.Backup.noteOrder(account(o.Directory, o.Names), o.URL, true, r.Now()); err != nil {
		return err
	}
	return r.Backup.remove(r.orderFile())
}

// finalize has the CA sign. Whether it took the request is seen in the order after it.
func (r *Request) finalize(ctx context.Context, c *client, o *order, now acme.Order) error {
	key, err := Key(o.Key).signer()
	if err != nil {
		return err
	}
	csr, err := acmez.NewCSR(key, o.Names)
	if err != nil {
		return err
	}
	if err := r.Backup.noteOrder(account(o.Directory, o.Names), o.URL, false, r.Now()); err != nil {
		return err
	}
	now.Location = o.URL
	_, err = c.acme.FinalizeOrder(ctx, c.account, now, csr.Raw)
	return err
}

// finish gets the certificate, keeps it, and forgets the order. One that was stopped may have come to its end long ago: what is due, is not newer
// than what is kept, or cannot be had any more is of no use.
func (r *Request) finish(ctx context.Context, c *client, o *order, url string) (*Pair, error) {
	kept, err := r.Backup.Get(r.Of.Name)
	if err != nil {
		return nil, err
	}
	p, err := r.download(ctx, c, o, url)
	if err != nil && o.resumed {
		return nil, r.lost(c, err)
	}
	if err != nil {
		return nil, err
	}
	newer := kept == nil || kept.Unfit(r.Of.Names, r.Now()) != "" || p.NotAfter().After(kept.NotAfter())
	if o.resumed && (r.Due(p) != "" || !newer) {
		return nil, r.forget()
	}
	if err := r.Backup.Put(r.Of.Name, p); err != nil {
		return nil, err
	}
	r.Say("got a certificate for %s, valid until %s", strings.Join(p.Names(), ", "), date(p.NotAfter()))
	return p, r.Backup.remove(r.orderFile())
}

// download gets the certificate of an order.
func (r *Request) download(ctx context.Context, c *client, o *order, url string) (*Pair, error) {
	chains, err := c.acme.GetCertificateChain(ctx, c.account, url)
	if err != nil {
		return nil, err
	}
	p, err := NewPair(chains[0].ChainPEM, Key(o.Key))
	if err != nil {
		return nil, errors.Join(fault.New(fault.Failed, "the CA has signed something else: %w", err).WithHint("see the log of the CA"), r.drop(o))
	}
	return p, nil
}
