// Package webhook keeps the records of a DNS zone by a provider of external-dns, through the protocol by which external-dns speaks to
// providers outside of itself
// (https://kubernetes-sigs.github.io/external-dns/latest/docs/tutorials/webhook-provider/, version 1).
//
// The protocol says of a change that it was made, not that it takes effect as a whole, and knows no conditions. So what is asked of a provider
// at a time are sets of records that it may change in any order, and after each change it must show them.
package webhook

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
)

// Options say which zone is written to, and through whom.
type Options struct {
	Zone string // such as example.com
	URL  string // at which the provider answers
}

// Backend is a dns.Backend.
type Backend struct {
	zone   string // with a dot at its end
	url    *url.URL
	client *http.Client
}

var _ dns.Backend = (*Backend)(nil)

// callLimit bounds one request: some providers ask the API of a cloud for every record.
const callLimit = time.Minute

// showLimit bounds how long a provider may go on to show what was before a change that it says is made, and showBeat is how often
// it is asked meanwhile.
const (
	showLimit = 30 * time.Second
	showBeat  = 500 * time.Millisecond
)

// New checks the options. It asks nobody.
func New(o Options) (*Backend, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fault.New(fault.Invalid, "cannot use the DNS zone %q: the URL of its webhook is none, or has a user in it", o.Zone).
			WithHint("correct the router in the configuration")
	}
	return &Backend{zone: wire.CanonicalName(o.Zone), url: u, client: &http.Client{Timeout: callLimit}}, nil
}

// Powers says that nothing is changed as a whole.
func (b *Backend) Powers() dns.Powers { return dns.Powers{} }

// String is the URL of the provider.
func (b *Backend) String() string { return b.url.String() }

// Open asks the provider whether it speaks the version of the protocol, and of the zone.
func (b *Backend) Open(ctx context.Context) (dns.Session, error) {
	var domains filter
	if err := b.ask(ctx, &domains, http.MethodGet, "", nil); err != nil {
		return nil, err
	}
	if !domains.has(strings.TrimSuffix(b.zone, ".")) {
		return nil, fault.New(fault.Invalid, "its provider is for other domains: %s", strings.Join(domains.Include, ", ")).
			WithHint("let the provider have the zone (external-dns: --domain-filter), or correct the router")
	}
	return &session{Backend: b}, nil
}

// filter is which domains a provider is for; those of regular expressions are left to it.
type filter struct {
	Include []string `json:"include"`
	Exclude []string `json:"exclude"`
}

// has reports whether the names of a zone are among them.
func (f filter) has(zone string) bool {
	covers := func(all []string) bool {
		for _, domain := range all {
			if domain = strings.Trim(strings.ToLower(domain), "."); domain == "" || zone == domain || strings.HasSuffix(zone, "."+domain) {
				return true
			}
		}
		return false
	}
	return (len(f.Include) == 0 || covers(f.Include)) && !covers(f.Exclude)
}

// session is the records as the provider showed them last.
type session struct {
	*Backend
	shown dns.Records
	as    map[dns.Set]endpoint // the same, as the provider has them
}

// Look asks the provider for all records, before see does. They are of one version of the zone, as far as the provider sees to that.
func (s *session) Look(ctx context.Context, see func() error) error {
	if err := s.load(ctx); err != nil {
		return err
	}
	return see()
}

// load asks for the records of the zone.
func (s *session) load(ctx context.Context) error {
	var all []endpoint
	if err := s.ask(ctx, &all, http.MethodGet, "records", nil); err != nil {
		return err
	}
	s.shown, s.as = dns.Records{}, map[dns.Set]endpoint{}
	for _, e := range all {
		name := wire.CanonicalName(e.Name)
		kind, known := wire.StringToType[e.Type]
		if !known || !wire.IsSubDomain(s.zone, name) {
			continue
		}
		at := dns.Set{Name: name, Kind: kind, Share: dns.Share{Name: e.SetIdentifier}}
		s.as[at] = e
		for _, value := range e.Targets {
			rr, err := dns.Record(name, kind, e.TTL, strings.Trim(value, `"`))
			if err != nil {
				continue // of a type that no route has
			}
			s.shown.AddTo(at.Share, rr)
		}
	}
	return nil
}

// Ask returns the records of a type at a name, as the provider showed them. Who answers for the zone is told whatever else is at its name.
func (s *session) Ask(ctx context.Context, name string, kind uint16) (dns.Records, error) {
	if s.shown == nil {
		if err := s.load(ctx); err != nil {
			return nil, err
		}
	}
	found := dns.Records{}
	for at, rrs := range s.shown.At(name) {
		if at.Share.Name != "" && kind != wire.TypeNS {
			return nil, fault.New(fault.Refused, "%s leads only a share of its users (set identifier %s)", strings.TrimSuffix(name, "."), at.Share.Name).
				WithHint("make it a simple record, or use the router for that zone itself (route53)")
		}
		if at.Kind == kind {
			found[at] = rrs
		}
	}
	return found, nil
}

// Used is true: a provider shows what is at the names themselves.
func (s *session) Used(context.Context, string) (bool, error) { return true, nil }

// Close does nothing: there is no connection to be kept.
func (s *session) Close() { s.client.CloseIdleConnections() }

// Change has the provider change the sets that differ, and waits until it shows them as they shall be.
func (s *session) Change(ctx context.Context, have, want dns.Records) error {
	c, err := s.changes(ctx, have, want)
	if err != nil {
		return err
	}
	if err := s.ask(ctx, nil, http.MethodPost, "records", c); err != nil {
		return err
	}
	again := time.NewTicker(showBeat)
	defer again.Stop()
	for deadline := time.Now().Add(showLimit); ; {
		if err := s.load(ctx); err != nil {
			return err
		}
		late := s.late(have, want)
		if late == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fault.New(fault.Failed, "its provider says that it changed %s, and still shows it as it was after %v", late, showLimit).
				WithHint("see its log; it may leave names of other domains or records of other types alone")
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "the wait for %s was ended: %w", late, ctx.Err())
		case <-again.C:
		}
	}
}

// late is a name that the provider does not show as it shall be; "" for none.
func (s *session) late(have, want dns.Records) string {
	for _, at := range dns.Sorted(have, want) {
		if !dns.Same(have, want, at) && !dns.Same(s.shown, want, at) {
			return strings.TrimSuffix(at.Name, ".") + " " + wire.TypeToString[at.Kind]
		}
	}
	return ""
}

// changes are what makes of the sets that were read those that are wanted, as the provider adjusts them.
func (s *session) changes(ctx context.Context, have, want dns.Records) (*changes, error) {
	var c changes
	var desired []endpoint
	for _, at := range dns.Sorted(have, want) {
		switch {
		case dns.Same(have, want, at):
		case len(want[at]) == 0:
			c.Delete = append(c.Delete, s.as[at])
		default:
			desired = append(desired, endpointOf(at, want[at]))
		}
	}
	for _, e := range desired {
		if at := e.set(); at.Kind == wire.TypeTXT && len(e.Targets) == 1 && len(e.Targets[0]) > longest {
			return nil, fault.New(fault.Invalid, "the text at %s has more than %d characters, which not every provider keeps in one piece", e.Name, longest-2).
				WithHint("use shorter names")
		}
	}
	adjusted, err := s.adjusted(ctx, desired)
	if err != nil {
		return nil, err
	}
	for _, e := range adjusted {
		if old, there := s.as[e.set()]; there {
			c.UpdateOld, c.UpdateNew = append(c.UpdateOld, old), append(c.UpdateNew, e)
		} else {
			c.Create = append(c.Create, e)
		}
	}
	return &c, nil
}

// adjusted are endpoints with what the provider adds to them. One that it would make another of is refused.
func (s *session) adjusted(ctx context.Context, desired []endpoint) ([]endpoint, error) {
	if len(desired) == 0 {
		return nil, nil
	}
	var adjusted []endpoint
	if err := s.ask(ctx, &adjusted, http.MethodPost, "adjustendpoints", desired); err != nil {
		return nil, err
	}
	for _, want := range desired {
		kept := false
		for _, e := range adjusted {
			kept = kept || e.set() == want.set() && e.TTL == want.TTL && sameTargets(e, want)
			if e.set() == want.set() && e.TTL != want.TTL {
				return nil, fault.New(fault.Invalid, "its provider makes the TTL of %s %d seconds, not %d", want.Name, e.TTL, want.TTL).
					WithHint("set the ttl of the router to what the provider has")
			}
		}
		if !kept {
			return nil, fault.New(fault.Invalid, "its provider would not keep the record %s %s as it is", want.Name, want.Type).
				WithHint("see what the provider can and is allowed to keep")
		}
	}
	return adjusted, nil
}
