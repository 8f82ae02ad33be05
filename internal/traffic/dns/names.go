package dns

import (
	"strings"

	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// stateLabel begins the name of the TXT record beside a route.
const stateLabel = "_crossfade."

// canonical is a name as it is compared: in lower case, with a dot at its end.
func canonical(name string) string { return wire.CanonicalName(name) }

// plain is a name as people write it.
func plain(name string) string { return strings.TrimSuffix(name, ".") }

// isLabel reports whether a text can be one label of a host name.
func isLabel(text string) bool {
	_, ok := wire.IsDomainName(text)
	return ok && text != "" && text == strings.ToLower(text) && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// inside is the canonical name of a host below the zone.
func (r *Router) inside(host string) (string, error) {
	name := canonical(host)
	switch _, ok := wire.IsDomainName(host); {
	case name == r.zone:
		return "", fault.New(fault.Invalid, "cannot lead %s by DNS: it is the zone itself, whose name cannot be a CNAME (RFC 1034 section 3.6.2)", host).
			WithHint("use a name below it, and redirect from the zone's own name")
	case !ok || host == "" || !wire.IsSubDomain(r.zone, name):
		return "", fault.New(fault.Invalid, "cannot lead %q by DNS: it is not a name below the zone %s", host, r.options.Zone).
			WithHint("name the zone of the host in the router, or another router in the route")
	}
	return name, nil
}

// intermediate is the name with the addresses of one generation: the host's own labels, then the generation, then the zone.
func (r *Router) intermediate(host, generation string) string {
	return strings.TrimSuffix(host, r.zone) + generation + "." + r.zone
}

// namable refuses a route for whose records there can be no names.
func (r *Router) namable(s *state) error {
	for set := range r.records(s) {
		if _, ok := wire.IsDomainName(set.Name); !ok {
			return fault.New(fault.Invalid, "cannot lead %s by DNS: %s is too long for a name", plain(s.host), plain(set.Name)).
				WithHint("a label has at most 63 characters, a name 253; use a shorter host or prefix of generations")
		}
	}
	return nil
}

// registry is the name at which external-dns keeps who owns the records of a type at a name, the type in lower case; with no type,
// as its versions before 0.12 do. It is what its AffixNameMapper does.
func (r *Router) registry(name, kind string) string {
	const template = "%{record_type}"
	prefix, suffix := strings.ToLower(r.options.Prefix), strings.ToLower(r.options.Suffix)
	first, rest, _ := strings.Cut(name, ".")
	if kind != "" && !strings.Contains(prefix+suffix, template) {
		first = kind + "-" + first
	}
	return strings.ReplaceAll(prefix, template, kind) + first + strings.ReplaceAll(suffix, template, kind) + "." + rest
}
