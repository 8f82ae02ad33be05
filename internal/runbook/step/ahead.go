package step

import (
	"context"
	"fmt"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Mirror sends copies of requests to the new generation, which has no users yet, and compares its answers with those that users get. More differences
// than the plan allows are an error of code fault.Refused; too few requests to tell are one of code fault.Undecided.
func (t *Toolbox) Mirror(ctx context.Context, id ID) error {
	return t.do(ctx, id, "sending copies of requests to the new generation", "", func(ctx context.Context, j *job) error {
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
		if err = j.watch(ctx, j.plan.Shift.Checks, target, j.plan.Shift.Mirror.Interval.Or(0), j.mayGoOn); err != nil {
			return err
		}
		if err = j.enoughMirrored(ctx); fault.CodeOf(err) != fault.Undecided {
			return err
		}
		j.say("%v", err)
	}
	return err
}

// mayGoOn refuses more differences than the plan allows, once there are enough answers to tell.
func (j *job) mayGoOn(ctx context.Context) error {
	if err := j.enoughMirrored(ctx); fault.CodeOf(err) != fault.Undecided {
		return err
	}
	return nil
}

// enoughMirrored is mayGoOn where enough answers are to be there by now: otherwise it cannot tell.
func (j *job) enoughMirrored(ctx context.Context) error {
	m := j.plan.Shift.Mirror
	seen, err := j.mirrored(ctx)
	if err != nil {
		return err
	}
	j.data, j.done = seen, fmt.Sprintf("%d of %d answers to copies of requests differ", seen.Differing, seen.Compared)
	if seen.Compared < int64(m.Requests) {
		return fault.New(fault.Undecided, "not enough traffic to tell: %d answers to copies of requests, of %d", seen.Compared, m.Requests)
	}
	return allowed(seen, m.Differences)
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

// allowed refuses more differences than may be, in percent, and names the most frequent ones.
func allowed(m traffic.Mirrored, percent float64) error {
	share := 100 * float64(m.Differing) / float64(m.Compared)
	if share <= percent {
		return nil
	}
	text := fmt.Sprintf("%d of %d answers to copies of requests differ from what users got (%.2f %%, %v %% may)", m.Differing, m.Compared, share, percent)
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
			return fault.New(fault.Failed, "the router has lost the route %s", r.Host).WithHint("start the roll-over again")
		}
		route := seen.Route
		change(&route)
		return router.Apply(ctx, route)
	})
}
