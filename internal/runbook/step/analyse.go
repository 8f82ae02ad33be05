package step

import (
	"context"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/spec/rule"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/analysis"
)

// rounds is how often a step is watched for its interval until it is said that there was not enough traffic to tell.
const rounds = 3

// analyser compares, during one step of a shift, what the routers count of both generations.
type analyser struct {
	*job
	judge  analysis.Judge
	before map[string]analysis.Both // by host, when the step began
}

// analyse watches one step of a shift, and judges the new generation beside the old one where the plan asks for that: all the time, for
// what is broken beyond doubt, and at the end. An error of code fault.Refused says which rule does not hold, with the figures; one of
// code fault.Undecided, that there was not enough traffic to tell.
func (j *job) analyse(ctx context.Context, watch func(context.Context, func(context.Context) error) error) error {
	if !j.analyses() {
		return watch(ctx, func(context.Context) error { return nil })
	}
	a, err := j.analyser(ctx)
	if err != nil {
		return err
	}
	for range rounds {
		if err := watch(ctx, a.now); err != nil {
			return err
		}
		if err = a.finally(ctx); fault.CodeOf(err) != fault.Undecided {
			return err
		}
		j.say("%v", err)
	}
	return err
}

// analyses reports whether the plan asks for a comparison, and there is something to compare with.
func (j *job) analyses() bool { return j.plan.Shift.Analysis != nil && j.plan.Previous != "" }

// analyser begins to compare.
func (j *job) analyser(ctx context.Context) (*analyser, error) {
	a := &analyser{job: j, judge: analysis.Judge{Requests: int64(j.plan.Shift.Analysis.Requests)}}
	for _, text := range j.plan.Shift.Analysis.Rules {
		r, err := rule.Parse(text)
		if err != nil {
			return nil, err
		}
		a.judge.Rules = append(a.judge.Rules, r)
	}
	var err error
	a.before, err = a.counted(ctx)
	return a, err
}

// counted is what the routers have counted until now, by host.
func (a *analyser) counted(ctx context.Context) (map[string]analysis.Both, error) {
	counted := map[string]analysis.Both{}
	err := a.eachRoute(ctx, func(_ context.Context, _ traffic.Router, r plan.Route, seen *traffic.Observed) error {
		if seen == nil {
			return lostRoute(r)
		}
		fresh, old := seen.Counts[a.plan.Generation].Served, seen.Counts[a.plan.Previous].Served
		if fresh == nil || old == nil {
			return fault.New(fault.Failed, "the router has lost a side of %s", r.Host).WithHint("start the roll-over again")
		}
		counted[r.Host] = analysis.Both{New: *fresh, Old: *old}
		return nil
	})
	return counted, err
}

// since are the figures of this step: of every route that had enough traffic to tell, and of all together, which come last. Where the old
// generation had too little, as at its end, they are what the router has counted at its addresses since it counts, an earlier generation
// there included.
func (a *analyser) since(ctx context.Context) ([]analysis.Both, error) {
	now, err := a.counted(ctx)
	if err != nil {
		return nil, err
	}
	var each []analysis.Both
	var all, ever analysis.Both
	for host, n := range now {
		b := analysis.Both{New: n.New.Since(a.before[host].New), Old: n.Old.Since(a.before[host].Old)}
		all = analysis.Both{New: all.New.Plus(b.New), Old: all.Old.Plus(b.Old)}
		ever.Old = ever.Old.Plus(n.Old)
		if b.Old.Requests < a.judge.Requests {
			b.Old = n.Old
		}
		if b.New.Requests >= a.judge.Requests && b.Old.Requests >= a.judge.Requests {
			each = append(each, b)
		}
	}
	if all.Old.Requests < a.judge.Requests {
		all.Old = ever.Old
	}
	return append(each, all), nil
}

// now says whether a rule is broken beyond doubt.
func (a *analyser) now(ctx context.Context) error {
	_, err := a.judged(ctx, a.judge.Now)
	return err
}

// finally says whether every rule holds.
func (a *analyser) finally(ctx context.Context) error {
	all, err := a.judged(ctx, a.judge.Finally)
	if err != nil {
		return err
	}
	a.data = all
	a.done += "; " + analysis.Describe(all.New) + ", against " + analysis.Describe(all.Old)
	return nil
}

// judged asks a judge about each of the figures of this step, and returns those of all routes together.
func (a *analyser) judged(ctx context.Context, judge func(analysis.Both) (analysis.Verdict, string, error)) (all analysis.Both, err error) {
	figures, err := a.since(ctx)
	if err != nil {
		return all, err
	}
	for _, b := range figures {
		verdict, why, err := judge(b)
		switch {
		case err != nil:
			return all, err
		case verdict == analysis.Bad:
			a.data = b
			return all, fault.New(fault.Refused, "%s", why)
		case verdict == analysis.Undecided && why != "":
			return all, fault.New(fault.Undecided, "%s", why)
		}
	}
	return figures[len(figures)-1], nil
}
