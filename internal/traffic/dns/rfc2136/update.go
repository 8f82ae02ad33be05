package rfc2136

import (
	"context"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
)

func header(name string, kind uint16, ttl uint32) wire.RR_Header {
	return wire.RR_Header{Name: name, Rrtype: kind, Class: wire.ClassINET, Ttl: ttl}
}

// Change sends the message that makes of what was found what is wanted, on condition that it still is as it was found.
func (s *session) Change(ctx context.Context, have, want dns.Records) error {
	if m := difference(s.zone, have, want); m != nil {
		return s.update(ctx, m)
	}
	return nil
}

// difference is that message; nil where there is none.
func difference(zone string, have, want dns.Records) *wire.Msg {
	m := new(wire.Msg).SetUpdate(zone)
	var gain []wire.RR
	for _, at := range dns.Sorted(have, want) {
		a, b := have[at], want[at]
		if dns.Same(have, want, at) {
			continue
		}
		if len(a) > 0 {
			m.Used(copies(a))
			m.RemoveRRset(a[:1])
		} else {
			m.RRsetNotUsed(b[:1])
		}
		if gain = append(gain, copies(b)...); len(a) == 0 {
			besideNothing(m, have.At(at.Name), b[0])
		}
	}
	if len(m.Ns) == 0 && len(gain) == 0 {
		return nil
	}
	m.Insert(gain)
	return m
}

// besideNothing adds the condition that nothing stands at a name beside which a record could not be added: a server leaves a CNAME out
// that is added beside other types, without a word (RFC 2136 section 3.4.2.2).
func besideNothing(m *wire.Msg, have dns.Records, rr wire.RR) {
	name, kind := rr.Header().Name, rr.Header().Rrtype
	absent := func(kind uint16) {
		m.RRsetNotUsed([]wire.RR{&wire.ANY{Hdr: header(name, kind, 0)}})
	}
	switch {
	case kind == wire.TypeCNAME && len(have) == 0:
		m.NameNotUsed([]wire.RR{rr})
	case kind == wire.TypeCNAME:
		for _, other := range dns.Exclusive {
			absent(other)
		}
	case len(have[dns.Set{Name: name, Kind: wire.TypeCNAME}]) == 0:
		absent(wire.TypeCNAME)
	}
}

// copies are records that may be changed.
func copies(rrs []wire.RR) []wire.RR {
	var all []wire.RR
	for _, rr := range rrs {
		all = append(all, wire.Copy(rr))
	}
	return all
}
