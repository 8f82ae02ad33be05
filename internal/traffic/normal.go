package traffic

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Normal checks a route and fills in what it leaves to a router, whose interval between active checks is given, so that what the
// router reads back is equal to it. What is wrong is an error of code Invalid.
func (r Route) Normal(interval time.Duration) (Route, error) {
	problem := func(format string, args ...any) (Route, error) {
		return r, fault.New(fault.Invalid, "cannot use the route of %q: %s", r.Host, fmt.Sprintf(format, args...))
	}
	if r.Host == "" || len(r.Sides) == 0 {
		return problem("it needs a host and at least one side")
	}
	if r.Host == r.PreLiveHost {
		return problem("its live and its pre-live host are the same")
	}
	r.Sides = slices.Clone(r.Sides)
	slices.SortFunc(r.Sides, func(a, b Side) int { return strings.Compare(a.Generation, b.Generation) })
	total, preLive := 0, r.PreLive == ""
	for i, s := range r.Sides {
		if s.Generation == "" || i > 0 && s.Generation == r.Sides[i-1].Generation {
			return problem("the generation %q is there twice, or has no name", s.Generation)
		}
		if s.Weight < 0 || s.Weight > 0 && len(s.Endpoints) == 0 {
			return problem("generation %s has the weight %d and %d endpoints", s.Generation, s.Weight, len(s.Endpoints))
		}
		total += s.Weight
		preLive = preLive || r.PreLive == s.Generation
	}
	if total != 0 && total != 100 {
		return problem("its weights add up to %d, not to 100", total)
	}
	if !preLive {
		return problem("its pre-live generation %s is none of its sides", r.PreLive)
	}
	if wrong := r.ahead(); wrong != "" {
		return problem("%s", wrong)
	}
	if r.Health.Path != "" && r.Health.Interval == 0 {
		r.Health.Interval = interval
	}
	return r, nil
}
