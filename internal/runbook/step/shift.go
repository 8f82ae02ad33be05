package step

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Weight is a step in which users are moved.
type Weight struct {
	Step  ID  `json:"step"`
	Share int `json:"share"` // of the new generation, or the next version, in percent
}

// Weigh gives the new generation its share of the users on every route, sees that the routers say so, and watches the checks
// of the shift for its interval. A generation that was not verified is given nothing.
func (t *Toolbox) Weigh(ctx context.Context, w Weight) error {
	title := fmt.Sprintf("giving the new generation %d %% of the users", w.Share)
	return t.do(ctx, w.Step, title, "", func(ctx context.Context, j *job) error {
		if w.Share > 0 {
			if err := j.mustBeVerified(ctx); err != nil {
				return err
			}
		}
		if err := j.eachRoute(ctx, func(ctx context.Context, router traffic.Router, r plan.Route, seen *traffic.Observed) error {
			return j.weigh(ctx, router, r, seen, w.Share)
		}); err != nil {
			return err
		}
		j.done = fmt.Sprintf("%d %% of the users are on %s", w.Share, j.plan.Generation)
		if w.Share == 0 {
			j.done = fmt.Sprintf("all users are on %s", j.plan.Previous)
			return nil
		}
		_, target, err := j.target(ctx, "")
		if err != nil {
			return err
		}
		target.Route = j.entry(live)
		return j.analyse(ctx, func(ctx context.Context, ask func(context.Context) error) error {
			return j.watch(ctx, append(j.entryChecks(), j.plan.Shift.Checks...), target, j.plan.Shift.Interval.Or(0), ask)
		})
	})
}

// mustBeVerified refuses a generation that no verification has passed.
func (j *job) mustBeVerified(ctx context.Context) error {
	g, err := j.Records.Generation(ctx, j.plan.Environment, j.plan.Generation)
	if err != nil {
		return err
	}
	if !g.Verified {
		return fault.New(fault.Refused, "%s was not verified, and is given no users", j.plan.Generation)
	}
	return nil
}

// weigh gives the new generation its share on one route and reads it back.
func (j *job) weigh(ctx context.Context, router traffic.Router, r plan.Route, seen *traffic.Observed, share int) error {
	if seen == nil {
		return lostRoute(r)
	}
	route := seen.Route
	if route.Mirror = nil; share == 0 || share == 100 {
		route.Chosen = nil
	}
	for i := range route.Sides {
		route.Sides[i].Weight = shareOf(j.plan, route.Sides[i].Generation, share)
	}
	applied := router.Apply(ctx, route)
	if applied != nil && !j.straggling(router, share, applied) {
		return applied
	}
	now, err := router.Observe(ctx, r.Host)
	if err != nil {
		return err
	}
	for _, g := range []string{j.plan.Generation, j.plan.Previous} {
		side, known := sideOf(now, g)
		if want := shareOf(j.plan, g, share); g != "" && (!known || side.Weight != want) {
			if applied != nil {
				return applied
			}
			return fault.New(fault.Failed, "%s: the router gives %s a share of %d %%, not the %d %% asked for", r.Host, g, side.Weight, want)
		}
	}
	return nil
}

// lostRoute is the error of a router without a route that it had.
func lostRoute(r plan.Route) error {
	return fault.New(fault.Failed, "the router has lost the route %s", r.Host).WithHint("start the roll-over again")
}

// straggling reports whether an error is but that others do not follow on the way back, and tells it. What they keep leads to the
// new generation, which still stands; the old one gets everybody else, and what goes with them.
func (j *job) straggling(router traffic.Router, share int, err error) bool {
	_, cached := router.(traffic.Cached)
	if !cached || share > 0 || fault.CodeOf(err) != fault.Failed {
		return false
	}
	j.say("%v", err)
	return true
}

// shareOf is a generation's share when the new one of the plan has the given one.
func shareOf(p *plan.Plan, generation string, share int) int {
	switch generation {
	case p.Generation:
		return share
	case p.Previous:
		return 100 - share
	default:
		return 0
	}
}

// HandOver lets the new generation act on the world outside, and the old one no longer: what acts there comes to its end first, and
// what it left is copied, before anything in the new one goes on from there.
func (t *Toolbox) HandOver(ctx context.Context, id ID) error {
	return t.do(ctx, id, "handing over what only one generation may run", "", func(ctx context.Context, j *job) error {
		var between func(context.Context) error
		if j.plan.Copy != nil {
			between = j.sync
		}
		return j.handOver(ctx, j.plan.Previous, j.plan.Generation, between)
	})
}

// HandBack is HandOver in the other direction.
func (t *Toolbox) HandBack(ctx context.Context, id ID) error {
	return t.do(ctx, id, "handing back what only one generation may run", "", func(ctx context.Context, j *job) error {
		return j.handOver(ctx, j.plan.Generation, j.plan.Previous, nil)
	})
}

func (j *job) handOver(ctx context.Context, from, to string, between func(context.Context) error) error {
	source := withhold.Side{Generation: from}
	if from != "" {
		var err error
		if source.Cluster, err = j.connect(ctx, from); err != nil {
			return err
		}
	}
	dest, err := j.connect(ctx, to)
	if err != nil {
		return err
	}
	o := withhold.Options{Limit: j.plan.Shift.HandOver.Or(withhold.DefaultLimit), Progress: j.say, Between: between}
	if j.plan.Copy != nil {
		o.Rules = j.rules()
	}
	err = withhold.HandOver(ctx, source, withhold.Side{Cluster: dest, Generation: to}, o)
	j.done = "what only one generation may run runs in " + to
	return err
}

// Drain waits until the old generation answers nothing any more, for at most the plan's bound. What is left then is recorded.
func (t *Toolbox) Drain(ctx context.Context, id ID) error {
	return t.do(ctx, id, "waiting for what the old generation still answers", "", func(ctx context.Context, j *job) error {
		left, err := j.idle(ctx, j.plan.Previous, j.plan.Shift.Drain.Or(30*time.Second))
		if err != nil {
			return err
		}
		j.done, j.data = fmt.Sprintf("%s answers nothing any more", j.plan.Previous), map[string]int64{"inFlight": left.requests}
		if left.requests > 0 {
			j.done = fmt.Sprintf("%d requests to %s went on past the bound", left.requests, j.plan.Previous)
		}
		if len(left.leading) > 0 {
			j.done = fmt.Sprintf("past the bound, %s may still get users from: %s", j.plan.Previous, strings.Join(left.leading, "; "))
		}
		return nil
	})
}

// remains is what a generation still answers, or may.
type remains struct {
	requests int64    // under way
	leading  []string // who may lead users to it, where the router does not know of requests
}

func (r remains) none() bool { return r.requests == 0 && len(r.leading) == 0 }

// lookPause is how long one waits to look again at what others keep of the answers that lead to a generation.
const lookPause = time.Second

// idle waits until a generation has no request under way on any route, for at most the given time, and returns what it still
// answers then.
func (j *job) idle(ctx context.Context, generation string, limit time.Duration) (remains, error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for last := false; ; {
		left, err := j.remains(ctx, generation)
		if err != nil || left.none() || last {
			return left, err
		}
		if len(left.leading) > 0 {
			again.Reset(lookPause)
		}
		select {
		case <-ctx.Done():
			return left, ctx.Err()
		case <-deadline.C:
			last = true
		case <-again.C:
		}
	}
}

// remains asks the routers what a generation still answers, over all routes.
func (j *job) remains(ctx context.Context, generation string) (remains, error) {
	var left remains
	err := j.eachRoute(ctx, func(ctx context.Context, router traffic.Router, r plan.Route, seen *traffic.Observed) error {
		if seen != nil {
			left.requests += seen.Counts[generation].InFlight
		}
		cached, ok := router.(traffic.Cached)
		if !ok {
			return nil
		}
		who, err := cached.Leading(ctx, r.Host, generation)
		left.leading = append(left.leading, who...)
		return err
	})
	return left, err
}
