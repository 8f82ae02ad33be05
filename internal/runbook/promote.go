package runbook

import (
	"errors"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// Promote brings a set of services into a stage at the versions that were verified together in the stage before: all of them, or none. Whatever says no
// before the whole is proved, every service goes back to the version before, so that no mixed set stays.
func Promote(ctx workflow.Context, in step.Start) error {
	r, err := begin(ctx, in)
	if err != nil {
		return err
	}
	return r.finish(ctx, r.promote(ctx))
}

func (r *run) promote(ctx workflow.Context) error {
	err := r.unless(ctx, []string{Abort}, inOrder(
		r.passGate, // of the promotion: checks and a soak in the stage before, an approval
		func(ctx workflow.Context) error { return r.step(ctx, "admit", r.tools.AdmitSet) }, // nothing else is deployed into the environment
		r.bringSet,    // every service, each after those that it needs
		r.verifyStage, // the checks of the environment hold on the whole
	))
	if err != nil {
		return r.undoSet(ctx, err)
	}
	return inOrder(
		func(ctx workflow.Context) error { return r.eachOfSet(ctx, "good", r.tools.MarkGood, all) },
		func(ctx workflow.Context) error { return r.eachOfSet(ctx, "drain", r.tools.DrainVersion, draining) },
		func(ctx workflow.Context) error { return r.eachOfSet(ctx, "remove", r.tools.RemoveOld, coloured) },
	)(ctx)
}

// passGate passes what stands before a promotion: a reason that is told, checks and a soak in the stage before, an approval.
func (r *run) passGate(ctx workflow.Context) error {
	p := r.plan.Promotion
	if p == nil {
		return nil
	}
	if len(p.Skips) > 0 {
		r.note(ctx, "skips %s: %s", strings.Join(p.Skips, ", "), p.Reason)
	}
	if len(p.Gate.Checks) > 0 || p.Gate.Soak > 0 {
		if err := r.step(ctx, "gate", r.tools.PassGate); err != nil {
			return err
		}
	}
	if p.Gate.Approve == "" {
		return nil
	}
	why := r.plan.Names() + " waits for an approval before it comes into " + r.plan.Environment
	if p.Gate.Approve == "other" {
		r.barred = append(slices.Clone(p.Authors), r.in.By)
		defer func() { r.barred = nil }()
		why += ", by somebody other than " + strings.Join(people(r.barred), ", ")
	}
	return r.awaitOf(ctx, step.Waiting{Why: why, Gate: true})
}

// people lists names, each once.
func people(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// samePerson reports whether two names are of one person, as far as can be told: user@host is the same user on any host.
func samePerson(a, b string) bool {
	a, _, _ = strings.Cut(a, "@")
	b, _, _ = strings.Cut(b, "@")
	return a == b
}

// bringSet has every service of the set serve the users at its next version, side by side where they do not need each other.
func (r *run) bringSet(ctx workflow.Context) error {
	var units []plan.Unit
	deploys := map[string]plan.Deploy{}
	for _, d := range r.plan.Set.Deploys {
		units = append(units, d.Unit)
		deploys[d.Unit.Name] = d
	}
	return r.graph(ctx, units, func(ctx workflow.Context, u plan.Unit) error {
		return about(ctx, u.Name, r.bring(ctx, deploys[u.Name]))
	})
}

// about says which service of a set an error is about.
func about(ctx workflow.Context, service string, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	f := faultOf(err)
	return fault.New(f.Code, "%s: %s", service, f.Message).WithHint("%s", f.Hint)
}

// bring has one service of a set serve the users at its next version.
func (r *run) bring(ctx workflow.Context, d plan.Deploy) error {
	name := "/" + d.Unit.Name
	b := d.Strategy.BlueGreen
	if b == nil {
		return r.step(ctx, "roll"+name, r.tools.Roll)
	}
	if err := r.step(ctx, "stage"+name, r.tools.Stage); err != nil {
		return err
	}
	if len(b.Checks) > 0 {
		if err := r.step(ctx, "preview"+name, r.tools.Preview); err != nil {
			return err
		}
	}
	if b.Approve {
		if err := r.inTurn(ctx, step.Waiting{Why: d.Unit.Name + " " + d.Version() + " waits for an approval", Service: d.Unit.Name}); err != nil {
			return err
		}
	}
	return r.step(ctx, "switch"+name, r.tools.Switch)
}

// inTurn waits for an approval when nobody else of the run does: an approval is of one thing.
func (r *run) inTurn(ctx workflow.Context, w step.Waiting) error {
	if err := workflow.Await(ctx, func() bool { return !r.waiting }); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.awaitOf(ctx, w)
}

// verifyStage proves a stage as its users meet it, with what was deployed just now.
func (r *run) verifyStage(ctx workflow.Context) error {
	if !r.plan.Stage {
		return nil
	}
	return r.step(ctx, "verify", r.tools.VerifyStage)
}

// undoSet brings every service of a set back to the version before, those that need others first, and returns the error that led here. It cannot be
// cancelled: it is the way out. What cannot be brought back does not keep the others from it.
func (r *run) undoSet(ctx workflow.Context, cause error) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if r.begun() {
		r.note(ctx, "the set goes back to the versions before: %s", reason(cause))
	}
	var stuck []string
	for _, d := range slices.Backward(r.plan.Set.Deploys) {
		if err := about(ctx, d.Unit.Name, r.undo(ctx, d)); err != nil {
			stuck = append(stuck, reason(err))
		}
	}
	if len(stuck) > 0 {
		return fault.New(fault.Failed, "%s; the set is mixed, as not everything went back: %s", reason(cause), strings.Join(stuck, "; ")).
			WithHint("crossfade rollback SERVICE %s brings each of them back", r.plan.Environment)
	}
	if r.begun() && faultOf(cause).Code == fault.Refused {
		r.outcome = record.SwitchedBack
	}
	return cause
}

// begun reports whether users of a service of the set were led to its next version.
func (r *run) begun() bool {
	return slices.ContainsFunc(r.plan.Set.Deploys, func(d plan.Deploy) bool {
		return r.times["switch/"+d.Unit.Name] > 0 || r.times["roll/"+d.Unit.Name] > 0
	})
}

func (r *run) undo(ctx workflow.Context, d plan.Deploy) error {
	name := "/" + d.Unit.Name
	switch {
	case r.times["switch"+name] > 0:
		if err := r.step(ctx, "switch-back"+name, r.tools.SwitchBack); err != nil {
			return err
		}
	case r.times["roll"+name] > 0:
		return r.step(ctx, "roll-back"+name, r.tools.Unroll)
	}
	if r.times["stage"+name] > 0 && (r.command.Clean || d.Strategy.OnFailure == "remove") {
		return r.step(ctx, "clean"+name, r.tools.RemoveNew)
	}
	return nil
}

func all(plan.Deploy) bool { return true }

func draining(d plan.Deploy) bool { return coloured(d) && d.Strategy.BlueGreen.Drain > 0 }

func coloured(d plan.Deploy) bool { return d.Strategy.BlueGreen != nil }

// eachOfSet executes a step for the services of the set for which it is, side by side. One that fails does not keep the others from it.
func (r *run) eachOfSet(ctx workflow.Context, name string, activity any, is func(plan.Deploy) bool) error {
	var phases []phase
	var failed []error
	for _, d := range r.plan.Set.Deploys {
		if !is(d) {
			continue
		}
		phases = append(phases, func(ctx workflow.Context) error {
			if err := about(ctx, d.Unit.Name, r.step(ctx, name+"/"+d.Unit.Name, activity)); err != nil {
				failed = append(failed, err)
			}
			return nil
		})
	}
	if err := r.together(ctx, phases...); err != nil {
		return err
	}
	return errors.Join(failed...)
}
