package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

var _ traffic.Publisher = (*Router)(nil)

// maxAliases bounds how many CNAMEs in a row are followed.
const maxAliases = 8

// Publish adds a TXT record at a name, or where its CNAMEs lead, which must be below the zone, and waits until every authoritative server
// answers it: within the router's bound, past which that is an error of code fault.Failed. Other records there stay.
func (r *Router) Publish(ctx context.Context, name, text string) error {
	at, err := r.text(ctx, name, text, true)
	if err != nil {
		return r.failureOf("publish", name, err)
	}
	servers, err := r.servers(ctx)
	if err != nil {
		return r.failureOf("publish", name, err)
	}
	deadline := time.Now().Add(r.options.Wait)
	err = r.beats(ctx, &state{host: at}, func() ([]string, error) {
		late := r.without(ctx, at, text, servers)
		if len(late) > 0 && time.Now().After(deadline) {
			return nil, fault.New(fault.Failed, "%s", strings.Join(late, "; ")).WithHint("see why these do not follow the primary, or allow them more time: wait")
		}
		return late, nil
	})
	if err != nil {
		return r.failureOf("publish", name, err)
	}
	return nil
}

// Withdraw takes a TXT record away from where Publish has put it.
func (r *Router) Withdraw(ctx context.Context, name, text string) error {
	if _, err := r.text(ctx, name, text, false); err != nil {
		return r.failureOf("withdraw", name, err)
	}
	return nil
}

// failureOf says which TXT record could not be dealt with.
func (r *Router) failureOf(act, name string, err error) error {
	code := fault.CodeOf(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		code = fault.Unavailable
	}
	return fault.New(code, "cannot %s the TXT record %s by the zone %s at %s: %w", act, plain(name), r.options.Zone, r.backend, err)
}

// text adds one TXT record, or takes it away, and returns where it is.
func (r *Router) text(ctx context.Context, name, value string, there bool) (string, error) {
	name, err := r.aliased(ctx, canonical(name))
	if err != nil {
		return "", err
	}
	s, err := r.backend.Open(ctx)
	if err != nil {
		return "", err
	}
	defer s.Close()
	for range maxCollisions {
		have, err := askText(ctx, s, name, func(text string) bool { return text == value })
		if err != nil {
			return "", err
		}
		want := r.withText(have, name, value, there)
		if at := (Set{Name: name, Kind: wire.TypeTXT}); Same(have, want, at) {
			return name, nil
		}
		if err := s.Change(ctx, have, want); !errors.Is(err, ErrCollision) {
			return name, err
		}
	}
	return "", fault.New(fault.Unavailable, "its records change all the time").WithHint("see what else writes to the zone")
}

// withText is what a name has with one TXT record more, or less; all of them have the TTL of those that are there.
func (r *Router) withText(have Records, name, value string, there bool) Records {
	want, ttl := Records{}, r.seconds
	for _, rr := range have.all() {
		ttl = rr.Header().Ttl
		if textOf(rr) != value {
			want.Add(rr)
		}
	}
	if there {
		want.Add(text(name, value, ttl))
	}
	return want
}

// aliased follows the CNAMEs of a name, which must lead below the zone: by the primary there, by resolvers elsewhere.
func (r *Router) aliased(ctx context.Context, name string) (string, error) {
	for range maxAliases {
		next, err := r.alias(ctx, name)
		if err != nil {
			return "", err
		}
		if next == "" && !wire.IsSubDomain(r.zone, name) {
			return "", fault.New(fault.Invalid, "%s is not below the zone, and no CNAME leads from there below it", plain(name)).
				WithHint("add one: %s CNAME, to a name below %s", plain(name), r.options.Zone)
		}
		if next == "" {
			return name, nil
		}
		name = next
	}
	return "", fault.New(fault.Invalid, "more than %d CNAMEs lead on from there", maxAliases).WithHint("see whether they lead in a circle")
}

// alias is where the CNAME of a name leads; "" where it has none.
func (r *Router) alias(ctx context.Context, name string) (string, error) {
	if wire.IsSubDomain(r.zone, name) {
		s, err := r.backend.Open(ctx)
		if err != nil {
			return "", err
		}
		defer s.Close()
		found, err := s.Ask(ctx, name, wire.TypeCNAME)
		if err == nil {
			found, err = itself(ctx, s, name, found)
		}
		if err != nil || len(found) == 0 {
			return "", err
		}
		return canonical(target(found.all()[0])), nil
	}
	var failed error
	resolvers, err := r.resolvers()
	if err != nil {
		return "", err
	}
	for _, address := range resolvers {
		answer, err := Query(ctx, address, new(wire.Msg).SetQuestion(name, wire.TypeCNAME))
		if err == nil && (answer.Rcode == wire.RcodeSuccess || answer.Rcode == wire.RcodeNameError) {
			for _, rr := range answer.Answer {
				if c, ok := rr.(*wire.CNAME); ok && canonical(c.Hdr.Name) == name {
					return canonical(c.Target), nil
				}
			}
			return "", nil
		}
		if err == nil {
			err = fmt.Errorf("it answers %s", wire.RcodeToString[answer.Rcode])
		}
		failed = fault.New(fault.Unavailable, "the resolver %s does not answer for %s: %w", address, plain(name), err).WithHint("see the resolvers of the router")
	}
	return "", failed
}

// resolvers are those of the router, or else those of this machine.
func (r *Router) resolvers() ([]string, error) {
	if len(r.options.Resolvers) > 0 {
		return r.options.Resolvers, nil
	}
	config, err := wire.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil || len(config.Servers) == 0 {
		return nil, fault.New(fault.Invalid, "no resolver is known: %v", err).WithHint("name some in the router: resolvers")
	}
	var all []string
	for _, s := range config.Servers {
		all = append(all, net.JoinHostPort(s, config.Port))
	}
	return all, nil
}

// without are the servers that do not answer a TXT record.
func (r *Router) without(ctx context.Context, name, text string, servers []voice) []string {
	var late []string
	for _, v := range servers {
		m := new(wire.Msg).SetQuestion(name, wire.TypeTXT)
		m.RecursionDesired = false
		answer, err := Query(ctx, v.address, m)
		if err != nil {
			late = append(late, v.what+" does not answer")
			continue
		}
		if !slices.ContainsFunc(answer.Answer, func(rr wire.RR) bool { return rr.Header().Rrtype == wire.TypeTXT && textOf(rr) == text }) {
			late = append(late, fmt.Sprintf("%s does not answer the TXT record yet", v.what))
		}
	}
	return late
}
