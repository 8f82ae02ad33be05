package traffic

import (
	"slices"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Feature is what a route may ask for beside shares.
type Feature string

// The features, in words.
const (
	H2C       Feature = "speak HTTP/2 to endpoints"
	Stickable Feature = "keep users on one side"
	Choosing  Feature = "lead users by a header"
	Mirroring Feature = "mirror requests"
)

// Within refuses a route that asks for what a router of the given kind cannot do, as an error of code Invalid.
func (r Route) Within(kind string, can ...Feature) error {
	for feature, asked := range map[Feature]bool{H2C: r.H2C, Stickable: r.Sticky, Choosing: r.Chosen != nil, Mirroring: r.Mirror != nil} {
		if asked && !slices.Contains(can, feature) {
			return fault.New(fault.Invalid, "cannot use the route of %q: a router of the kind %s does not %s", r.Host, kind, feature).
				WithHint("use the edge: caddy without admin")
		}
	}
	return nil
}
