package dns

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// maxCollisions bounds how often a change is tried again because somebody else changed the same records in between.
const maxCollisions = 20

// found is what the zone has at the names of a route.
type found struct {
	records Records             // at the names themselves and in the registry, and the note
	owners  map[string][]string // who claims each name that leads users
	noted   bool                // there is a route
}

// look reads the route of a host; nil when there is none.
func (r *Router) look(ctx context.Context, host string) (*state, error) {
	name, err := r.inside(host)
	if err != nil {
		return nil, err
	}
	s, err := r.backend.Open(ctx)
	if err != nil {
		return nil, r.failure("read", name, err)
	}
	defer s.Close()
	now, seen, err := r.read(ctx, s, &state{host: name})
	if err != nil {
		return nil, r.failure("read", name, err)
	}
	if !seen.noted {
		return nil, nil //nolint:nilnil // documented
	}
	return now, nil
}

// change makes of what the zone has what edit makes of it, and reads it back. It begins again where somebody else changed the same
// records in between. Records of others are an error of code fault.Refused.
func (r *Router) change(ctx context.Context, want *state, edit func(now, want *state) (*state, error)) (*state, error) {
	s, err := r.backend.Open(ctx)
	if err != nil {
		return nil, r.failure("change", want.host, err)
	}
	defer s.Close()
	var before Records
	for range maxCollisions {
		now, seen, err := r.read(ctx, s, want)
		if err != nil {
			return nil, r.failure("read", want.host, err)
		}
		next, err := edit(now, want)
		if err != nil {
			return nil, r.failure("change", want.host, err)
		}
		shall := r.records(next)
		if Alike(seen.records, shall) {
			return next, nil
		}
		if err := r.guard(seen, r.records(want)); err != nil {
			return nil, err
		}
		if !seen.noted && len(seen.records.At(want.host)) == 0 {
			if err := r.unreached(ctx, want.host); err != nil {
				return nil, r.failure("change", want.host, err)
			}
		}
		switch err := r.write(ctx, s, seen.records, shall, meanwhile(now, next)); {
		case errors.Is(err, ErrCollision) && r.powers.Whole && reflect.DeepEqual(seen.records, before):
			return nil, r.failure("change", want.host, besides(seen.records, shall))
		case errors.Is(err, ErrCollision):
			before = seen.records
		case err != nil:
			return nil, r.failure("change", want.host, err)
		}
	}
	return nil, r.failure("change", want.host, fault.New(fault.Unavailable, "%w, %d times", ErrCollision, maxCollisions).WithHint("see what else writes to the zone"))
}

// Alike reports whether all sets are the same in both.
func Alike(a, b Records) bool {
	return !slices.ContainsFunc(Sorted(a, b), func(at Set) bool { return !Same(a, b, at) })
}

// write makes of the sets that were read those that there shall be: as a whole, or one after the other.
func (r *Router) write(ctx context.Context, s Session, have, shall Records, under *state) error {
	if r.powers.Whole {
		return s.Change(ctx, have, shall)
	}
	if err := r.possible(ctx, have, shall); err != nil {
		return err
	}
	for _, next := range r.stages(have, shall, under) {
		if Alike(have, next) {
			continue
		}
		if err := s.Change(ctx, have, next); err != nil {
			return err
		}
		have = next
	}
	return nil
}

// read reads what the zone has at the names of a route, and at those that it shall have: all of it of one version of the zone.
func (r *Router) read(ctx context.Context, s Session, want *state) (now *state, seen found, err error) {
	err = s.Look(ctx, func() (err error) {
		now, seen, err = r.readOnce(ctx, s, want)
		return err
	})
	return now, seen, err
}

func (r *Router) readOnce(ctx context.Context, s Session, want *state) (*state, found, error) {
	seen := found{records: Records{}, owners: map[string][]string{}}
	now := &state{host: want.host, sides: map[string][]string{}}
	note, err := askText(ctx, s, stateLabel+want.host, func(text string) bool {
		_, owner, err := noted(want.host, text)
		return err == nil && owner == r.options.Owner
	})
	if err != nil {
		return nil, seen, err
	}
	for _, rr := range note.all() {
		seen.records.Add(rr)
		if now, err = r.ownNote(want.host, textOf(rr)); err != nil {
			return nil, seen, err
		}
		seen.noted = true
	}
	if !seen.noted && len(want.sides) == 0 {
		return now, seen, nil
	}
	for _, name := range r.namesOf(now, want) {
		if err := r.readName(ctx, s, name, &seen); err != nil {
			return nil, seen, err
		}
	}
	if !seen.noted {
		for g := range want.sides {
			now.sides[g] = nil
		}
		now, _ = r.stateOf(now, seen.records)
		return now, seen, nil
	}
	now, as := r.stateOf(now, seen.records)
	if !as && !r.powers.Whole && len(want.shares) > 0 && now.shares.equal(want.shares) {
		as, now.moved = true, r.later(now.ttl) // it was led there beside somebody else's change of the note
	}
	if !as {
		err = fault.New(fault.Failed, "somebody else changed where it leads").
			WithHint("lead it back by hand, or delete its route: the TXT record %s", plain(stateLabel+want.host))
	}
	return now, seen, err
}

// namesOf are the names that lead users by two states of a route, in order.
func (r *Router) namesOf(now, want *state) []string {
	names := []string{want.host, want.preLiveHost, now.preLiveHost, now.also}
	for _, generations := range []map[string][]string{now.sides, want.sides} {
		for g := range generations {
			names = append(names, r.intermediate(want.host, g))
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
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
func (r *Router) readName(ctx context.Context, s Session, name string, seen *found) error {
	leads := Records{}
	for _, kind := range routable {
		kept, err := s.Ask(ctx, name, kind)
		if err != nil {
			return err
		}
		maps.Copy(leads, kept)
	}
	for _, kind := range []string{"", "cname", "a", "aaaa"} {
		at := r.registry(name, kind)
		if _, ok := wire.IsDomainName(at); !ok {
			continue // without a type, what is around the type may be no name
		}
		kept, err := askText(ctx, s, at, func(text string) bool {
			owner, claims := ownerIn(text)
			return claims && owner == r.options.Owner
		})
		if err != nil {
			return err
		}
		for _, rr := range kept.all() {
			if owner, claims := ownerIn(textOf(rr)); claims {
				seen.owners[name] = append(seen.owners[name], owner)
			}
		}
		if kind != "" {
			maps.Copy(seen.records, kept)
		}
	}
	if len(seen.owners[name]) == 0 {
		var err error
		if leads, err = itself(ctx, s, name, leads); err != nil {
			return err
		}
	}
	maps.Copy(seen.records, leads)
	return nil
}

// itself drops what was found for a name that has no records itself: it comes of a wildcard (RFC 4592).
func itself(ctx context.Context, s Session, name string, found Records) (Records, error) {
	if len(found) == 0 {
		return found, nil
	}
	if used, err := s.Used(ctx, name); err != nil || !used {
		return nil, err
	}
	return found, nil
}

// askText asks for the texts at a name itself. Where one of them is ours, it is not asked whether they are of a wildcard.
func askText(ctx context.Context, s Session, name string, ours func(text string) bool) (Records, error) {
	found, err := s.Ask(ctx, name, wire.TypeTXT)
	if err != nil || slices.ContainsFunc(found.all(), func(rr wire.RR) bool { return ours(textOf(rr)) }) {
		return found, err
	}
	return itself(ctx, s, name, found)
}

// besides says why the conditions of a change do not hold though all that was read is as it was.
func besides(have, want Records) error {
	for _, at := range Sorted(want) {
		if at.Kind == wire.TypeCNAME && len(have[at]) == 0 {
			return occupied(at.Name)
		}
	}
	return fault.New(fault.Failed, "the server holds conditions for broken that hold by its own answers").WithHint("see its log")
}

// occupied is the error of a name that cannot be a CNAME.
func occupied(name string) error {
	return fault.New(fault.Refused, "%s has other records, such as MX or TXT, and a CNAME stands alone", plain(name)).
		WithHint("move them to another name, or lead users by another name")
}

// failure says what could not be done to the route of a host, in which zone and where.
func (r *Router) failure(act, host string, err error) error {
	code := fault.CodeOf(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		code = fault.Unavailable
	}
	return fault.New(code, "cannot %s the route of %s in the zone %s at %s: %w", act, plain(host), r.options.Zone, r.backend, err)
}
