package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func (a *app) deploy() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "deploy SERVICE@VERSION... ENV",
		Short: "Bring a service to a version in the live generation",
		Long: "Deploys a version, a tag or a digest of the service's image, as the strategy of the\n" +
			"service says: rolling, or blueGreen, which proves it beside the live version before\n" +
			"the users are led to it. A tag is resolved to its digest once, and that is what runs.\n" +
			"While a roll-over of the environment has not moved its users, the deployment waits.\n" +
			"So it does for another deployment of the service; of those that wait the newest goes\n" +
			"on, and the others end with exit status 4. Several services are deployed side by side,\n" +
			"each by itself; when one fails, the others go on.\n" +
			"A version that was never good in a stage before this one needs a --reason.",
		Example: "  crossfade deploy web@v1.4.2 production\n  crossfade deploy web@v1.4.2 orders@v7 production",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			environment := args[len(args)-1]
			var all []request
			for _, arg := range args[:len(args)-1] {
				service, version, ok := strings.Cut(arg, "@")
				if !ok || service == "" || version == "" {
					return fault.New(fault.Invalid, "%q names no version", arg).WithHint("write SERVICE@VERSION, as in web@v1.4.2 or web@sha256:...")
				}
				if slices.ContainsFunc(all, func(r request) bool { return r.at.Service == service }) {
					return fault.New(fault.Invalid, "%s is named twice", service).WithHint("one version of it can be live")
				}
				all = append(all, request{runbook.Place{Environment: environment, Service: service}, func(ctx context.Context, s *session, cfg *spec.Config) (*plan.Plan, error) {
					return s.tools.PrepareDeploy(ctx, cfg, environment, service, version, reason)
				}})
			}
			return a.release(cmd.Context(), all...)
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
	return a.release(ctx, request{at, func(ctx context.Context, s *session, cfg *spec.Config) (*plan.Plan, error) {
		return s.tools.PrepareAgain(ctx, cfg, at.Environment, at.Service, version, restart)
	}})
}

// request is a deployment that was asked for.
type request struct {
	at      runbook.Place
	prepare func(context.Context, *session, *spec.Config) (*plan.Plan, error)
}

// planned is a deployment that can be begun.
type planned struct {
	at   runbook.Place
	plan *plan.Plan
}

// begun is a deployment that is under way.
type begun struct {
	at  runbook.Place
	id  string // of the run
	end waiter
}

// release plans deployments and carries them out, or goes on with those that are under way. Nothing is begun unless all of them can be planned.
func (a *app) release(ctx context.Context, all ...request) error {
	cfg, err := spec.Load(a.config)
	if err != nil {
		return err
	}
	for _, w := range all {
		if _, _, err := plan.Deployable(cfg, w.at.Environment, w.at.Service); err != nil {
			return err
		}
	}
	s, err := a.records(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	plans, err := together(ctx, all, func(ctx context.Context, r request) (planned, error) {
		p, err := r.prepare(ctx, s, cfg)
		return planned{r.at, p}, err
	})
	if err != nil {
		return err
	}
	if err := a.connect(ctx, s); err != nil {
		return err
	}
	s.work()
	runs, err := together(ctx, plans, func(ctx context.Context, p planned) (begun, error) { return a.begin(ctx, s, p.at, p.plan) })
	if err != nil {
		return err
	}
	if len(runs) == 1 {
		return a.show(ctx, s, runs[0].at, runs[0].id, runs[0].end)
	}
	return a.showAll(ctx, s, runs)
}

// together does something for each of a list, some at a time, and returns the first error in order.
func together[T, R any](ctx context.Context, list []T, do func(context.Context, T) (R, error)) ([]R, error) {
	results, failed := make([]R, len(list)), make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(8)
	for i, item := range list {
		group.Go(func() error {
			results[i], failed[i] = do(ctx, item)
			return nil
		})
	}
	_ = group.Wait() // what failed is in failed, so that the first in order is told
	for _, err := range failed {
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// showAll shows deployments until all of them have ended, and says which have failed. The exit status is that of the first of them.
func (a *app) showAll(ctx context.Context, s *session, runs []begun) error {
	names, ids := map[string]string{}, []string{}
	for _, r := range runs {
		if err := s.control.Recorded(ctx, r.id); err != nil {
			return a.detached(ctx, r.at, err)
		}
		names[r.id], ids = r.at.Service, append(ids, r.id)
	}
	ends := make([]error, len(runs))
	var group errgroup.Group
	for i, r := range runs {
		group.Go(func() error {
			ends[i] = r.end(ctx)
			return nil
		})
	}
	shown := a.output.Runs(names)
	defer shown.Close()
	err := s.records.FollowAll(ctx, ids, 0, func(e record.Event) error {
		shown.Event(e)
		return nil
	})
	if err != nil {
		return a.detached(ctx, runs[0].at, err)
	}
	_ = group.Wait() // how each ended is in ends
	var failed []string
	var first error
	for i, err := range ends {
		if err != nil {
			failed, first = append(failed, runs[i].at.Service+": "+err.Error()), cmp.Or(first, err)
		}
	}
	if first == nil {
		return nil
	}
	return fault.New(fault.CodeOf(first), "%d of %d deployments failed: %s", len(failed), len(runs), strings.Join(failed, "; ")).WithHint("%s", fault.HintOf(first))
}

// begin starts a deployment, or finds the same one under way or waiting; another one that is under way it waits for.
func (a *app) begin(ctx context.Context, s *session, at runbook.Place, wanted *plan.Plan) (begun, error) {
	under := func(ctx context.Context) error { return s.control.Wait(ctx, at) }
	for {
		id, err := s.control.Start(ctx, runbook.OperationDeploy, wanted)
		if fault.CodeOf(err) != fault.Locked {
			return begun{at, id, under}, err
		}
		open, err := s.deployment(ctx, at)
		switch {
		case err != nil:
			return begun{}, err
		case open == nil:
			continue // it has ended meanwhile
		case open.is(wanted):
			a.talk("resuming run %s", open.run.ID)
			return begun{at, open.run.ID, under}, nil
		case !open.kept && wanted.Deploy.Again():
			return begun{}, fault.New(fault.Locked, "%s %s is being deployed to %s by run %s", at.Service, open.plan.Deploy.Version(), at.Environment, open.run.ID).
				WithHint("let it end, or end it: crossfade abort %s leaves the version that was good", open.run.ID)
		}
		id, err = a.queue(ctx, s, at, wanted)
		return begun{at, id, func(ctx context.Context) error { return s.control.WaitQueued(ctx, at, id) }}, err
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
	if err != nil || id == "" {
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
	if err := json.Unmarshal(run.Plan, &d.plan); err != nil || d.plan.Deploy == nil && d.plan.Set == nil {
		return nil, fault.New(fault.Failed, "cannot read the plan of run %s", id).WithHint("use the crossfade that began it")
	}
	events, err := s.records.Events(ctx, id, 0)
	d.kept = keeps(events)
	return d, err
}

// is reports whether a run does what is wanted. What a roll-back goes back to changes while it is under way, as does what is good in the stage before,
// and one that has restarted may do so again.
func (d *deployment) is(wanted *plan.Plan) bool {
	o, w := d.plan.Deploy, wanted.Deploy
	switch {
	case o.Back || w.Back:
		return o.Back && w.Back
	case o.Promoted && w.Promoted && !d.kept:
		return true
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
