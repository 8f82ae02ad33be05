package cli

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func (a *app) deploy() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "deploy SERVICE@VERSION ENV",
		Short: "Bring a service to a version in the live generation",
		Long: "Deploys a version, a tag or a digest of the service's image, as the strategy of the\n" +
			"service says: rolling, or blueGreen, which proves it beside the live version before\n" +
			"the users are led to it. A tag is resolved to its digest once, and that is what runs.\n" +
			"While a roll-over of the environment has not moved its users, the deployment waits.",
		Example: "  crossfade deploy web@v1.4.2 production",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			service, version, ok := strings.Cut(args[0], "@")
			if !ok || service == "" || version == "" {
				return fault.New(fault.Invalid, "%q names no version", args[0]).WithHint("write SERVICE@VERSION, as in web@v1.4.2 or web@sha256:...")
			}
			return a.release(cmd.Context(), runbook.Place{Environment: args[1], Service: service}, func(ctx context.Context, s *session, cfg *spec.Config) (*plan.Plan, error) {
				return s.tools.PrepareDeploy(ctx, cfg, args[1], service, version, reason)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why stages are skipped in which the version was never good, for the record (`text`)")
	return cmd
}

func (a *app) rollback() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "rollback SERVICE ENV",
		Short: "Bring a service back to a release before, exactly as it was",
		Long: "Deploys the latest good release before the one that runs, or the one of the version\n" +
			"named with --to, from the record. Where the version before is still kept, that takes\n" +
			"no longer than to lead the users back to it.",
		Example: "  crossfade rollback web production\n  crossfade rollback web production --to v1.4.1",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.again(cmd.Context(), args, to, false)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the `version` of the release: a tag or a digest")
	return cmd
}

func (a *app) restart() *cobra.Command {
	return &cobra.Command{
		Use:   "restart SERVICE ENV",
		Short: "Replace every pod of a service once, at the version that runs",
		Long:  "Deploys the release that runs once more: one rollout, of the same version.",
		Args:  cobra.ExactArgs(2),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.again(cmd.Context(), args, "", true) },
	}
}

func (a *app) again(ctx context.Context, args []string, version string, restart bool) error {
	at := runbook.Place{Environment: args[1], Service: args[0]}
	return a.release(ctx, at, func(ctx context.Context, s *session, cfg *spec.Config) (*plan.Plan, error) {
		return s.tools.PrepareAgain(ctx, cfg, at.Environment, at.Service, version, restart)
	})
}

// release plans a deployment and carries it out, or goes on with the one that is under way.
func (a *app) release(ctx context.Context, at runbook.Place, prepare func(context.Context, *session, *spec.Config) (*plan.Plan, error)) error {
	cfg, err := spec.Load(a.config)
	if err != nil {
		return err
	}
	if _, _, err := plan.Deployable(cfg, at.Environment, at.Service); err != nil {
		return err
	}
	s, err := a.records(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	p, err := prepare(ctx, s, cfg)
	if err != nil {
		return err
	}
	if err := a.connect(ctx, s); err != nil {
		return err
	}
	if err := s.attend(at); err != nil {
		return err
	}
	open, err := s.control.Open(ctx, at)
	if err != nil {
		return err
	}
	if open != nil {
		if open, err = a.makeWay(ctx, s, at, open, p); err != nil {
			return err
		}
	}
	id := ""
	if open != nil {
		a.talk("resuming run %s", open.ID)
		id = open.ID
	} else if id, err = s.control.Start(ctx, runbook.OperationDeploy, p); err != nil {
		return err
	}
	s.work()
	return a.watch(ctx, s, at, id)
}

// makeWay looks at the deployment of a service that is under way: one of the same is returned, to be gone on with; another that only keeps the
// version before is ended, and nil returned. Any other is an error of code fault.Locked.
func (a *app) makeWay(ctx context.Context, s *session, at runbook.Place, open *record.Run, wanted *plan.Plan) (*record.Run, error) {
	id := open.ID
	if id == "" { // it was started, and nobody has worked for it yet
		s.work()
		var err error
		if id, err = s.identify(ctx, at, ""); err != nil {
			return nil, err
		}
	}
	run, err := s.records.Run(ctx, id)
	if err != nil {
		return nil, err
	}
	var p plan.Plan
	if err := json.Unmarshal(run.Plan, &p); err != nil || p.Deploy == nil {
		return nil, fault.New(fault.Failed, "cannot read the plan of run %s", id).WithHint("use the crossfade that began it")
	}
	events, err := s.records.Events(ctx, run.ID, 0)
	if err != nil {
		return nil, err
	}
	kept := keeps(events)
	switch {
	case same(p.Deploy, wanted.Deploy) && !(kept && p.Deploy.Restart): // one that has restarted may do so again
		return &run, nil
	case kept:
		a.talk("run %s no longer keeps the version before", run.ID)
		if err := s.control.Send(ctx, at, runbook.Command{Name: runbook.RetireNow, By: runbook.Person()}); err != nil {
			return nil, err
		}
		s.work()
		return nil, s.control.Wait(ctx, at)
	}
	return nil, fault.New(fault.Locked, "%s %s is being deployed to %s by run %s", at.Service, p.Deploy.Version(), at.Environment, run.ID).
		WithHint("let it end, or end it: crossfade abort %s", run.ID)
}

// same reports whether two commands ask for the same. What a roll-back goes back to changes while it is under way, and what a stage has does too.
func same(open, wanted *plan.Deploy) bool {
	if open.Back || wanted.Back {
		return open.Back && wanted.Back
	}
	if open.Promoted && wanted.Promoted {
		return true // likewise
	}
	return open.Unit.Version == wanted.Unit.Version && open.Unit.Manifests == wanted.Unit.Manifests && open.Restart == wanted.Restart
}

// keeps reports whether a run is where it only keeps the version before, whatever was noted since.
func keeps(events []record.Event) bool {
	for _, e := range slices.Backward(events) {
		if e.Step != "" {
			return e.Step == runbook.Kept
		}
	}
	return false
}
