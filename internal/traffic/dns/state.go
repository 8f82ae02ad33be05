package dns

import (
	"cmp"
	"errors"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// state is a route as the zone has it, or shall have it.
type state struct {
	host, preLiveHost string              // the latter is "" for none
	sides             map[string][]string // by generation: its addresses, or one host name
	shares            shares              // where the live name leads; none while it leads to no side
	preLive           string              // a generation; "" for none
	port              string              // of all endpoints
	drain             time.Duration
	ttl               uint32 // of the live name, in seconds
	rest              uint32 // the TTL of the live name before it was lowered; 0 when it is not
	// lowered is when answers with the TTL of before have run out, moved when those that lead to the generation before have; in
	// seconds of Unix time, 0 for never.
	lowered, moved int64
	// others are the live name's records, and who owns them, while it leads to none of the sides: those of before there was a route.
	others Records
	gone   bool // nothing is there but others
	// next are the shares that a change under way leads to, and also is a name that it takes away, where records are not changed
	// as a whole; next is nil where there is none.
	next shares
	also string
}

// routable are the types of records that lead users somewhere.
var routable = []uint16{wire.TypeCNAME, wire.TypeA, wire.TypeAAAA}

func header(name string, kind uint16, ttl uint32) wire.RR_Header {
	return wire.RR_Header{Name: name, Rrtype: kind, Class: wire.ClassINET, Ttl: ttl}
}

// records are those of a state.
func (r *Router) records(s *state) Records {
	all := Records{}
	for generation, percent := range s.shares {
		share := Share{}
		if r.powers.Weighs {
			share = Share{Name: generation, Percent: percent}
		}
		all.AddTo(share, r.lead(s, s.host, generation, s.ttl))
	}
	if s.preLive != "" {
		all.Add(r.lead(s, s.preLiveHost, s.preLive, r.seconds))
	}
	for generation, addresses := range s.sides {
		for _, address := range addresses {
			all.Add(endpointOf(r.intermediate(s.host, generation), address, r.seconds))
		}
	}
	for at := range maps.Clone(all) {
		share := at.Share
		if r.powers.Relay != nil {
			share = Share{} // the zone has no shares
		}
		claim := r.claim(at, s.host)
		all[Set{Name: claim.Header().Name, Kind: wire.TypeTXT, Share: share}] = []wire.RR{claim}
	}
	for at, rrs := range s.others {
		all[at] = nil
		for _, rr := range rrs {
			if rr = wire.Copy(rr); at.Name == s.host {
				rr.Header().Ttl = s.ttl
			}
			all.AddTo(at.Share, rr)
		}
	}
	if !s.gone {
		all.Add(text(stateLabel+s.host, r.note(s), r.seconds))
	}
	return all
}

// lead is the record that leads a name to a generation of a route.
func (r *Router) lead(s *state, name, generation string, ttl uint32) wire.RR {
	return &wire.CNAME{Hdr: header(name, wire.TypeCNAME, ttl), Target: r.intermediate(s.host, generation)}
}

// endpointOf is the record that leads a name to an address or another name.
func endpointOf(name, address string, ttl uint32) wire.RR {
	ip := net.ParseIP(address)
	switch {
	case ip == nil:
		return &wire.CNAME{Hdr: header(name, wire.TypeCNAME, ttl), Target: canonical(address)}
	case ip.To4() != nil:
		return &wire.A{Hdr: header(name, wire.TypeA, ttl), A: ip.To4()}
	default:
		return &wire.AAAA{Hdr: header(name, wire.TypeAAAA, ttl), AAAA: ip}
	}
}

// target is what a record of a routable type leads to.
func target(rr wire.RR) string {
	switch rr := rr.(type) {
	case *wire.CNAME:
		return canonical(rr.Target)
	case *wire.A:
		return rr.A.String()
	case *wire.AAAA:
		return rr.AAAA.String()
	}
	return ""
}

// kindName is a type as names of the registry have it.
func kindName(kind uint16) string { return strings.ToLower(wire.TypeToString[kind]) }

// text is a TXT record. Its text has no quotes and backslashes, and may be longer than the 255 bytes of one string (RFC 1035 section 3.3.14).
func text(name, content string, ttl uint32) wire.RR {
	rr := &wire.TXT{Hdr: header(name, wire.TypeTXT, ttl)}
	for part := range slices.Chunk([]byte(content), 255) {
		rr.Txt = append(rr.Txt, string(part))
	}
	return rr
}

// textOf is the text of a TXT record, and "" for other records.
func textOf(rr wire.RR) string {
	if t, ok := rr.(*wire.TXT); ok {
		return strings.Join(t.Txt, "")
	}
	return ""
}

// note writes what the other records do not say of a state. What is nothing or zero is left out.
func (r *Router) note(s *state) string {
	v := url.Values{"owner": {r.options.Owner}, "side": slices.Sorted(maps.Keys(s.sides))}
	for field, value := range map[string]string{"live": s.shares.String(), "preLiveHost": plain(s.preLiveHost), "port": s.port, "also": plain(s.also)} {
		if value != "" {
			v.Set(field, value)
		}
	}
	for field, value := range map[string]int64{"rest": int64(s.rest), "lowered": s.lowered, "moved": s.moved} {
		if value != 0 {
			v.Set(field, strconv.FormatInt(value, 10))
		}
	}
	if s.drain != 0 {
		v.Set("drain", s.drain.String())
	}
	if s.next != nil {
		v.Set("next", s.next.String())
	}
	return v.Encode()
}

// noted reads what note wrote, and returns its owner, too.
func noted(host, content string) (*state, string, error) {
	v, err := url.ParseQuery(content)
	if err != nil {
		return nil, "", err
	}
	s := &state{host: host, port: v.Get("port"), sides: map[string][]string{}}
	for field, into := range map[string]*string{"preLiveHost": &s.preLiveHost, "also": &s.also} {
		if name := v.Get(field); name != "" {
			*into = canonical(name)
		}
	}
	for _, side := range v["side"] {
		s.sides[side] = nil
	}
	if s.shares, err = sharesIn(v.Get("live")); err != nil {
		return nil, "", err
	}
	if v.Has("next") {
		if s.next, err = sharesIn(v.Get("next")); err != nil {
			return nil, "", err
		}
	}
	rest, err := strconv.ParseUint(cmp.Or(v.Get("rest"), "0"), 10, 32)
	if err != nil {
		return nil, "", err
	}
	s.rest = uint32(rest)
	for field, into := range map[string]*int64{"lowered": &s.lowered, "moved": &s.moved} {
		if *into, err = strconv.ParseInt(cmp.Or(v.Get(field), "0"), 10, 64); err != nil {
			return nil, "", err
		}
	}
	if s.drain, err = time.ParseDuration(cmp.Or(v.Get("drain"), "0s")); err != nil {
		return nil, "", err
	}
	if v.Get("owner") == "" {
		return nil, "", errors.New("it names no owner")
	}
	return s, v.Get("owner"), nil
}

// stateOf puts the note of a route together with the other records, and reports whether the live name leads where the note says, or
// where the change leads that it speaks of.
func (r *Router) stateOf(s *state, found Records) (*state, bool) {
	generations := map[string]string{}
	for generation := range s.sides {
		name := r.intermediate(s.host, generation)
		generations[name] = generation
		for _, kind := range routable {
			for _, rr := range found.of(name, kind).all() {
				s.sides[generation] = append(s.sides[generation], plain(target(rr)))
			}
		}
		slices.Sort(s.sides[generation])
	}
	for _, rr := range found.of(s.preLiveHost, wire.TypeCNAME).all() {
		s.preLive = generations[target(rr)]
	}
	said := s.shares
	s.shares, s.others = r.sharesOf(s, found, generations)
	as := s.shares.equal(said)
	if s.next != nil && !as && s.shares.equal(s.next) {
		as, s.moved = true, r.later(s.ttl) // it came to that at a moment that is not known
	}
	s.next, s.also = nil, ""
	return s, as
}

// sharesOf are the generations that the live name leads to, and its TTL goes to the state. Where any of its records leads elsewhere,
// they are all others.
func (r *Router) sharesOf(s *state, found Records, generations map[string]string) (shares, Records) {
	led, others, ours := shares{}, Records{}, true
	for at, rrs := range found.At(s.host) {
		if !slices.Contains(routable, at.Kind) {
			continue
		}
		others[at] = rrs
		for _, rr := range rrs {
			generation := generations[target(rr)]
			ours = ours && generation != "" && (at.Share == Share{} || r.powers.Weighs)
			led[generation], s.ttl = 100, rr.Header().Ttl
			if at.Share != (Share{}) {
				led[generation] = at.Share.Percent
			}
		}
	}
	if ours && len(led) > 0 {
		return led, nil
	}
	for _, kind := range routable {
		maps.Copy(others, found.of(r.registry(s.host, kindName(kind)), wire.TypeTXT))
	}
	return shares{}, others
}

// route is a state as routers report it.
func (s *state) route() traffic.Route {
	route := traffic.Route{Host: plain(s.host), PreLiveHost: plain(s.preLiveHost), PreLive: s.preLive, Drain: s.drain}
	for _, generation := range slices.Sorted(maps.Keys(s.sides)) {
		side := traffic.Side{Generation: generation}
		for _, address := range s.sides[generation] {
			side.Endpoints = append(side.Endpoints, net.JoinHostPort(address, s.port))
		}
		side.Weight = s.shares[generation]
		route.Sides = append(route.Sides, side)
	}
	return route
}

// present reports whether users who ask for the live name are led anywhere.
func (s *state) present() bool { return len(s.shares) > 0 || len(s.others.At(s.host)) > 0 }

// leads reports whether the live name leads its users by their shares, by whatever records.
func (s *state) leads(want shares) bool {
	if len(s.shares) > 0 || len(want) != 1 {
		return s.shares.equal(want)
	}
	for at, rrs := range s.others {
		for _, rr := range rrs {
			if at.Name == s.host && !slices.Contains(s.sides[want.most()], plain(target(rr))) {
				return false
			}
		}
	}
	return len(s.others.At(s.host)) > 0
}

// keptSince is a state whose TTL had not run out when a wait began, and counts from the moment at which it ended. After a move that is the TTL
// of now: the servers had it before, so what they handed out late does not last as long as the TTL of before.
func (s *state) keptSince(began, moment time.Time) *state {
	next := s.clone()
	switch {
	case s.moved > began.Unix():
		next.moved = max(s.moved, moment.Unix()+1+int64(s.ttl))
	case s.lowered > began.Unix():
		next.lowered = max(s.lowered, moment.Unix()+1+int64(s.rest))
	}
	return next
}

// keptOn is a state whose live name's last move resolvers hear of from now on.
func (r *Router) keptOn(now, _ *state) (*state, error) {
	next := now.clone()
	next.moved = max(now.moved, r.later(now.ttl))
	return next, nil
}

// later is when a TTL of seconds has run out that begins now, or with a relay, once its servers have all followed.
func (r *Router) later(seconds uint32) int64 {
	var settles time.Duration
	if r.powers.Relay != nil {
		settles = r.powers.Relay.Settles()
	}
	return time.Now().Add(settles).Unix() + 1 + int64(seconds)
}

// ahead reports whether a moment, in seconds of Unix time, is to come.
func ahead(moment int64) bool { return time.Unix(moment, 0).After(time.Now()) }

// clone is a copy that may be changed.
func (s *state) clone() *state {
	c := *s
	c.sides = maps.Clone(s.sides)
	return &c
}

// added is a state with all that is wanted beside what there is: the live name leads where it does, with the TTL that lets it be
// moved soon where it may be.
func (r *Router) added(now, want *state) (*state, error) {
	next := now.clone()
	maps.Copy(next.sides, want.sides)
	next.preLive, next.preLiveHost, next.drain = want.preLive, want.preLiveHost, want.drain
	if want.port != "" {
		next.port = want.port
	}
	if len(now.shares) > 0 && len(want.shares) == 0 {
		return nil, fault.New(fault.Invalid, "it leads users to %s, and no side of the route shall have them", now.shares).
			WithHint("give a side the weight 100, or remove the route")
	}
	resting := want.preLive == "" && len(want.sides) == 1 && now.shares.equal(want.shares)
	if now.present() && !resting && now.ttl > r.seconds {
		if next.ttl = r.seconds; now.rest == 0 {
			next.rest = now.ttl
		}
		next.lowered = r.later(now.ttl)
	}
	return next, nil
}

// moved is a state whose live name leads to the wanted generation.
func (r *Router) moved(now, want *state) (*state, error) {
	if now.shares.equal(want.shares) {
		return now, nil
	}
	next := now.clone()
	switch {
	case !now.present():
		next.ttl = r.seconds
	case !now.leads(want.shares):
		next.moved = r.later(now.ttl)
	}
	next.shares, next.others = want.shares, nil
	return next, nil
}

// dropped is a state without the sides that are no longer wanted. Once there is but one, and none to come, the live name has the TTL
// of before again.
func (r *Router) dropped(now, want *state) (*state, error) {
	next := now.clone()
	maps.DeleteFunc(next.sides, func(generation string, _ []string) bool {
		_, wanted := want.sides[generation]
		return !wanted
	})
	if want.preLive == "" && len(want.sides) == 1 && now.rest > 0 {
		next.ttl, next.rest = now.rest, 0
	}
	return next, nil
}

// unled is a route whose live name leads none of its generations any more.
func (r *Router) unled(now, _ *state) (*state, error) {
	next := now.clone()
	next.shares = shares{}
	return next, nil
}

// removed is a zone without the route. Who owns the live name stays only with records of before: without them it is what a Remove that was
// stopped has left.
func (r *Router) removed(now, _ *state) (*state, error) {
	next := &state{host: now.host, ttl: now.ttl, gone: true}
	if len(now.others.At(now.host)) > 0 {
		next.others = now.others
	}
	return next, nil
}

// meanwhile is what the note says while records are changed one after the other: all that there was and that there shall be.
func meanwhile(now, next *state) *state {
	b := next.clone()
	b.gone, b.shares, b.next = false, now.shares, next.shares
	if b.next == nil {
		b.next = shares{}
	}
	for generation := range now.sides {
		if _, known := b.sides[generation]; !known {
			if b.sides == nil {
				b.sides = map[string][]string{}
			}
			b.sides[generation] = nil
		}
	}
	if now.preLiveHost != next.preLiveHost {
		b.also = now.preLiveHost
	}
	return b
}
