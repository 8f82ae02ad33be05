package dns

import (
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
	live, preLive     string              // generations; "" for none
	port              string              // of all endpoints
	drain             time.Duration
	ttl               uint32 // of the live name, in seconds
	rest              uint32 // the TTL of the live name before it was lowered; 0 when it is not
	// lowered is when answers with the TTL of before have run out, moved when those that lead to the generation before have; in
	// seconds of Unix time, 0 for never.
	lowered, moved int64
	// others are the live name's records, and who owns them, while it leads to none of the sides: those of before there was a route.
	others records
	gone   bool // nothing is there but others
}

// set names a set of records: those of one type at one name.
type set struct {
	name string
	kind uint16
}

// records are sets of records, each in order of its texts.
type records map[set][]wire.RR

func (rs records) add(rr wire.RR) {
	at := set{rr.Header().Name, rr.Header().Rrtype}
	rs[at] = append(rs[at], rr)
	slices.SortFunc(rs[at], func(a, b wire.RR) int { return strings.Compare(a.String(), b.String()) })
}

// at are the sets of a name.
func (rs records) at(name string) records {
	found := records{}
	for s, rrs := range rs {
		if s.name == name {
			found[s] = rrs
		}
	}
	return found
}

// routable are the types of records that lead users somewhere.
var routable = []uint16{wire.TypeCNAME, wire.TypeA, wire.TypeAAAA}

func header(name string, kind uint16, ttl uint32) wire.RR_Header {
	return wire.RR_Header{Name: name, Rrtype: kind, Class: wire.ClassINET, Ttl: ttl}
}

// records are those of a state.
func (r *Router) records(s *state) records {
	all := records{}
	lead := func(name, generation string, ttl uint32) {
		all.add(&wire.CNAME{Hdr: header(name, wire.TypeCNAME, ttl), Target: r.intermediate(s.host, generation)})
	}
	if s.live != "" {
		lead(s.host, s.live, s.ttl)
	}
	if s.preLive != "" {
		lead(s.preLiveHost, s.preLive, r.seconds)
	}
	for generation, addresses := range s.sides {
		for _, address := range addresses {
			all.add(endpointOf(r.intermediate(s.host, generation), address, r.seconds))
		}
	}
	for at := range maps.Clone(all) {
		all.add(r.claim(at, s.host))
	}
	for at, rrs := range s.others {
		all[at] = nil
		for _, rr := range rrs {
			if rr = wire.Copy(rr); at.name == s.host {
				rr.Header().Ttl = s.ttl
			}
			all.add(rr)
		}
	}
	if !s.gone {
		all.add(text(stateLabel+s.host, r.note(s), r.seconds))
	}
	return all
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

// note writes what the other records do not say of a state.
func (r *Router) note(s *state) string {
	v := url.Values{
		"owner": {r.options.Owner}, "live": {s.live}, "preLiveHost": {plain(s.preLiveHost)}, "port": {s.port}, "drain": {s.drain.String()},
		"rest": {strconv.FormatUint(uint64(s.rest), 10)}, "lowered": {strconv.FormatInt(s.lowered, 10)}, "moved": {strconv.FormatInt(s.moved, 10)},
		"side": slices.Sorted(maps.Keys(s.sides)),
	}
	return v.Encode()
}

// noted reads what note wrote, and returns its owner, too.
func noted(host, content string) (*state, string, error) {
	v, err := url.ParseQuery(content)
	if err != nil {
		return nil, "", err
	}
	s := &state{host: host, live: v.Get("live"), port: v.Get("port"), sides: map[string][]string{}}
	if name := v.Get("preLiveHost"); name != "" {
		s.preLiveHost = canonical(name)
	}
	for _, side := range v["side"] {
		s.sides[side] = nil
	}
	rest, err := strconv.ParseUint(v.Get("rest"), 10, 32)
	if err != nil {
		return nil, "", err
	}
	s.rest = uint32(rest)
	for field, into := range map[string]*int64{"lowered": &s.lowered, "moved": &s.moved} {
		if *into, err = strconv.ParseInt(v.Get(field), 10, 64); err != nil {
			return nil, "", err
		}
	}
	if s.drain, err = time.ParseDuration(v.Get("drain")); err != nil {
		return nil, "", err
	}
	return s, v.Get("owner"), nil
}

// stateOf puts the note of a route together with the other records, and reports whether the live name leads where the note says.
func (r *Router) stateOf(s *state, found records) (*state, bool) {
	generations := map[string]string{}
	for generation := range s.sides {
		name := r.intermediate(s.host, generation)
		generations[name] = generation
		for _, kind := range routable {
			for _, rr := range found[set{name, kind}] {
				s.sides[generation] = append(s.sides[generation], plain(target(rr)))
			}
		}
		slices.Sort(s.sides[generation])
	}
	for _, rr := range found[set{s.preLiveHost, wire.TypeCNAME}] {
		s.preLive = generations[target(rr)]
	}
	live := ""
	s.others = records{}
	for _, kind := range routable {
		for _, rr := range found[set{s.host, kind}] {
			live, s.ttl = generations[target(rr)], rr.Header().Ttl
		}
		for _, at := range []set{{s.host, kind}, {r.registry(s.host, kindName(kind)), wire.TypeTXT}} {
			if len(found[at]) > 0 {
				s.others[at] = found[at]
			}
		}
	}
	if live != "" {
		s.others = nil
	}
	as := s.live == live
	s.live = live
	return s, as
}

// route is a state as routers report it.
func (s *state) route() traffic.Route {
	route := traffic.Route{Host: plain(s.host), PreLiveHost: plain(s.preLiveHost), PreLive: s.preLive, Drain: s.drain}
	for _, generation := range slices.Sorted(maps.Keys(s.sides)) {
		side := traffic.Side{Generation: generation}
		for _, address := range s.sides[generation] {
			side.Endpoints = append(side.Endpoints, net.JoinHostPort(address, s.port))
		}
		if generation == s.live {
			side.Weight = 100
		}
		route.Sides = append(route.Sides, side)
	}
	return route
}

// present reports whether users who ask for the live name are led anywhere.
func (s *state) present() bool { return s.live != "" || len(s.others.at(s.host)) > 0 }

// leads reports whether the live name leads to a generation, by whatever records.
func (s *state) leads(generation string) bool {
	for at, rrs := range s.others {
		for _, rr := range rrs {
			if at.name == s.host && !slices.Contains(s.sides[generation], plain(target(rr))) {
				return false
			}
		}
	}
	return s.live == generation || s.live == "" && len(s.others.at(s.host)) > 0
}

// keptSince is a state whose TTLs have not run out and count from a moment.
func (s *state) keptSince(moment time.Time) *state {
	next := s.clone()
	if s.lowered > moment.Unix() {
		next.lowered = max(s.lowered, moment.Unix()+1+int64(s.rest))
	}
	if s.moved > moment.Unix() {
		next.moved = max(s.moved, moment.Unix()+1+int64(s.ttl))
	}
	return next
}

// later is when a TTL of seconds that began now has run out.
func later(seconds uint32) int64 { return time.Now().Unix() + 1 + int64(seconds) }

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
	if now.live != "" && want.live == "" {
		return nil, fault.New(fault.Invalid, "it leads users to %s, and no side of the route shall have them", now.live).
			WithHint("give a side the weight 100, or remove the route")
	}
	resting := want.preLive == "" && len(want.sides) == 1 && now.live == want.live
	if now.present() && !resting && now.ttl > r.seconds {
		if next.ttl = r.seconds; now.rest == 0 {
			next.rest = now.ttl
		}
		next.lowered = later(now.ttl)
	}
	return next, nil
}

// moved is a state whose live name leads to the wanted generation.
func (r *Router) moved(now, want *state) (*state, error) {
	if now.live == want.live {
		return now, nil
	}
	next := now.clone()
	switch {
	case !now.present():
		next.ttl = r.seconds
	case !now.leads(want.live):
		next.moved = later(now.ttl)
	}
	next.live, next.others = want.live, nil
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

// removed is a zone without the route.
func (r *Router) removed(now, _ *state) (*state, error) {
	return &state{host: now.host, ttl: now.ttl, others: now.others, gone: true}, nil
}
