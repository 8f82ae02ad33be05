package dns

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// unreached refuses a live name without records and without a route that users reach all the same, by a wildcard. The servers are asked, for they know where a
// wildcard ends: at names that are there, be it by names below them.
func (r *Router) unreached(ctx context.Context, name string) error {
	return r.compare(ctx, name, routable, func(_, beside []string) error {
		if len(beside) == 0 { // a server that lags has records that are gone
			return nil
		}
		return wild(name) // whether they are alike or not: it may have shares
	})
}

// vacant refuses a name at which the servers have records beside which a CNAME cannot stand, and which the backend may not show. Those of a wildcard are
// not at the name itself.
func (r *Router) vacant(ctx context.Context, name string) error {
	return r.compare(ctx, name, Exclusive, func(here, beside []string) error {
		if slices.Equal(here, beside) {
			return nil
		}
		return occupied(name)
	})
}

// compare has see look at what every authoritative server answers for a name, of each of some types that it answers at all, and for a name beside it, until
// that is an error.
func (r *Router) compare(ctx context.Context, name string, kinds []uint16, see func(here, beside []string) error) error {
	servers, err := r.servers(ctx)
	if err != nil {
		return err
	}
	for _, v := range servers {
		for _, kind := range kinds {
			here, err := said(ctx, v, name, kind)
			if err != nil {
				return err
			}
			if len(here) == 0 {
				continue
			}
			beside, err := said(ctx, v, sibling(name), kind)
			if err != nil {
				return err
			}
			if err := see(here, beside); err != nil {
				return err
			}
		}
	}
	return nil
}

// wild is the error of a name that users reach by a wildcard: no wildcard answers for it once a record is below it, which is before its own.
func wild(name string) error {
	return fault.New(fault.Refused, "users may reach it by a wildcard of the zone, which would lead them nowhere as soon as records are below %s", plain(name)).
		WithHint("give the name records of its own first, such as those of the wildcard, and hand it over: see docs/concepts/dns.md")
}

// sibling is a name beside another one, which nobody has: both are answered alike by a wildcard (RFC 4592).
func sibling(name string) string {
	const unlikely = 8 // characters, of five random bits each
	_, above, _ := strings.Cut(name, ".")
	return strings.ToLower(rand.Text()[:unlikely]) + "." + above
}

// said is what a server answers for a type at a name: what each record says, in order.
func said(ctx context.Context, v voice, name string, kind uint16) ([]string, error) {
	answer, err := Query(ctx, v.address, new(wire.Msg).SetQuestion(name, kind))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%s does not answer: %w", v.what, err).WithHint("see whether it runs, or name the servers in the router: authorities")
	}
	var all []string
	for _, rr := range answer.Answer {
		if h := rr.Header(); h.Rrtype == kind && strings.EqualFold(h.Name, name) {
			all = append(all, strings.TrimPrefix(rr.String(), h.String()))
		}
	}
	slices.Sort(all)
	return all, nil
}
