// Package analysis judges how a new generation serves its users beside the old one, by what the router has counted.
package analysis

import (
	"fmt"
	"math"
	"time"

	"gonum.org/v1/gonum/mathext"

	"github.com/crossfade-dev/crossfade/internal/spec/rule"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Verdict is what can be said of the new generation.
type Verdict int

// The verdicts.
const (
	Undecided Verdict = iota // there were not enough requests to tell
	Good                     // every rule holds
	Bad                      // a rule does not hold
)

// Both are what became of the requests to the two generations.
type Both struct {
	New traffic.Served `json:"new"`
	Old traffic.Served `json:"old"`
}

// Judge has the rules that must hold, and how many requests each generation must have had to tell.
type Judge struct {
	Rules    []*rule.Rule
	Requests int64
}

// Now says whether a rule is broken beyond doubt while requests go on: it does not hold even if the requests until now were the one
// set in a thousand that makes the new generation look worst, and the old one best. It is Undecided otherwise.
func (j Judge) Now(b Both) (Verdict, string, error) {
	if b.New.Requests == 0 || b.Old.Requests < j.Requests {
		return Undecided, "", nil
	}
	broken, err := j.broken(lenient(b.New), strict(b.Old))
	if err != nil || broken == nil {
		return Undecided, "", err
	}
	return Bad, Explain(broken, b), nil
}

// Finally says whether the rules hold for what was counted, once no more of it is waited for, and in words why not.
func (j Judge) Finally(b Both) (Verdict, string, error) {
	if b.New.Requests < j.Requests || b.Old.Requests < j.Requests {
		return Undecided, fmt.Sprintf("not enough traffic to tell: %d requests to the new generation and %d to the old one, of %d each", b.New.Requests, b.Old.Requests, j.Requests), nil
	}
	broken, err := j.broken(figures(b.New), figures(b.Old))
	switch {
	case err != nil:
		return Undecided, "", err
	case broken != nil:
		return Bad, Explain(broken, b), nil
	}
	return Good, "", nil
}

// broken is the first rule that does not hold.
func (j Judge) broken(fresh, old rule.Figures) (*rule.Rule, error) {
	for _, r := range j.Rules {
		if holds, err := r.Holds(fresh, old); err != nil || !holds {
			return r, err
		}
	}
	return nil, nil //nolint:nilnil // none is broken
}

// Explain says that a rule does not hold, with the figures of both sides.
func Explain(r *rule.Rule, b Both) string {
	return fmt.Sprintf("%s does not hold: new has %s, old has %s", r, Describe(b.New), Describe(b.Old))
}

// Describe says how requests were served.
func Describe(s traffic.Served) string {
	f := figures(s)
	return fmt.Sprintf("%.2f %% errors, p50 %v, p90 %v, p99 %v of %d requests",
		100*f.ErrorRate, f.P50.Round(100*time.Microsecond), f.P90.Round(100*time.Microsecond), f.P99.Round(100*time.Microsecond), f.Requests)
}

// figures are those that were counted.
func figures(s traffic.Served) rule.Figures {
	return rule.Figures{Requests: s.Requests, ErrorRate: s.ErrorRate(), P50: s.Quantile(0.5), P90: s.Quantile(0.9), P99: s.Quantile(0.99)}
}

// How unlikely it is that the true figure is beyond a bound: one in a thousand, which for a normal distribution is at deviations.
const (
	unlikely   = 0.001
	deviations = 3.09
)

// lenient are the best figures that are likely to be true.
func lenient(s traffic.Served) rule.Figures {
	f := figures(s)
	f.ErrorRate = AtLeast(s.Failures, s.Requests)
	f.P50, f.P90, f.P99 = bound(s, 0.5, -deviations), bound(s, 0.9, -deviations), bound(s, 0.99, -deviations)
	return f
}

// AtLeast is the smallest rate that is likely to be true where so many of all had something: Clopper and Pearson's lower bound.
func AtLeast(some, all int64) float64 {
	if some == 0 {
		return 0
	}
	return mathext.InvRegIncBeta(float64(some), float64(all-some)+1, unlikely)
}

// strict are the worst figures that are likely to be true.
func strict(s traffic.Served) rule.Figures {
	f := figures(s)
	f.ErrorRate = 1
	if s.Failures < s.Requests { // Clopper and Pearson's upper bound
		f.ErrorRate = mathext.InvRegIncBeta(float64(s.Failures)+1, float64(s.Requests-s.Failures), 1-unlikely)
	}
	f.P50, f.P90, f.P99 = bound(s, 0.5, deviations), bound(s, 0.9, deviations), bound(s, 0.99, deviations)
	return f
}

// few is how many answers say nothing of how long others take: the first ones fill caches and open connections.
const few = 20

// bound is the bound of a quantile, so many deviations away: the time of a request whose place among all is away by as much. Without so
// many requests there is none: the shortest and the longest time there is.
func bound(s traffic.Served, q, away float64) time.Duration {
	n := float64(s.Answered())
	place := q*n + away*math.Sqrt(n*q*(1-q))
	switch {
	case away < 0 && (place < 1 || n < few):
		return 0
	case away > 0 && place >= n:
		return math.MaxInt64
	}
	return s.Quantile(place / n)
}
