package dns

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// maxCollisions bounds how often a change is tried again because somebody else changed the same records in between.
const maxCollisions = 20

// errCollision says that the records are not those that were read.
var errCollision = errors.New("its records changed meanwhile")

// found is what the zone has at the names of a route.
type found struct {
	records records             // at the names themselves and in the registry, and the note
	owners  map[string][]string // who claims each name that leads users
	noted   bool                // there is a route
}

// look reads the route of a host; nil when there is none.
func (r *Router) look(ctx context.Context, host string) (*state, error) {
	name, err := r.inside(host)
	if err != nil {
		return nil, err
	}
	s, err := r.open(ctx)
	if err != nil {
		return nil, r.failure("read", name, err)
	}
	defer s.close()
	now, seen, err := s.read(ctx, &state{host: name})
	if err != nil {
		return nil, r.failure("read", name, err)
	}
	if !seen.noted {
		return nil, nil //nolint:nilnil // documented
	}
	return now, nil
}

// change makes of what the zone has what edit makes of it, by one message, and reads it back. It begins again where somebody else changed
// the same records in between. Records of others are an error of code fault.Refused.
func (r *Router) change(ctx context.Context, want *state, edit func(now, want *state) (*state, error)) (*state, error) {
	s, err := r.open(ctx)
	if err != nil {
		return nil, r.failure("change", want.host, err)
	}
	defer s.close()
	var before records
	for range maxCollisions {
		now, seen, err := s.read(ctx, want)
		if err != nil {
			return nil, r.failure("read", want.host, err)
		}
		next, err := edit(now, want)
		if err != nil {
			return nil, r.failure("change", want.host, err)
		}
		update := r.difference(seen.records, r.records(next))
		if update == nil {
			return next, nil
		}
		if err := r.guard(seen, r.records(want)); err != nil {
			return nil, err
		}
		switch err := s.update(ctx, update); {
		case errors.Is(err, errCollision) && reflect.DeepEqual(seen.records, before):
			return nil, r.failure("change", want.host, r.besides(seen, r.records(next)))
		case errors.Is(err, errCollision):
			before = seen.records
		case err != nil:
			return nil, r.failure("change", want.host, err)
		}
	}
	return nil, r.failure("change", want.host, fault.New(fault.Unavailable, "%w, %d times", errCollision, maxCollisions).WithHint("see what else writes to the zone"))
}

// read reads what the zone has at the names of a route, and at those that it shall have: all of it at one serial of the zone.
func (s *session) read(ctx context.Context, want *state) (*state, found, error) {
	for range maxCollisions {
		before, err := s.serial(ctx)
		if err != nil {
			return nil, found{}, err
		}
		now, seen, failed := s.readOnce(ctx, want)
		if fault.Retryable(failed) {
			return nil, seen, failed
		}
		if after, err := s.serial(ctx); err != nil {
			return nil, seen, err
		} else if before == after {
			return now, seen, failed
		}
	}
	return nil, found{}, fault.New(fault.Unavailable, "the zone changes all the time").WithHint("see what else writes to the zone")
}

func (s *session) readOnce(ctx context.Context, want *state) (*state, found, error) {
	seen := found{records: records{}, owners: map[string][]string{}}
	now := &state{host: want.host, sides: map[string][]string{}}
	note, err := s.ask(ctx, stateLabel+want.host, wire.TypeTXT)
	if err != nil {
		return nil, seen, err
	}
	for _, rr := range note {
		seen.records.add(rr)
		if now, err = s.router.ownNote(want.host, textOf(rr)); err != nil {
			return nil, seen, err
		}
		seen.noted = true
	}
	if !seen.noted && len(want.sides) == 0 {
		return now, seen, nil
	}
	names := []string{want.host, want.preLiveHost, now.preLiveHost}
	for _, generations := range []map[string][]string{now.sides, want.sides} {
		for g := range generations {
			names = append(names, s.router.intermediate(want.host, g))
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if name == "" {
			continue
		}
		if err := s.readName(ctx, name, &seen); err != nil {
			return nil, seen, err
		}
	}
	if !seen.noted {
		for g := range want.sides {
			now.sides[g] = nil
		}
		now, _ = s.router.stateOf(now, seen.records)
		return now, seen, nil
	}
	now, as := s.router.stateOf(now, seen.records)
	if !as {
		err = fault.New(fault.Failed, "somebody else changed where it leads").
			WithHint("lead it back by hand, or delete its route: the TXT record %s", plain(stateLabel+want.host))
	}
	return now, seen, err
}

// ownNote reads the note of a route, which must be ours.
func (r *Router) ownNote(host, content string) (*state, error) {
	s, owner, err := noted(host, content)
	switch {
	case err != nil:
		return nil, fault.New(fault.Failed, "the TXT record %s was changed by other hands: %w", plain(stateLabel+host), err).WithHint("delete it")
	case owner != r.options.Owner:
		return nil, fault.New(fault.Refused, "its route belongs to the owner %s, and ours is %s", owner, r.options.Owner).
			WithHint("remove it there first; two that write to one zone must not both lead the same name")
	}
	return s, nil
}

// readName reads what leads users at a name, and who owns that. What is not at the name itself, but comes of a wildcard (RFC 4592), is
// not there.
func (s *session) readName(ctx context.Context, name string, seen *found) error {
	leads := records{}
	for _, kind := range routable {
		rrs, err := s.ask(ctx, name, kind)
		if err != nil {
			return err
		}
		for _, rr := range rrs {
			leads.add(rr)
		}
	}
	for _, kind := range []string{"", "cname", "a", "aaaa"} {
		at := s.router.registry(name, kind)
		if _, ok := wire.IsDomainName(at); !ok {
			continue // without a type, what is around the type may be no name
		}
		rrs, err := s.ask(ctx, at, wire.TypeTXT)
		if err != nil {
			return err
		}
		for _, rr := range rrs {
			owner, claims := ownerIn(textOf(rr))
			if claims {
				seen.owners[name] = append(seen.owners[name], owner)
			}
			if kind != "" {
				seen.records.add(rr)
			}
		}
	}
	if len(leads) > 0 && len(seen.owners[name]) == 0 {
		if used, err := s.used(ctx, name); err != nil || !used {
			return err
		}
	}
	maps.Copy(seen.records, leads)
	return nil
}

// difference is the message that makes of what was found what is wanted, on condition that it still is as it was found; nil where
// there is none.
func (r *Router) difference(have, want records) *wire.Msg {
	m := new(wire.Msg).SetUpdate(r.zone)
	var gain []wire.RR
	for _, at := range sorted(have, want) {
		a, b := have[at], want[at]
		if slices.EqualFunc(a, b, func(a, b wire.RR) bool { return a.String() == b.String() }) {
			continue
		}
		if len(a) > 0 {
			m.Used(copies(a))
			m.RemoveRRset(a[:1])
		} else {
			m.RRsetNotUsed(b[:1])
		}
		if gain = append(gain, copies(b)...); len(a) == 0 {
			besideNothing(m, have.at(at.name), b[0])
		}
	}
	if len(m.Ns) == 0 && len(gain) == 0 {
		return nil
	}
	m.Insert(gain)
	return m
}

// exclusive are types of records that may stand at a name, and beside a CNAME may not (RFC 2181 section 10.1). A server leaves a CNAME out
// that is added beside them, without a word (RFC 2136 section 3.4.2.2).
var exclusive = []uint16{
	wire.TypeTXT, wire.TypeMX, wire.TypeNS, wire.TypeSRV, wire.TypeCAA, wire.TypeHTTPS, wire.TypeSVCB, wire.TypeNAPTR, wire.TypePTR, wire.TypeDS,
}

// besideNothing adds the condition that nothing stands at a name beside which a record could not be added.
func besideNothing(m *wire.Msg, have records, rr wire.RR) {
	name, kind := rr.Header().Name, rr.Header().Rrtype
	absent := func(kind uint16) {
		m.RRsetNotUsed([]wire.RR{&wire.ANY{Hdr: header(name, kind, 0)}})
	}
	switch {
	case kind == wire.TypeCNAME && len(have) == 0:
		m.NameNotUsed([]wire.RR{rr})
	case kind == wire.TypeCNAME:
		for _, other := range exclusive {
			absent(other)
		}
	case len(have[set{name, wire.TypeCNAME}]) == 0:
		absent(wire.TypeCNAME)
	}
}

// besides says why the conditions of a change do not hold though all that was read is as it was.
func (r *Router) besides(seen found, want records) error {
	for _, at := range sorted(want) {
		if at.kind == wire.TypeCNAME && len(seen.records[at]) == 0 {
			return fault.New(fault.Refused, "%s has other records, such as MX or TXT, and a CNAME stands alone", plain(at.name)).
				WithHint("move them to another name, or lead users by another name")
		}
	}
	return fault.New(fault.Failed, "the server holds conditions for broken that hold by its own answers").WithHint("see its log")
}

// sorted are the sets of all, in order.
func sorted(all ...records) []set {
	var sets []set
	for _, rs := range all {
		sets = slices.AppendSeq(sets, maps.Keys(rs))
	}
	slices.SortFunc(sets, func(a, b set) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return int(a.kind) - int(b.kind)
	})
	return slices.Compact(sets)
}

// copies are records that may be changed.
func copies(rrs []wire.RR) []wire.RR {
	var all []wire.RR
	for _, rr := range rrs {
		all = append(all, wire.Copy(rr))
	}
	return all
}
