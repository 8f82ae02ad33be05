package dns

import (
	"context"
	"maps"
	"slices"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// stages are what the zone has on the way from the sets that it has to those that it shall have, where they are not changed as a whole.
// Whoever stops between two of them, or within one, leaves every name that leads somewhere leading somewhere, and a note by which the
// next change goes on: what is claimed and meant comes first, then addresses, then the names that lead to them; what is no longer
// needed goes in the opposite order, and what is meant no longer, last.
func (r *Router) stages(have, shall Records, under *state) []Records {
	note := Set{Name: stateLabel + under.host, Kind: wire.TypeTXT}
	intent := Records{note: {text(note.Name, r.note(under), r.seconds)}}
	gains := func(of Records, kept func(Set) bool) func(Records) Records {
		return func(now Records) Records {
			next := maps.Clone(now)
			for at := range of {
				if kept(at) && at.Share != (Share{}) { // the shares of a name change as a whole
					maps.DeleteFunc(next, func(other Set, _ []wire.RR) bool { return other.Name == at.Name && other.Kind == at.Kind })
				}
			}
			for at, rrs := range of {
				if kept(at) {
					next[at] = rrs
				}
			}
			return next
		}
	}
	loses := func(gone func(Set) bool) func(Records) Records {
		return func(now Records) Records {
			next := maps.Clone(now)
			maps.DeleteFunc(next, func(at Set, _ []wire.RR) bool { return len(shall[at]) == 0 && gone(at) })
			return next
		}
	}
	texts := func(at Set) bool { return at.Kind == wire.TypeTXT && at != note }
	pointers := func(at Set) bool {
		return slices.Contains(routable, at.Kind) && (leadsInside(have[at], have) || leadsInside(shall[at], shall))
	}
	addresses := func(at Set) bool { return slices.Contains(routable, at.Kind) && !pointers(at) }
	var all []Records
	now := have
	for _, step := range []func(Records) Records{
		gains(intent, func(Set) bool { return true }), gains(shall, texts), gains(shall, addresses), gains(shall, pointers),
		loses(pointers), loses(addresses), loses(texts), func(Records) Records { return shall },
	} {
		now = step(now)
		all = append(all, now)
	}
	return all
}

// leadsInside reports whether records lead to a name that is among the sets.
func leadsInside(rrs []wire.RR, sets Records) bool {
	return slices.ContainsFunc(rrs, func(rr wire.RR) bool { return len(sets.At(target(rr))) > 0 })
}

// possible refuses changes that cannot be made one after the other: of addresses into a CNAME and the other way round, with nothing in
// between, and of a CNAME beside other records, which some servers leave out without a word (RFC 2136 section 3.4.2.2).
func (r *Router) possible(ctx context.Context, have, shall Records) error {
	for at := range shall {
		if !slices.Contains(routable, at.Kind) || len(have[at]) > 0 {
			continue
		}
		for other := range have.At(at.Name) {
			if slices.Contains(routable, other.Kind) && (at.Kind == wire.TypeCNAME) != (other.Kind == wire.TypeCNAME) {
				return fault.New(fault.Refused, "%s is led by a record of the type %s and shall be led by %s, and %s cannot change one into the other in one go",
					plain(at.Name), wire.TypeToString[other.Kind], wire.TypeToString[at.Kind], r.backend).
					WithHint("change it by hand into a CNAME to a name that leads to the same, with its owner's TXT record, at a quiet hour")
			}
		}
		if at.Kind != wire.TypeCNAME || len(have.At(at.Name)) > 0 {
			continue
		}
		if err := r.vacant(ctx, at.Name); err != nil {
			return err
		}
	}
	return nil
}
