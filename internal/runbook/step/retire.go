package step

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Quarantine takes the old generation out of every route, after its router shows that no user is on it. A generation with a
// share of the users, or with requests under way, is refused.
func (t *Toolbox) Quarantine(ctx context.Context, id ID) error {
	return t.do(ctx, id, "proving that the old generation is idle", "", func(ctx context.Context, j *job) error {
		old := j.plan.Previous
		if err := j.mustHaveNoShare(ctx, old); err != nil {
			return err
		}
		if left, err := j.idle(ctx, old, j.plan.Shift.Drain.Or(30*time.Second)); err != nil {
			return err
		} else if left.requests > 0 {
			return fault.New(fault.Refused, "%s still answers %d requests", old, left.requests).WithHint("retire it when they are done: crossfade retire %s %s", j.plan.Environment, old)
		} else if len(left.leading) > 0 {
			return fault.New(fault.Refused, "%s may still get users from: %s", old, strings.Join(left.leading, "; ")).
				WithHint("retire it when they no longer lead to it: crossfade retire %s %s", j.plan.Environment, old)
		}
		if err := j.leaveRoutes(ctx, old); err != nil {
			return err
		}
		j.done = old + " receives nothing and is out of every route"
		return t.Records.SetPhase(ctx, j.plan.Environment, old, record.Quarantined, t.Now())
	})
}

// Delete removes the cluster of the old generation and sees that nothing is left of it.
func (t *Toolbox) Delete(ctx context.Context, id ID) error {
	return t.do(ctx, id, "deleting the old generation", "", func(ctx context.Context, j *job) error {
		old := j.plan.Previous
		if err := j.mustHaveNoShare(ctx, old); err != nil {
			return err
		}
		if err := j.delete(ctx, old); err != nil {
			return err
		}
		j.done = old + " is gone"
		return t.Records.SetPhase(ctx, j.plan.Environment, old, record.Retired, t.Now())
	})
}

// StandDown records that the new generation failed. It has no users, and is left as it is for debugging. Routers are not asked:
// one that does not answer may be why it failed.
func (t *Toolbox) StandDown(ctx context.Context, id ID) error {
	return t.do(ctx, id, "standing down", "", func(ctx context.Context, j *job) error {
		j.done = fmt.Sprintf("%s is left for debugging; crossfade retire %s %s removes it", j.plan.Generation, j.plan.Environment, j.plan.Generation)
		return t.Records.SetPhase(ctx, j.plan.Environment, j.plan.Generation, record.Failed, t.Now())
	})
}

// Clean removes a new generation that stood down.
func (t *Toolbox) Clean(ctx context.Context, id ID) error {
	return t.do(ctx, id, "removing the new generation", "", func(ctx context.Context, j *job) error {
		if err := j.mustHaveNoShare(ctx, j.plan.Generation); err != nil {
			return err
		}
		if err := j.leaveRoutes(ctx, j.plan.Generation); err != nil {
			return err
		}
		if err := j.delete(ctx, j.plan.Generation); err != nil {
			return err
		}
		j.done = j.plan.Generation + " is gone"
		return t.Records.SetPhase(ctx, j.plan.Environment, j.plan.Generation, record.Retired, t.Now())
	})
}

// mustHaveNoShare refuses a generation to which any router sends users.
func (j *job) mustHaveNoShare(ctx context.Context, generation string) error {
	return j.eachRoute(ctx, func(_ context.Context, _ traffic.Router, r plan.Route, seen *traffic.Observed) error {
		if side, known := sideOf(seen, generation); known && side.Weight > 0 {
			return fault.New(fault.Refused, "%s has %d %% of the users of %s", generation, side.Weight, r.Host).
				WithHint("move them first: crossfade switch-back %s", j.plan.Environment)
		}
		return nil
	})
}

// leaveRoutes takes a generation without users out of every route; a route that has no other side goes.
func (j *job) leaveRoutes(ctx context.Context, generation string) error {
	return j.eachRoute(ctx, func(ctx context.Context, router traffic.Router, r plan.Route, seen *traffic.Observed) error {
		if _, known := sideOf(seen, generation); !known {
			return nil
		}
		route := seen.Route
		var others []traffic.Side
		for _, s := range route.Sides {
			if s.Generation != generation {
				others = append(others, s)
			}
		}
		if len(others) == 0 {
			return router.Remove(ctx, r.Host)
		}
		route.Sides = others
		if route.PreLive == generation {
			route.PreLive = ""
		}
		route.Chosen, route.Mirror = nil, nil
		return router.Apply(ctx, route)
	})
}

// delete removes a generation's cluster and looks that it is gone.
func (j *job) delete(ctx context.Context, generation string) error {
	provider, err := j.clusters()
	if err != nil {
		return err
	}
	if err := provider.Delete(ctx, generation, j.say); err != nil {
		return err
	}
	status, err := provider.Observe(ctx, generation)
	if err != nil {
		return err
	}
	if status.Phase != cluster.Absent {
		return fault.New(fault.Failed, "cluster %s was deleted and still stands: %s %s", generation, status.Phase, status.Detail)
	}
	return nil
}
