package step

import (
	"context"
	"fmt"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/analysis"
)

// Mirror sends copies of requests to the new generation, which has no users yet, and compares its answers with those that users get. More differences
// than the plan allows are an error of code fault.Refused; too few requests to tell are one of code fault.Undecided.
func (t *Toolbox) Mirror(ctx context.Context, id ID) error {
	return t.do(ctx, id, "sending copies of requests to the new generation", "", func(ctx context.Context, j *job) error {
		if err := j.mustBeVerified(ctx); err != nil {
			return err
		}
		m := j.plan.Shift.Mirror
		tally := fmt.Sprintf("%s/%d", id.Run, id.Time) // copies of an earlier time do not count
		err := j.ahead(ctx, func(route *traffic.Route) {
			route.Mirror = &traffic.Mirror{Generation: j.plan.Generation, Tally: tally, Share: m.Share, Headers: m.Headers}
		})
		if err != nil {
			return err
		}
		err = j.compareMirrored(ctx)
		if over := j.ahead(ctx, func(route *traffic.Route) { route.Mirror = nil }); err == nil {
			err = over
		}
		return err
	})
}

// compareMirrored watches the answers to copies for the interval of the mirror, and longer where there are too few.
func (j *job) compareMirrored(ctx context.Context) error {
	_, target, err := j.target(ctx, "")
	if err != nil {
		return err
	}
	for range rounds {
		if err = j.watch(ctx, j.plan.Shift.Checks, target, j.plan.Shift.Mirror.Interval.Or(0), j.differBeyondDoubt); err != nil {
			return err
		}
		if err = j.differ(ctx); fault.CodeOf(err) != fault.Undecided {
			return err
		}
		j.say("%v", err)
	}
	return err
}

// differBeyondDoubt refuses more differences than the plan allows while copies are still sent: even if those until now were the one set in a
// thousand that makes the new generation look worst.
func (j *job) differBeyondDoubt(ctx context.Context) error {
	seen, err := j.mirrored(ctx)
	if err != nil || 100*analysis.AtLeast(seen.Differing, seen.Compared) <= j.plan.Shift.Mirror.Differences {
		return err
	}
	j.data = seen
	return tooMany(seen, j.plan.Shift.Mirror.Differences)
}

// differ refuses more differences than the plan allows, once no more copies are waited for.
func (j *job) differ(ctx context.Context) error {
	m := j.plan.Shift.Mirror
	seen, err := j.mirrored(ctx)
	if err != nil {
		return err
	}
	j.data, j.done = seen, fmt.Sprintf("%d of %d answers to copies of requests differ", seen.Differing, seen.Compared)
	switch {
	case seen.Compared < int64(m.Requests):
		return fault.New(fault.Undecided, "not enough traffic to tell: %d answers to copies of requests, of %d", seen.Compared, m.Requests)
	case percent(seen) > m.Differences:
		return tooMany(seen, m.Differences)
	}
	return nil
}

// mirrored sums up how copies were answered, over all routes.
func (j *job) mirrored(ctx context.Context) (traffic.Mirrored, error) {
	var all traffic.Mirrored
	err := j.eachRoute(ctx, func(_ context.Context, _ traffic.Router, r plan.Route, seen *traffic.Observed) error {
		if seen == nil || seen.Counts[j.plan.Generation].Mirrored == nil {
			return fault.New(fault.Failed, "the router no longer mirrors the requests for %s", r.Host).WithHint("start the roll-over again")
		}
		all = all.Plus(*seen.Counts[j.plan.Generation].Mirrored)
		return nil
	})
	return all, err
}

// percent is how many answers to copies differ.
func percent(m traffic.Mirrored) float64 { return 100 * float64(m.Differing) / float64(m.Compared) }

// tooMany is the refusal of differences, and names the most frequent ones.
func tooMany(m traffic.Mirrored, allowed float64) error {
	text := fmt.Sprintf("%d of %d answers to copies of requests differ from what users got (%.2f %%, %v %% may)", m.Differing, m.Compared, percent(m), allowed)
	for _, d := range m.Differences[:min(3, len(m.Differences))] {
		text += fmt.Sprintf("; %s (%s, %d times)", d.What, d.Example, d.Times)
	}
	return fault.New(fault.Refused, "%s", text)
}

// LeadAskers leads the users who ask for it by a header to the new generation, and watches the checks of the shift while they have it for
// themselves. They stay there until the last step, or until all users go back.
func (t *Toolbox) LeadAskers(ctx context.Context, id ID) error {
	return t.do(ctx, id, "leading users who ask for it to the new generation", "", func(ctx context.Context, j *job) error {
		if err := j.mustBeVerified(ctx); err != nil {
			return err
		}
		header := j.plan.Shift.Header
		err := j.ahead(ctx, func(route *traffic.Route) {
			route.Chosen = &traffic.Chosen{Header: header.Name, Value: header.Value, Generation: j.plan.Generation}
		})
		if err != nil {
			return err
		}
		j.done = "users with " + header.Name + ": " + header.Value + " are on " + j.plan.Generation
		_, target, err := j.target(ctx, "")
		if err != nil {
			return err
		}
		target.Route = j.entry(live)
		return j.watch(ctx, append(j.entryChecks(), j.plan.Shift.Checks...), target, header.Interval.Or(0))
	})
}

// ahead changes on every route who is led, or mirrored, to the new generation before the shares say so.
func (j *job) ahead(ctx context.Context, change func(*traffic.Route)) error {
	return j.eachRoute(ctx, func(ctx context.Context, router traffic.Router, r plan.Route, seen *traffic.Observed) error {
		if seen == nil {
			return lostRoute(r)
		}
		route := seen.Route
		change(&route)
		return router.Apply(ctx, route)
	})
}
