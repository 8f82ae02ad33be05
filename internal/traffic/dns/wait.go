package dns

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// callLimit bounds one question and its answer.
const callLimit = 5 * time.Second

// beat is how often servers and resolvers are asked while one waits for them.
const beat = 500 * time.Millisecond

// heard is what a voice answers for a name.
type heard struct {
	says   string // for people
	leads  bool   // to one of the generations that were asked about
	onward bool   // it is a server of the zone that leads to the relay, whose servers know where to
	silent bool   // it does not answer
	lame   bool   // it answers that it cannot or may not tell; resolvers ask another one then
}

// voice is a server that others ask.
type voice struct {
	what     string // for people
	address  string
	resolves bool // it asks others itself
	relays   bool // it answers the names of the relay, and no others
}

// outlast waits until what resolvers keep of the live name by its TTL of before lasts no longer than what they keep by the TTL of now.
func (r *Router) outlast(ctx context.Context, s *state) error {
	until := time.Unix(s.lowered, 0).Add(-r.options.TTL)
	return r.beats(ctx, s, func() ([]string, error) {
		if time.Now().Before(until) {
			return []string{fmt.Sprintf("what resolvers keep by the TTL of before, %d seconds, lasts too long until %s", s.rest, clock(until))}, nil
		}
		return nil, nil
	})
}

// followed waits until every authoritative server has what the primary has. Where one took a while, resolvers got what is old from it
// until now, and keep it from now on.
func (r *Router) followed(ctx context.Context, s *state) (*state, error) {
	began := time.Now()
	servers, err := r.voices(ctx)
	if err != nil {
		return nil, r.failure("see who answers", s.host, err)
	}
	servers = slices.DeleteFunc(servers, func(v voice) bool { return v.resolves })
	deadline, lagged := time.Now().Add(r.options.Wait), false
	err = r.beats(ctx, s, func() ([]string, error) {
		late, behind := r.late(ctx, s, servers)
		lagged = lagged || behind
		return late, r.overdue(ctx, s, late, deadline)
	})
	if err != nil || !lagged {
		return s, err
	}
	since := time.Now()
	return r.change(ctx, s, func(now, _ *state) (*state, error) { return now.keptSince(began, since), nil })
}

// reachable waits until every authoritative server answers the intermediate names that users shall be led to. Where sets are changed one by
// one, a server may have the name that leads there before it has them. One that is silent or lame leads nobody anywhere, and would stand in the way back.
func (r *Router) reachable(ctx context.Context, want *state) error {
	servers, err := r.servers(ctx)
	if err != nil {
		return r.failure("see who answers", want.host, err)
	}
	deadline := time.Now().Add(r.options.Wait)
	return r.beats(ctx, want, func() ([]string, error) {
		var late []string
		for _, v := range servers {
			for _, generation := range want.shares.generations() {
				name, led := r.intermediate(want.host, generation), []string{generation}
				h := r.hear(ctx, v, name, want, led)
				if h.silent { // or a packet was lost
					h = r.hear(ctx, v, name, want, led)
				}
				if !h.leads && !h.silent && !h.lame {
					late = append(late, fmt.Sprintf("%s %s", v.what, h.says))
				}
			}
		}
		return late, r.overdue(ctx, want, late, deadline)
	})
}

// inForce waits until what resolvers keep of where the live name led before has run out, and every authoritative server and every
// resolver that is named answers where it leads now. Those that do not within the bound are an error of code fault.Failed. What resolvers got from a server
// that was late all the same, as after a restart, they keep from then on.
func (r *Router) inForce(ctx context.Context, s *state) error {
	voices, err := r.voices(ctx)
	if err != nil {
		return r.failure("see who answers", s.host, err)
	}
	moved := time.Unix(s.moved, 0)
	deadline := time.Now()
	if moved.After(deadline) {
		deadline = moved
	}
	deadline, lagged := deadline.Add(r.options.Wait), false
	err = r.beats(ctx, s, func() ([]string, error) {
		late, behind := r.late(ctx, s, voices)
		lagged = lagged || behind
		err := r.overdue(ctx, s, late, deadline)
		if time.Now().Before(moved) {
			late = append(late, "what resolvers keep by the TTL lasts until "+clock(moved))
		}
		return late, err
	})
	if err != nil || !lagged || s.moved == 0 || len(s.sides) < 2 { // where nobody was moved, or nobody can be led to what is gone
		return err
	}
	if s, err = r.change(ctx, s, r.keptOn); err != nil {
		return err
	}
	return r.inForce(ctx, s)
}

// overdue is the error of those that are late after the deadline.
func (r *Router) overdue(ctx context.Context, s *state, late []string, deadline time.Time) error {
	if len(late) == 0 || time.Now().Before(deadline) || ctx.Err() != nil {
		return nil
	}
	return fault.New(fault.Failed, "cannot lead all users of %s to %s: %s", plain(s.host), s.shares, strings.Join(late, "; ")).
		WithHint("the zone has what they should answer; see why these do not follow, or allow them more time: wait, now %v", r.options.Wait)
}

// clock is a moment for people.
func clock(at time.Time) string { return at.UTC().Format(time.TimeOnly + " MST") }

// beats asks what there is to wait for, until that is nothing, and says it when it is something else.
func (r *Router) beats(ctx context.Context, s *state, left func() ([]string, error)) error {
	again := time.NewTicker(beat)
	defer again.Stop()
	for said := ""; ; {
		waits, err := left()
		if err != nil || len(waits) == 0 {
			return err
		}
		if now := strings.Join(waits, "; "); now != said {
			said = now
			r.progress("%s waits: %s", plain(s.host), now)
		}
		select {
		case <-ctx.Done():
			return r.failure("wait for", s.host, ctx.Err())
		case <-again.C:
		}
	}
}

// servers are the authoritative servers of the zone.
func (r *Router) servers(ctx context.Context) ([]voice, error) {
	if len(r.options.Authorities) == 0 {
		return r.nameServers(ctx)
	}
	var all []voice
	for _, address := range r.options.Authorities {
		all = append(all, voice{what: "server " + address, address: address})
	}
	return all, nil
}

// voices are those that must answer what is new: the authoritative servers, those of the relay and the resolvers.
func (r *Router) voices(ctx context.Context) ([]voice, error) {
	all, err := r.servers(ctx)
	if err != nil {
		return nil, err
	}
	if r.powers.Relay != nil {
		addresses, err := r.powers.Relay.Servers(ctx)
		if err != nil {
			return nil, err
		}
		for _, address := range addresses {
			all = append(all, voice{what: "server " + address, address: address, relays: true})
		}
	}
	for _, address := range r.options.Resolvers {
		all = append(all, voice{what: "resolver " + address, address: address, resolves: true})
	}
	return all, nil
}

// nameServers are those of the zone's NS records, at every address of theirs: by the zone itself where it has their names. A backend
// that does not keep them has them asked for as anybody does.
func (r *Router) nameServers(ctx context.Context) ([]voice, error) {
	s, err := r.backend.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	names, err := r.serverNames(ctx, s)
	if err != nil {
		return nil, err
	}
	var all []voice
	for _, name := range names {
		addresses, err := r.addressesOf(ctx, s, name)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "there is no address of its name server %s: %w", plain(name), err).
				WithHint("correct the zone's NS records, or name the servers in the router: authorities")
		}
		for _, address := range addresses {
			all = append(all, voice{what: fmt.Sprintf("server %s (%s)", plain(name), address), address: net.JoinHostPort(address, r.port)})
		}
	}
	return all, nil
}

// serverNames are the names of the zone's servers; there is at least one.
func (r *Router) serverNames(ctx context.Context, s Session) ([]string, error) {
	kept, err := s.Ask(ctx, r.zone, wire.TypeNS)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, rr := range kept.all() {
		names = append(names, canonical(Value(rr)))
	}
	if len(names) > 0 {
		return names, nil
	}
	found, err := net.DefaultResolver.LookupNS(ctx, r.zone)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "there are no name servers of it: %w", err).WithHint("name the servers in the router: authorities")
	}
	for _, ns := range found {
		names = append(names, canonical(ns.Host))
	}
	return names, nil
}

// addressesOf are those of a name server; there is at least one.
func (r *Router) addressesOf(ctx context.Context, s Session, name string) ([]string, error) {
	var all []string
	if wire.IsSubDomain(r.zone, name) {
		for _, kind := range []uint16{wire.TypeA, wire.TypeAAAA} {
			kept, err := s.Ask(ctx, name, kind)
			if err != nil {
				return nil, err
			}
			for _, rr := range kept.all() {
				all = append(all, target(rr))
			}
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	return net.DefaultResolver.LookupHost(ctx, name)
}

// late says which voices do not answer what the zone has, each with what it answers instead, and whether an authoritative server is among them for the live
// name. Resolvers are not asked for the pre-live name.
func (r *Router) late(ctx context.Context, s *state, voices []voice) (late []string, behind bool) {
	for _, v := range voices {
		for name, led := range map[string]shares{s.host: s.shares, s.preLiveHost: {s.preLive: 100}} {
			if name == "" || len(led) == 0 || led.most() == "" || (v.resolves || v.relays) && name != s.host {
				continue
			}
			if h := r.hear(ctx, v, name, s, led.generations()); !h.leads && !h.onward {
				late = append(late, fmt.Sprintf("%s %s", v.what, h.says))
				behind = behind || name == s.host && !v.resolves
			}
		}
	}
	slices.Sort(late)
	return slices.Compact(late), behind
}

// hear asks a voice for a name as users do, and whether that leads to one of some generations.
func (r *Router) hear(ctx context.Context, v voice, name string, s *state, generations []string) heard {
	via := ""
	if r.powers.Relay != nil && name == s.host {
		via = r.powers.Relay.Via(name)
	}
	asked := name
	if v.relays {
		asked = via
	}
	for _, kind := range s.kinds(generations) {
		m := new(wire.Msg).SetQuestion(asked, kind)
		m.RecursionDesired = v.resolves
		answer, err := Query(ctx, v.address, m)
		if err != nil {
			return heard{says: "does not answer", silent: true}
		}
		leads, ttl := leadsIn(answer, asked)
		if via != "" && slices.Equal(leads, []string{plain(via)}) {
			if !v.resolves {
				return heard{says: "leads on", onward: true}
			}
			leads, ttl = leadsIn(answer, via)
		}
		if len(leads) == 0 {
			return heard{
				says: fmt.Sprintf("answers %s nowhere (%s)", plain(name), wire.RcodeToString[answer.Rcode]),
				lame: answer.Rcode == wire.RcodeServerFailure || answer.Rcode == wire.RcodeRefused,
			}
		}
		if !r.within(leads, s, generations) {
			return heard{says: fmt.Sprintf("still answers %s by %s", plain(name), strings.Join(leads, ", "))}
		}
		if !v.resolves && name == s.host && ttl != s.ttl {
			return heard{says: fmt.Sprintf("still answers %s with a TTL of %d seconds", plain(name), ttl)}
		}
	}
	return heard{says: "answers it", leads: true}
}

// kinds are the types of the addresses that all of some generations have; a name of its own is asked for addresses of IPv4.
func (s *state) kinds(generations []string) []uint16 {
	kinds := map[uint16]int{}
	for _, generation := range generations {
		has := map[uint16]bool{}
		for _, address := range s.sides[generation] {
			kind := endpointOf("", address, 0).Header().Rrtype
			if kind == wire.TypeCNAME {
				kind = wire.TypeA
			}
			has[kind] = true
		}
		for kind := range has {
			kinds[kind]++
		}
	}
	maps.DeleteFunc(kinds, func(_ uint16, n int) bool { return n < len(generations) })
	return slices.Sorted(maps.Keys(kinds))
}

// leadsIn is where an answer leads a name, to another name or to addresses, and its TTL in seconds.
func leadsIn(answer *wire.Msg, name string) (leads []string, ttl uint32) {
	for _, rr := range answer.Answer {
		if canonical(rr.Header().Name) == name && slices.Contains(routable, rr.Header().Rrtype) {
			leads, ttl = append(leads, plain(target(rr))), rr.Header().Ttl
		}
	}
	slices.Sort(leads)
	return leads, ttl
}

// within reports whether an answer leads to some generations alone: by their intermediate names, or to addresses of theirs.
func (r *Router) within(leads []string, s *state, generations []string) bool {
	return !slices.ContainsFunc(leads, func(to string) bool {
		return !slices.ContainsFunc(generations, func(generation string) bool {
			return canonical(to) == r.intermediate(s.host, generation) || slices.Contains(s.sides[generation], to)
		})
	})
}

// Query asks a server by UDP, and by TCP for an answer that is too long for it.
func Query(ctx context.Context, address string, m *wire.Msg) (*wire.Msg, error) {
	const size = 1232 // that is not cut in pieces on the way (DNS flag day 2020)
	m.SetEdns0(size, false)
	client := wire.Client{Timeout: callLimit}
	answer, _, err := client.ExchangeContext(ctx, m, address)
	if err == nil && answer.Truncated {
		client.Net = "tcp"
		answer, _, err = client.ExchangeContext(ctx, m, address)
	}
	return answer, err
}

// Leading names who may still lead users of a host to a generation that the live name does not lead to: resolvers that keep to the TTL,
// until that has run out and the route's drain after it, for requests that began by then; named servers and resolvers that answer it.
func (r *Router) Leading(ctx context.Context, host, generation string) ([]string, error) {
	now, err := r.look(ctx, host)
	if err != nil || now == nil || now.shares[generation] > 0 {
		return nil, err
	}
	var who []string
	if end := time.Unix(now.moved, 0).Add(now.drain); time.Now().Before(end) {
		who = append(who, "resolvers and requests under way, until "+clock(end))
	}
	if len(now.shares) == 0 || len(now.sides[generation]) == 0 {
		return who, nil
	}
	voices, err := r.voices(ctx)
	if err != nil {
		return nil, r.failure("see who answers", now.host, err)
	}
	for _, v := range voices {
		switch h := r.hear(ctx, v, now.host, now, []string{generation}); {
		case h.leads:
			who = append(who, fmt.Sprintf("%s, which still answers by %s", v.what, plain(r.intermediate(now.host, generation))))
		case h.silent:
			who = append(who, v.what+", which "+h.says)
		}
	}
	return who, nil
}
