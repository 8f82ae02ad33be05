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
	return &cobra.Command{
		Use:   "deploy SERVICE@VERSION ENV",
		Short: "Bring a service to a version in the live generation",
		Long: "Deploys a version, a tag or a digest of the service's image, as the strategy of the\n" +
			"service says: rolling, or blueGreen, which proves it beside the live version before\n" +
			"the users are led to it. A tag is resolved to its digest once, and that is what runs.\n" +
			"While a roll-over of the environment has not moved its users, the deployment waits.\n" +
			"So it does for another deployment of the service; of those that wait the newest goes\n" +
			"on, and the others end with exit status 4.",
		Example: "  crossfade deploy web@v1.4.2 production",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			service, version, ok := strings.Cut(args[0], "@")
			if !ok || service == "" || version == "" {
				return fault.New(fault.Invalid, "%q names no version", args[0]).WithHint("write SERVICE@VERSION, as in web@v1.4.2 or web@sha256:...")
			}
			return a.release(cmd.Context(), runbook.Place{Environment: args[1], Service: service}, func(ctx context.Context, s *session, cfg *spec.Config) (*plan.Plan, error) {
				return s.tools.PrepareDeploy(ctx, cfg, args[1], service, version)
			})
		},
	}
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
	id, ended, err := a.begin(ctx, s, at, p)
	if err != nil {
		return err
	}
	s.work()
	return a.show(ctx, s, at, id, ended)
}

// begin starts a deployment, or finds the same one under way or waiting; another one that is under way it waits for. It returns the id of the run,
// and what waits for its end.
func (a *app) begin(ctx context.Context, s *session, at runbook.Place, wanted *plan.Plan) (string, waiter, error) {
	under := func(ctx context.Context) error { return s.control.Wait(ctx, at) }
	for {
		id, err := s.control.Start(ctx, runbook.OperationDeploy, wanted)
		if fault.CodeOf(err) != fault.Locked {
			return id, under, err
		}
		s.work()
		open, err := s.deployment(ctx, at)
		switch {
		case err != nil:
			return "", nil, err
		case open == nil:
			continue // it has ended meanwhile
		case open.is(wanted):
			a.talk("resuming run %s", open.run.ID)
			return open.run.ID, under, nil
		case !open.kept && wanted.Deploy.Again():
			return "", nil, fault.New(fault.Locked, "%s %s is being deployed to %s by run %s", at.Service, open.plan.Deploy.Version(), at.Environment, open.run.ID).
				WithHint("let it end, or end it: crossfade abort %s leaves the version that was good", open.run.ID)
		}
		id, err = a.queue(ctx, s, at, wanted)
		return id, func(ctx context.Context) error { return s.control.WaitQueued(ctx, at, id) }, err
	}
}

// queue has a deployment wait for the one that is under way, unless the same waits already.
func (a *app) queue(ctx context.Context, s *session, at runbook.Place, wanted *plan.Plan) (string, error) {
	waits, err := s.control.Queued(ctx, at)
	if err != nil {
		return "", err
	}
	if waits != nil {
		d, err := s.read(ctx, waits.ID)
		if err != nil {
			return "", err
		}
		if d.is(wanted) {
			a.talk("resuming run %s", waits.ID)
			return waits.ID, nil
		}
	}
	return s.control.Queue(ctx, wanted)
}

// deployment is a run that deploys a service.
type deployment struct {
	run  record.Run
	plan plan.Plan
	kept bool // it only keeps the version before
}

// deployment returns the one under way at a place; nil when none is.
func (s *session) deployment(ctx context.Context, at runbook.Place) (*deployment, error) {
	open, err := s.control.Open(ctx, at)
	if err != nil || open == nil {
		return nil, err
	}
	id, err := s.identify(ctx, at, open.ID)
	if err != nil {
		return nil, err
	}
	return s.read(ctx, id)
}

// read reads a deployment from the record.
func (s *session) read(ctx context.Context, id string) (*deployment, error) {
	run, err := s.records.Run(ctx, id)
	if err != nil {
		return nil, err
	}
	d := &deployment{run: run}
	if err := json.Unmarshal(run.Plan, &d.plan); err != nil || d.plan.Deploy == nil {
		return nil, fault.New(fault.Failed, "cannot read the plan of run %s", id).WithHint("use the crossfade that began it")
	}
	events, err := s.records.Events(ctx, id, 0)
	d.kept = keeps(events)
	return d, err
}

// is reports whether a run does what is wanted. What a roll-back goes back to changes while it is under way, and one that has restarted may do so
// again.
func (d *deployment) is(wanted *plan.Plan) bool {
	o, w := d.plan.Deploy, wanted.Deploy
	if o.Back || w.Back {
		return o.Back && w.Back
	}
	return o.Unit.Version == w.Unit.Version && o.Unit.Manifests == w.Unit.Manifests && o.Restart == w.Restart && !(d.kept && o.Restart)
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

func (a *app) history() *cobra.Command {
	return &cobra.Command{
		Use:   "history SERVICE ENV",
		Short: "List the releases of a service, the newest first",
		Long:  "Lists what was released into an environment, when, by which run, and what of it was good.",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var releases []record.Release
			s, known, err := a.read(cmd.Context())
			if err != nil {
				return err
			}
			if known {
				defer s.close()
				if releases, err = s.records.Releases(cmd.Context(), args[1], args[0]); err != nil {
					return err
				}
			}
			return a.output.Print(listed(releases), func() view.Table { return view.Releases(releases) })
		},
	}
}
