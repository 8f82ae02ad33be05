package runbook

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// Deploy brings one service to a version in the live generation. With blueGreen the version that serves the users is not touched until the next
// one has proved itself beside it, and stays until its connections had time to end.
func Deploy(ctx workflow.Context, in step.Start) error {
	r, err := begin(ctx, in)
	if err != nil {
		return err
	}
	if r.plan.Deploy.Strategy.BlueGreen == nil {
		return r.finish(ctx, r.roll(ctx))
	}
	return r.finish(ctx, r.blueGreen(ctx))
}

// roll replaces the pods one after the other.
func (r *run) roll(ctx workflow.Context) error {
	err := r.unless(ctx, []string{Abort}, inOrder(
		r.passGate, // of a stage, for what comes from another one
		r.admit,    // no roll-over is between its plan and its switch
		func(ctx workflow.Context) error { return r.step(ctx, "roll", r.tools.Roll) },
		r.verifyStage, // the checks of the stage hold
	))
	if err == nil {
		return r.markGood(ctx)
	}
	if r.times["roll"] == 0 || !r.removes() {
		return err
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	return errors.Join(err, r.step(ctx, "roll-back", r.tools.Unroll))
}

// blueGreen starts the next version beside the live one, proves it, and leads the users to it.
func (r *run) blueGreen(ctx workflow.Context) error {
	strategy := r.plan.Deploy.Strategy.BlueGreen
	err := r.unless(ctx, []string{Abort}, inOrder(
		r.passGate, // of a stage, for what comes from another one
		r.admit,    // no roll-over is between its plan and its switch
		r.stage,    // every pod of the next version is ready
		r.preview,  // its checks hold
		r.agree,    // a person says so, if one is asked
	))
	if err != nil {
		return r.dismiss(ctx, err)
	}
	if err := r.unless(ctx, []string{Abort}, inOrder(
		r.share,         // users from outside in steps, each watched
		r.switchVersion, // everybody
		r.verifyStage,   // the checks of the environment hold, where it is a stage
	)); err != nil {
		return r.switchVersionBack(ctx, err)
	}
	if err := r.markGood(ctx); err != nil {
		return err
	}
	if err := r.drainVersion(ctx); err != nil {
		return err
	}
	if r.crowded {
		return nil // the next run wants the place, and perhaps the version that stands there
	}
	err = r.unless(ctx, []string{MakeWay}, func(ctx workflow.Context) error { return r.rest(ctx, Kept, "", strategy.Keep) })
	if r.asked(err, MakeWay) {
		return nil
	}
	if err != nil {
		return err
	}
	return r.step(ctx, "remove", r.tools.RemoveOld)
}

// Kept is the step in which a run only keeps the version before. MakeWay ends it, and leaves that version to the next run.
const Kept = step.Kept

func (r *run) admit(ctx workflow.Context) error { return r.step(ctx, "admit", r.tools.Admit) }

func (r *run) stage(ctx workflow.Context) error { return r.step(ctx, "stage", r.tools.Stage) }

func (r *run) preview(ctx workflow.Context) error {
	if len(r.plan.Deploy.Strategy.BlueGreen.Checks) == 0 {
		return nil
	}
	return r.step(ctx, "preview", r.tools.Preview)
}

func (r *run) agree(ctx workflow.Context) error {
	if !r.plan.Deploy.Strategy.BlueGreen.Approve {
		return nil
	}
	return r.await(ctx, r.plan.Deploy.Unit.Name+" "+r.plan.Deploy.Version()+" waits for an approval")
}

// share leads the users who come in from outside to the next version step by step. A check that does not hold ends it, and they are led back.
func (r *run) share(ctx workflow.Context) error {
	front := r.plan.Deploy.Strategy.BlueGreen.Front
	if front == nil || front.HTTPRoute == nil {
		return nil
	}
	for _, share := range front.HTTPRoute.Steps {
		if err := r.call(ctx, r.tools.Share, step.Weight{Step: r.next(fmt.Sprintf("share/%d", share)), Share: share}); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) switchVersion(ctx workflow.Context) error { return r.step(ctx, "switch", r.tools.Switch) }

func (r *run) markGood(ctx workflow.Context) error { return r.step(ctx, "good", r.tools.MarkGood) }

// drainVersion gives connections to the version before time to end.
func (r *run) drainVersion(ctx workflow.Context) error {
	const drain = "drain"
	limit := r.plan.Deploy.Strategy.BlueGreen.Drain
	if limit == 0 {
		return nil
	}
	if !r.has(ctx, "count-connections") {
		return r.rest(ctx, drain, "connections to the version before may go on", limit)
	}
	return r.step(ctx, drain, r.tools.DrainVersion)
}

// switchVersionBack returns the users to the version before, and takes the next one away if that was asked for. It cannot be cancelled: it is the
// way out.
func (r *run) switchVersionBack(ctx workflow.Context, cause error) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	r.note(ctx, "users go back to the version before: %s", reason(cause))
	if err := r.step(ctx, "switch-back", r.tools.SwitchBack); err != nil {
		return errors.Join(cause, err)
	}
	if faultOf(cause).Code == fault.Refused {
		r.outcome = record.SwitchedBack
	}
	if strategy := r.plan.Deploy.Strategy.BlueGreen; strategy.Front != nil && r.removes() {
		if err := r.rest(ctx, "drain", "what leads the users from outside may take its time", strategy.Drain); err != nil {
			return errors.Join(cause, err)
		}
	}
	return r.dismiss(ctx, cause)
}

// dismiss leaves a version that no user is led to for debugging, or takes it away where that was asked for. The error that led here is
// returned.
func (r *run) dismiss(ctx workflow.Context, cause error) error {
	if r.times["stage"] == 0 || !r.removes() {
		return cause
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if err := r.step(ctx, "clean", r.tools.RemoveNew); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}

// removes reports whether a version that has failed is taken away.
func (r *run) removes() bool { return r.command.Clean || r.plan.Deploy.Strategy.OnFailure == "remove" }
