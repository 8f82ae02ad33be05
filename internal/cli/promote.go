package cli

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func (a *app) promote() *cobra.Command {
	var p step.Promotion
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

func (a *app) runPromotion(ctx context.Context, p step.Promotion) error {
	cfg, err := spec.Load(a.config)
	if err != nil {
		return err
	}
	if err := p.Check(cfg); err != nil {
		return err
	}
	s, err := a.records(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	at := runbook.Place{Environment: p.Into, Service: p.Service}
	open, err := s.promoting(ctx, at, p.Set)
	if err != nil {
		return err
	}
	if open != nil {
		return a.resume(ctx, s, at, open)
	}
	planned, err := s.tools.PreparePromotion(ctx, cfg, p)
	if err != nil {
		return err
	}
	stands, err := s.tools.Stands(ctx, planned)
	switch {
	case err != nil:
		return err
	case stands:
		a.talk("%s: what is good in %s runs in %s already, and is good there", planned.Names(), planned.Promotion.From.Environment, p.Into)
		return nil
	case p.Set != "":
		return a.promoteSet(ctx, s, at, planned)
	}
	return a.release(ctx, at, func(context.Context, *session, *spec.Config) (*plan.Plan, error) { return planned, nil })
}

// promoting is the run under way that the same command has begun; nil when there is none.
func (s *session) promoting(ctx context.Context, at runbook.Place, set string) (*record.Run, error) {
	runs, err := s.records.Runs(ctx, at.Environment, recentRuns)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		if r.Ended != nil || r.Service != at.Service || r.Operation != runbook.OperationDeploy && r.Operation != runbook.OperationPromote {
			continue
		}
		run, err := s.records.Run(ctx, r.ID) // with its plan
		if err != nil {
			return nil, err
		}
		var p plan.Plan
		if err := json.Unmarshal(run.Plan, &p); err != nil {
			return nil, fault.New(fault.Failed, "cannot read the plan of run %s: %w", run.ID, err).WithHint("use the crossfade that began it")
		}
		if p.Deploy != nil && p.Deploy.Promoted || p.Set != nil && p.Set.Name == set {
			return &run, nil
		}
	}
	return nil, nil //nolint:nilnil // that is what there is
}

// resume goes on with a promotion that is under way.
func (a *app) resume(ctx context.Context, s *session, at runbook.Place, run *record.Run) error {
	if err := a.connect(ctx, s); err != nil {
		return err
	}
	if err := s.attend(at); err != nil {
		return err
	}
	a.talk("resuming run %s", run.ID)
	s.work()
	return a.watchPromotion(ctx, s, at, run.ID)
}

// promoteSet carries out the promotion of a set. The environment is its place: no roll-over is under way beside it, and no service is deployed while it
// moves.
func (a *app) promoteSet(ctx context.Context, s *session, at runbook.Place, p *plan.Plan) error {
	if err := a.connect(ctx, s); err != nil {
		return err
	}
	if err := s.attend(at); err != nil {
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
	if err != nil {
		return err
	}
	s.work()
	return a.watchPromotion(ctx, s, at, id)
}

// endKept ends the run of a service that only keeps the version before.
func (a *app) endKept(ctx context.Context, s *session, at runbook.Place) error {
	open, err := s.control.Open(ctx, at)
	if err != nil || open == nil || open.ID == "" {
		return err
	}
	events, err := s.records.Events(ctx, open.ID, 0)
	if err != nil || !keeps(events) {
		return err
	}
	a.talk("run %s no longer keeps the version before", open.ID)
	if err := s.control.Send(ctx, at, runbook.Command{Name: runbook.RetireNow, By: runbook.Person()}); err != nil {
		return err
	}
	s.work()
	return s.control.Wait(ctx, at)
}

// watchPromotion is watch, with words of its own for a set that was interrupted.
func (a *app) watchPromotion(ctx context.Context, s *session, at runbook.Place, id string) error {
	err := a.watch(ctx, s, at, id)
	if fault.CodeOf(err) == fault.Interrupted && at.Service == "" {
		return fault.New(fault.Interrupted, "interrupted; the promotion into %s is where it was", at.Environment).WithHint("the same command goes on with it")
	}
	return err
}
