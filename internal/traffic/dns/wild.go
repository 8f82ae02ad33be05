package dns

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// sibling is a name beside another one, which nobody has: both are answered alike by a wildcard (RFC 4592).
func sibling(name string) string {
	const unlikely = 8 // characters, of five random bits each
	_, above, _ := strings.Cut(name, ".")
	return strings.ToLower(rand.Text()[:unlikely]) + "." + above
}

// said is what a server answers for a type at a name: what each record says, in order.
func said(ctx context.Context, v voice, name string, kind uint16) ([]string, error) {
	answer, err := query(ctx, v.address, new(wire.Msg).SetQuestion(name, kind))
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
