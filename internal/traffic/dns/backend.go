package dns

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// ErrCollision says that the records are not those that were read.
var ErrCollision = errors.New("its records changed meanwhile")

// Backend keeps the records of one zone. Its providers are the sub-packages.
type Backend interface {
	// Open begins a few questions and changes of the zone; whoever opens closes.
	Open(ctx context.Context) (Session, error)
	// Powers says what the backend can do.
	Powers() Powers
	// String says where the zone is kept, for people, such as "10.0.0.53:53".
	String() string
}

// Powers are what not every backend can do.
type Powers struct {
	// Whole is whether a change of several sets of records takes effect as a whole or not at all, on condition that they are
	// as they were read. Without it the router changes them one after the other, in an order that is safe.
	Whole bool
	// Weighs is whether a name may lead shares of its users to different places.
	Weighs bool
	// Relay is what leads those shares on, where the zone cannot; nil where it can.
	Relay Relay
}

// Relay is a service with a zone of its own that leads shares of users. A name whose users have shares is a CNAME to a name of the relay, which
// only that name's backend speaks of: the router sees the shares as if they were at the name itself.
type Relay interface {
	// Via is the name to which such a name is a CNAME, with a dot at its end.
	Via(name string) string
	// Servers are those that answer what Via returns, each host:port.
	Servers(ctx context.Context) ([]string, error)
	// Settles is how long after a change some of its servers may go on with what was before, without anybody who asks seeing that: each of
	// their addresses may stand for many, and a server that leads few users elsewhere seldom says so.
	Settles() time.Duration
	// Clear takes away what the relay keeps for a name that is no CNAME to it any more; it may be called again.
	Clear(ctx context.Context, name string) error
}

// Session is a few questions and changes of a zone, by one goroutine. Its errors are of package fault; those of code Unavailable
// (it does not answer) are retried by the caller.
type Session interface {
	// Look calls see, which asks, until all that it was answered is of one version of the zone, and returns the error of see.
	Look(ctx context.Context, see func() error) error
	// Ask returns the records of a type at a name, which is in lower case, with a dot at its end.
	Ask(ctx context.Context, name string, kind uint16) (Records, error)
	// Used reports whether records that Ask returned for a name are at the name itself, and not of a wildcard (RFC 4592).
	Used(ctx context.Context, name string) (bool, error)
	// Change makes of the sets that were read those that are wanted; other sets of the zone stay as they are. It returns once
	// the backend has them, and ErrCollision where it sees that somebody else changed them meanwhile. One that does not change
	// all of them as a whole is only asked for sets that it may change in any order.
	Change(ctx context.Context, have, want Records) error
	// Close ends the session.
	Close()
}

// Set names a set of records: those of one type at one name which lead the same users.
type Set struct {
	Name  string // in lower case, with a dot at its end
	Kind  uint16
	Share Share
}

// Share is which of a name's users a set of records leads; the zero Share is everybody.
type Share struct {
	Name    string // tells the shares at a name apart
	Percent int
}

// Records are sets of records, each in order of its texts.
type Records map[Set][]wire.RR

// Add adds a record that leads everybody.
func (rs Records) Add(rr wire.RR) { rs.AddTo(Share{}, rr) }

// AddTo adds a record that leads a share of the users.
func (rs Records) AddTo(share Share, rr wire.RR) {
	at := Set{rr.Header().Name, rr.Header().Rrtype, share}
	rs[at] = append(rs[at], rr)
	slices.SortFunc(rs[at], func(a, b wire.RR) int { return strings.Compare(a.String(), b.String()) })
}

// At are the sets of a name.
func (rs Records) At(name string) Records {
	found := Records{}
	for s, rrs := range rs {
		if s.Name == name {
			found[s] = rrs
		}
	}
	return found
}

// of are the sets of a type at a name, whomever they lead.
func (rs Records) of(name string, kind uint16) Records {
	found := rs.At(name)
	maps.DeleteFunc(found, func(s Set, _ []wire.RR) bool { return s.Kind != kind })
	return found
}

// all are the records of all sets, in order.
func (rs Records) all() []wire.RR {
	var all []wire.RR
	for _, at := range Sorted(rs) {
		all = append(all, rs[at]...)
	}
	return all
}

// Same reports whether a set is the same in both.
func Same(a, b Records, at Set) bool {
	return slices.EqualFunc(a[at], b[at], func(a, b wire.RR) bool { return a.String() == b.String() })
}

// Sorted are the sets of all, in order.
func Sorted(all ...Records) []Set {
	var sets []Set
	for _, rs := range all {
		sets = slices.AppendSeq(sets, maps.Keys(rs))
	}
	slices.SortFunc(sets, func(a, b Set) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		if c := strings.Compare(a.Share.Name, b.Share.Name); c != 0 {
			return c
		}
		return a.Share.Percent - b.Share.Percent
	})
	return slices.Compact(sets)
}

// Exclusive are types of records that may stand at a name, and beside a CNAME may not (RFC 2181 section 10.1).
var Exclusive = []uint16{
	wire.TypeTXT, wire.TypeMX, wire.TypeNS, wire.TypeSRV, wire.TypeCAA, wire.TypeHTTPS, wire.TypeSVCB, wire.TypeNAPTR, wire.TypePTR, wire.TypeDS,
}

// Value is what a record of a type that a Record can be made of says: an address, a name without the dot at its end, or a text.
func Value(rr wire.RR) string {
	switch rr := rr.(type) {
	case *wire.TXT:
		return strings.Join(rr.Txt, "")
	case *wire.NS:
		return plain(canonical(rr.Ns))
	default:
		return plain(target(rr))
	}
}

// Record makes a record of a value. A text has no quotes and backslashes.
func Record(name string, kind uint16, ttl uint32, value string) (wire.RR, error) {
	ip := net.ParseIP(value)
	switch {
	case kind == wire.TypeA && ip.To4() != nil, kind == wire.TypeAAAA && ip != nil && ip.To4() == nil:
		return endpointOf(name, value, ttl), nil
	case kind == wire.TypeCNAME:
		return &wire.CNAME{Hdr: header(name, kind, ttl), Target: canonical(value)}, nil
	case kind == wire.TypeNS:
		return &wire.NS{Hdr: header(name, kind, ttl), Ns: canonical(value)}, nil
	case kind == wire.TypeTXT:
		return text(name, value, ttl), nil
	}
	return nil, fmt.Errorf("%s has a record of the type %s that says %q", plain(name), wire.TypeToString[kind], value)
}
