package dns

import (
	"slices"
	"strings"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// heritage begins what external-dns's registry says of an owner. Ours says the same: so every external-dns, and what else knows its
// registry, sees that a record has an owner other than itself, and leaves it alone; and one that is told to (--migrate-from-txt-owner)
// can take it over.
const heritage = "heritage=external-dns,"

// claim is the record that says that a set of records is ours, and of which route.
func (r *Router) claim(at Set, host string) wire.RR {
	content := heritage + "external-dns/owner=" + r.options.Owner + ",external-dns/resource=crossfade/" + plain(host)
	return text(r.registry(at.Name, kindName(at.Kind)), content, r.seconds)
}

// ownerIn is the owner that a text of the registry names, and whether it is one.
func ownerIn(content string) (string, bool) {
	content = strings.Trim(strings.ReplaceAll(content, `\"`, `"`), `"`) // some providers keep the quotes
	if !strings.HasPrefix(content, heritage) {
		return "", false
	}
	for field := range strings.SplitSeq(content, ",") {
		if owner, ok := strings.CutPrefix(field, "external-dns/owner="); ok {
			return owner, true
		}
	}
	return "", true
}

// guard refuses to touch records of others: those that another owner claims, and those that nobody does, unless they already are as
// they shall be. Texts in the registry's places that are no claims are others', too.
func (r *Router) guard(seen found, want Records) error {
	for _, at := range Sorted(seen.records, want) {
		for _, owner := range seen.owners[at.Name] {
			if owner != r.options.Owner {
				return fault.New(fault.Refused, "cannot lead users by %s: it belongs to the owner %q of external-dns's registry, and ours is %q",
					plain(at.Name), owner, r.options.Owner).
					WithHint("have its owner give it up, or hand it over: see docs/concepts/dns.md")
			}
		}
		for _, rr := range seen.records[at] {
			if _, claims := ownerIn(textOf(rr)); at.Kind == wire.TypeTXT && !claims && !strings.HasPrefix(at.Name, stateLabel) {
				return fault.New(fault.Refused, "cannot keep who owns a record at %s: there is a TXT record of somebody else", plain(at.Name)).
					WithHint("move it, or give the registry a prefix of its own: txtPrefix")
			}
		}
		if slices.Contains(routable, at.Kind) && len(seen.records[at]) > 0 && len(seen.owners[at.Name]) == 0 && !leadAlike(seen.records.At(at.Name), want.At(at.Name)) {
			return fault.New(fault.Refused, "cannot lead users by %s: nobody owns its records, and they lead elsewhere", plain(at.Name)).
				WithHint("hand it over with a TXT record at %s: %s", plain(r.registry(at.Name, kindName(at.Kind))), textOf(r.claim(at, at.Name)))
		}
	}
	return nil
}

// leadAlike reports whether two sets of records lead to the same, whatever their TTLs.
func leadAlike(a, b Records) bool {
	targets := func(rs Records) []string {
		var all []string
		for _, rrs := range rs {
			for _, rr := range rrs {
				all = append(all, target(rr))
			}
		}
		slices.Sort(all)
		return all
	}
	return slices.Equal(targets(a), targets(b))
}
