package runbook

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// Rollover carries out a plan: it builds the next generation beside the live one, proves it, moves the users over, keeps the
// way back open and retires the old generation. New things come first, the pointer second, deletions last, so that it may
// stop anywhere:
//
//   - until shift the live generation has not been touched: a failure or an abort leaves the new one for debugging;
//   - during shift and soak both generations serve, and a switch-back returns the users;
//   - retire begins only when the router sends nothing to the old generation.
func Rollover(ctx workflow.Context, in step.Start) error {
	r, err := begin(ctx, in)
	if err != nil {
		return err
	}
	return r.finish(ctx, r.rollover(ctx))
}

func (r *run) rollover(ctx workflow.Context) error {
	err := r.unless(ctx, []string{Abort}, inOrder(
		r.confirm,   // what the plan was made from is still so
		r.provision, // the cluster and the entry points, in parallel
		r.restore,   // certificates, from their backup
		r.prime,     // what every service needs, in parallel where independent
		r.certify,   // certificates that the backup lacks, or that are due
		r.copy,      // what no pipeline owns, from the live generation
		r.follow,    // what changes there from now on is carried over
		r.deploy,    // every service at its good version, in the order of their needs
		r.enter,     // the pre-live names answer from the new generation
		r.verify,    // every check holds through them
		r.gate,      // checks, a soak, an approval
	))
	if err != nil {
		return r.standDown(ctx, err)
	}
	for {
		switch err := r.cross(ctx); {
		case err == nil:
			return r.retire(ctx)
		case r.asked(err, SwitchBack):
			if err := r.await(ctx, "the users are back on "+r.plan.Previous+"; approve to move them over again, or abort"); err != nil {
				return r.standDown(ctx, err)
			}
			if err := r.follow(ctx); err != nil {
				return r.standDown(ctx, err)
			}
		case r.asked(err, Abort):
			return r.standDown(ctx, err)
		default:
			return err
		}
	}
}

// cross moves the users over and keeps the way back open until the old generation may be retired. When it returns an error,
// the users are back where there was a previous generation.
func (r *run) cross(ctx workflow.Context) error {
	err := r.unless(ctx, []string{Abort, SwitchBack}, inOrder(
		r.shift,    // in weighted steps, each watched
		r.sync,     // the following ends, with what is left of it
		r.handOver, // CronJobs, Jobs and singletons run in the new generation only
		r.drain,    // what the old one still answers comes to its end
		r.settle,   // the new generation is live, its versions are good
	))
	if err == nil {
		err = r.unless(ctx, []string{SwitchBack, RetireNow}, r.soak) // the way back stays open
	}
	if err == nil || r.asked(err, RetireNow) {
		return nil
	}
	if r.plan.Previous == "" {
		return err // there is nobody to move back to
	}
	if back := r.switchBack(ctx, reason(err)); back != nil {
		return errors.Join(err, back)
	}
	if faultOf(err).Code == fault.Refused {
		r.outcome = record.SwitchedBack
	}
	return err
}

func (r *run) confirm(ctx workflow.Context) error {
	return r.step(ctx, "plan", r.tools.Confirm)
}

func (r *run) provision(ctx workflow.Context) error {
	return r.together(ctx,
		func(ctx workflow.Context) error { return r.step(ctx, "provision/cluster", r.tools.Provision) },
		func(ctx workflow.Context) error { return r.step(ctx, "provision/entry", r.tools.OpenEntry) },
	)
}

// restore and certify have nothing to do for environments without certificates, and for runs that began before there were any.
func (r *run) restore(ctx workflow.Context) error {
	if len(r.plan.Certificates) == 0 {
		return nil
	}
	return r.step(ctx, "certificates/restore", r.tools.RestoreCertificates)
}

func (r *run) certify(ctx workflow.Context) error {
	if len(r.plan.Certificates) == 0 {
		return nil
	}
	return r.step(ctx, "certificates/request", r.tools.RequestCertificates)
}

func (r *run) prime(ctx workflow.Context) error {
	return r.units(ctx, "prime", r.plan.Prime)
}

func (r *run) copy(ctx workflow.Context) error {
	if r.plan.Copy == nil {
		return nil
	}
	return r.step(ctx, "copy", r.tools.Copy)
}

// follow begins to carry changes of the live generation over, beside what the run does next, unless it does so already. When that
// fails, the run goes on: sync brings what is missing, or fails.
func (r *run) follow(ctx workflow.Context) error {
	if r.plan.Copy == nil || r.following != nil || !r.has(ctx, "follow") {
		return nil
	}
	beside, cancel := workflow.NewDisconnectedContext(ctx)
	done := workflow.NewWaitGroup(beside)
	done.Add(1)
	ended := false
	workflow.GoNamed(beside, "follow", func(ctx workflow.Context) {
		defer done.Done()
		if err := r.step(ctx, "follow", r.tools.Follow); err != nil && ctx.Err() == nil {
			ended = true
			r.note(ctx, "changes in %s are carried over no longer, until the switch: %s", r.plan.Previous, reason(err))
		}
	})
	r.following = func(ctx workflow.Context) error {
		cancel()
		done.Wait(ctx)
		if ended {
			return nil
		}
		return r.call(ctx, r.tools.FollowEnds, r.at("follow"))
	}
	return nil
}

// sync ends the following, and copies what it has not carried over.
func (r *run) sync(ctx workflow.Context) error {
	if r.plan.Copy == nil || !r.has(ctx, "follow") {
		return nil
	}
	if err := r.unfollow(ctx); err != nil {
		return err
	}
	return r.step(ctx, "sync", r.tools.Sync)
}

// unfollow ends the following, if there is one.
func (r *run) unfollow(ctx workflow.Context) error {
	if r.following == nil {
		return nil
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	end := r.following
	r.following = nil
	return end(ctx)
}

func (r *run) deploy(ctx workflow.Context) error {
	return r.units(ctx, "deploy", r.plan.Services)
}

// units applies and proves units, each as soon as those it needs hold.
func (r *run) units(ctx workflow.Context, layer string, units []plan.Unit) error {
	return r.graph(ctx, units, func(ctx workflow.Context, u plan.Unit) error {
		return r.step(ctx, layer+"/"+u.Name, r.tools.ApplyUnit)
	})
}

func (r *run) enter(ctx workflow.Context) error {
	if len(r.plan.Routes) == 0 {
		return nil
	}
	return r.step(ctx, "pre-live", r.tools.EnterPreLive)
}

func (r *run) verify(ctx workflow.Context) error {
	return r.step(ctx, "verify", r.tools.Verify)
}

func (r *run) gate(ctx workflow.Context) error {
	if g := r.plan.Gate; len(g.Checks) > 0 || g.Soak > 0 {
		if err := r.step(ctx, "gate", r.tools.HoldGate); err != nil {
			return err
		}
	}
	if !r.plan.Gate.Approve {
		return nil
	}
	return r.await(ctx, "the shift to "+r.plan.Generation+" waits for an approval")
}

// shift gives the new generation as many pods as the live one has, then copies of requests and the users who ask for it, where the plan wants
// that, and then its share of all users step by step. Each step is read back from the router and watched before the next; a check or a
// rule that does not hold ends the shift, and the users are moved back. Where there was not enough traffic to tell, a person does.
func (r *run) shift(ctx workflow.Context) error {
	if len(r.plan.Routes) == 0 {
		return nil
	}
	var phases []phase
	if r.plan.Previous != "" && r.has(ctx, "scale") {
		phases = append(phases, func(ctx workflow.Context) error { return r.step(ctx, "shift/scale", r.tools.Scale) })
	}
	if r.plan.Shift.Mirror != nil {
		phases = append(phases, func(ctx workflow.Context) error { return r.step(ctx, "shift/mirror", r.tools.Mirror) })
	}
	if r.plan.Shift.Header != nil {
		phases = append(phases, func(ctx workflow.Context) error { return r.step(ctx, "shift/header", r.tools.LeadAskers) })
	}
	for _, share := range r.plan.Shift.Steps {
		phases = append(phases, func(ctx workflow.Context) error { return r.weigh(ctx, fmt.Sprintf("shift/%d", share), share) })
	}
	for i, do := range phases {
		phases[i] = r.orElseAsk(do)
	}
	return inOrder(phases...)(ctx)
}

// orElseAsk is a phase that asks a person to go on where there was not enough traffic to tell.
func (r *run) orElseAsk(do phase) phase {
	return func(ctx workflow.Context) error {
		err := do(ctx)
		if err == nil || faultOf(err).Code != fault.Undecided {
			return err
		}
		return r.await(ctx, reason(err)+"; approve to go on, or switch back")
	}
}

func (r *run) handOver(ctx workflow.Context) error {
	return r.step(ctx, "hand-over", r.tools.HandOver)
}

func (r *run) drain(ctx workflow.Context) error {
	if r.plan.Previous == "" || len(r.plan.Routes) == 0 {
		return nil
	}
	return r.step(ctx, "drain", r.tools.Drain)
}

func (r *run) settle(ctx workflow.Context) error {
	return r.step(ctx, "settle", r.tools.Settle)
}

// soak keeps both generations standing for as long as the plan says.
func (r *run) soak(ctx workflow.Context) error {
	if r.plan.Previous == "" || r.plan.Retire.Keep || r.plan.Retire.After == 0 {
		return nil
	}
	return r.pause(ctx, "soak", "", r.plan.Retire.After.Or(0))
}

// switchBack gives all users to the previous generation again. It cannot be cancelled: it is the way out.
func (r *run) switchBack(ctx workflow.Context, why string) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	r.note(ctx, "users go back to %s: %s", r.plan.Previous, why)
	return inOrder(
		func(ctx workflow.Context) error { return r.weigh(ctx, "switch-back", 0) },
		func(ctx workflow.Context) error { return r.step(ctx, "switch-back/hand-over", r.tools.HandBack) },
		func(ctx workflow.Context) error { return r.step(ctx, "switch-back/settle", r.tools.SettleBack) },
	)(ctx)
}

// retire takes the old generation away, after the router shows that nothing goes to it.
func (r *run) retire(ctx workflow.Context) error {
	if r.plan.Previous == "" || r.plan.Retire.Keep {
		return nil
	}
	return inOrder(
		func(ctx workflow.Context) error { return r.step(ctx, "retire/quarantine", r.tools.Quarantine) },
		func(ctx workflow.Context) error { return r.step(ctx, "retire/delete", r.tools.Delete) },
	)(ctx)
}

// standDown ends a run before the switch: the new generation leaves the pre-live names and is left for debugging, or removed
// where that was asked for. The error that led here is returned.
func (r *run) standDown(ctx workflow.Context, cause error) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if err := r.unfollow(ctx); err != nil {
		return errors.Join(cause, err)
	}
	if err := r.step(ctx, "stand-down", r.tools.StandDown); err != nil {
		return errors.Join(cause, err)
	}
	if r.command.Clean {
		if err := r.step(ctx, "clean", r.tools.Clean); err != nil {
			return errors.Join(cause, err)
		}
	}
	return cause
}
