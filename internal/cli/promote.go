package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/promotion"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func (a *app) promote() *cobra.Command {
	var p promotion.Wish
	cmd := &cobra.Command{
		Use:   "promote [SERVICE] ENV",
		Short: "Bring what is good in the stage before into a stage",
		Long: "Deploys exactly the version that is good in the stage before; only the configuration of\n" +
			"the environment is another. With --set, the services of a Stack go together, at the\n" +
			"versions that were verified together in the stage before: all of them, or none. What\n" +
			"is there already is left as it is.",
		Example: "  crossfade promote web production\n  crossfade promote --set shop production\n" +
			"  crossfade promote web production --from testing --reason 'staging is being rebuilt'",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Into = args[len(args)-1]
			switch {
			case p.Set == "" && len(args) == 2:
				p.Service = args[0]
			case p.Set == "" || len(args) == 2:
				return fault.New(fault.Invalid, "cannot run %s: it wants a service or a set, and an environment", cmd.CommandPath()).WithHint("see %s --help", cmd.CommandPath())
			}
			return a.runPromotion(cmd.Context(), p)
		},
	}
	cmd.Flags().StringVar(&p.Set, "set", "", "promote the services of the Stack of this `name` together")
	cmd.Flags().StringVar(&p.From, "from", "", "take what is good in this `stage`, not in the one before")
	cmd.Flags().StringVar(&p.Reason, "reason", "", "why stages are skipped in which the version was never good, for the record (`text`)")
	return cmd
}

func (a *app) runPromotion(ctx context.Context, p promotion.Wish) error {
	cfg, err := spec.Load(a.config)
	if err != nil {
		return err
	}
	if _, err := p.Services(cfg); err != nil {
		return err
	}
	s, err := a.records(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	at := runbook.Place{Environment: p.Into, Service: p.Service}
	open, kept, err := s.promoting(ctx, at, p.Set)
	if err != nil {
		return err
	}
	if open != nil && !kept {
		return a.resume(ctx, s, at, open)
	}
	planned, err := s.tools.PreparePromotion(ctx, cfg, p)
	if err != nil {
		return err
	}
	stands, err := promotion.Stands(ctx, s.records, planned)
	switch {
	case err != nil:
		return err
	case stands && open != nil:
		return a.resume(ctx, s, at, open)
	case stands:
		a.talk("%s: what is good in %s runs in %s already, and is good there", planned.Names(), planned.Promotion.From.Environment, p.Into)
		return nil
	case p.Set != "":
		return a.promoteSet(ctx, s, at, planned)
	}
	return a.release(ctx, request{at, func(context.Context, *session, *spec.Config) (*plan.Plan, error) { return planned, nil }})
}

// promoting is the run under way that the same command has begun, and whether it only keeps the version before; nil when there is none.
func (s *session) promoting(ctx context.Context, at runbook.Place, set string) (run *record.Run, kept bool, err error) {
	runs, err := s.records.Runs(ctx, at.Environment, recentRuns)
	if err != nil {
		return nil, false, err
	}
	for _, r := range runs {
		if r.Ended != nil || r.Service != at.Service || r.Operation != runbook.OperationDeploy && r.Operation != runbook.OperationPromote {
			continue
		}
		d, err := s.read(ctx, r.ID)
		if err != nil {
			return nil, false, err
		}
		if p := d.plan; p.Deploy != nil && p.Deploy.Promoted || p.Set != nil && p.Set.Name == set {
			return &d.run, d.kept, nil
		}
	}
	return nil, false, nil
}

// resume goes on with a promotion that is under way.
func (a *app) resume(ctx context.Context, s *session, at runbook.Place, run *record.Run) error {
	if err := a.connect(ctx, s); err != nil {
		return err
	}
	a.talk("resuming run %s", run.ID)
	s.work()
	return a.watchPromotion(ctx, s, at, run)
}

// promoteSet carries out the promotion of a set. The environment is its place: no roll-over is under way beside it, and no service is deployed while it
// moves.
func (a *app) promoteSet(ctx context.Context, s *session, at runbook.Place, p *plan.Plan) error {
	if err := a.connect(ctx, s); err != nil {
		return err
	}
	for _, name := range p.Set.Left {
		a.talk("%s is at another version in %s by now; the set has the one that was verified with the others", name, p.Promotion.From.Environment)
	}
	for _, u := range p.Services {
		if err := a.endKept(ctx, s, runbook.Place{Environment: at.Environment, Service: u.Name}); err != nil {
			return err
		}
	}
	id, err := s.control.Start(ctx, runbook.OperationPromote, p)
	if fault.CodeOf(err) == fault.Locked {
		return a.join(ctx, s, at, p, err)
	}
	if err != nil {
		return err
	}
	s.work()
	return a.watchPromotion(ctx, s, at, &record.Run{ID: id})
}

// join goes on with the same promotion of a set, which was begun and is in the record only now. Anything else that is under way is the error that was met.
func (a *app) join(ctx context.Context, s *session, at runbook.Place, p *plan.Plan, locked error) error {
	open, err := s.control.Open(ctx, at)
	if err != nil || open == nil || open.Operation != runbook.OperationPromote {
		return errors.Join(locked, err)
	}
	s.work()
	id, err := s.identify(ctx, at, open.ID)
	if err != nil {
		return err
	}
	if id == "" {
		return locked // which one it was is not known, and it has ended: the same command again finds out what is to be done
	}
	d, err := s.read(ctx, id)
	if err != nil {
		return err
	}
	if d.plan.Set == nil || d.plan.Set.Name != p.Set.Name {
		return locked
	}
	a.talk("resuming run %s", id)
	return a.watchPromotion(ctx, s, at, &d.run)
}

// endKept ends the keeping of the version before of a service, now or when it begins.
func (a *app) endKept(ctx context.Context, s *session, at runbook.Place) error {
	open, err := s.control.Open(ctx, at)
	if err != nil || open == nil || open.ID == "" {
		return err
	}
	a.talk("run %s need not keep the version before", open.ID)
	return s.control.Send(ctx, open, runbook.Command{Name: runbook.MakeWay, By: runbook.Person()})
}

// watchPromotion shows a promotion until it ends and returns how it ended.
func (a *app) watchPromotion(ctx context.Context, s *session, at runbook.Place, run *record.Run) error {
	wait := func(ctx context.Context) error { return s.control.Wait(ctx, at) }
	if run.State == record.Queued {
		wait = func(ctx context.Context) error { return s.control.WaitQueued(ctx, at, run.ID) }
	}
	err := a.show(ctx, s, at, run.ID, wait)
	if fault.CodeOf(err) == fault.Interrupted && at.Service == "" {
		return fault.New(fault.Interrupted, "interrupted; the promotion into %s is where it was", at.Environment).WithHint("the same command goes on with it")
	}
	return err
}
