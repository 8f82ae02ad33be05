package traffic

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Mirrored is how the copies that a generation got of requests for the live host were answered, since the first of them.
type Mirrored struct {
	Compared    int64        `json:"compared"`              // answers to copies, with those that users got
	Differing   int64        `json:"differing"`             // of these
	Skipped     int64        `json:"skipped"`               // requests that had no copy, or none that could be compared
	Differences []Difference `json:"differences,omitempty"` // most frequent first
}

// Difference is one way in which answers differ, in words without values from bodies.
type Difference struct {
	What    string `json:"what"`
	Example string `json:"example"` // the method and the path, without its query, of the first request that showed it
	Times   int64  `json:"times"`
}

// Plus returns the sum of both, with the differences of each kind added up.
func (m Mirrored) Plus(o Mirrored) Mirrored {
	sum := Mirrored{Compared: m.Compared + o.Compared, Differing: m.Differing + o.Differing, Skipped: m.Skipped + o.Skipped}
	sum.Differences = slices.Clone(m.Differences)
	for _, d := range o.Differences {
		same := func(have Difference) bool { return have.What == d.What }
		if i := slices.IndexFunc(sum.Differences, same); i >= 0 {
			sum.Differences[i].Times += d.Times
		} else {
			sum.Differences = append(sum.Differences, d)
		}
	}
	slices.SortStableFunc(sum.Differences, func(a, b Difference) int { return cmp.Compare(b.Times, a.Times) })
	return sum
}

// Plain refuses a route that asks for more than shares: what a router of the given kind cannot do, as an error of code Invalid.
func (r Route) Plain(kind string) error {
	if r.Chosen != nil {
		return r.beyond(kind, "lead users by a header")
	}
	return r.Unmirrored(kind)
}

// Unmirrored refuses a route with copies of requests, which a router of the given kind cannot make, as an error of code Invalid.
func (r Route) Unmirrored(kind string) error {
	if r.Mirror != nil {
		return r.beyond(kind, "mirror requests")
	}
	return nil
}

func (r Route) beyond(kind, what string) error {
	return fault.New(fault.Invalid, "cannot use the route of %q: a router of the kind %s does not %s", r.Host, kind, what).
		WithHint("use the edge: caddy without admin")
}

// ahead checks who is led to, or mirrored to, a side before the others; it returns what is wrong, or "".
func (r Route) ahead() string {
	known := func(generation string) bool {
		return slices.ContainsFunc(r.Sides, func(s Side) bool { return s.Generation == generation && len(s.Endpoints) > 0 })
	}
	if c := r.Chosen; c != nil && (c.Header == "" || c.Value == "" || !known(c.Generation)) {
		return fmt.Sprintf("it leads by the header %q to the generation %q, which is none of its sides, or has no endpoints", c.Header, c.Generation)
	}
	if m := r.Mirror; m != nil && (m.Share < 1 || m.Share > 100 || !known(m.Generation)) {
		return fmt.Sprintf("it mirrors %d %% to the generation %q, which is none of its sides, or has no endpoints", m.Share, m.Generation)
	}
	return ""
}
