package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/runbook"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

const (
	// refreshAnyway is how often a following refreshes though no node has changed: Services and their load balancers change, too.
	refreshAnyway = time.Minute
	// refreshBeat is the least time between two looks, also after what failed or while a run is under way.
	refreshBeat = 2 * time.Second
)

func (a *app) refresh() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "refresh ENV",
		Short: "Keep the routes of an environment at the nodes that are there now",
		Long: "Looks which nodes of the live generation are ready, and lets every route lead to\n" +
			"these alone. No users are moved between generations. It may run at any time, from\n" +
			"a cron job for instance; while a run of the environment is under way it is refused,\n" +
			"with the exit status 4. With --follow it goes on whenever a node comes or goes,\n" +
			"until it is interrupted; -o json then writes one line for every change.",
		Example: "  crossfade refresh production\n  crossfade refresh production --follow",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runRefresh(cmd.Context(), args[0], follow)
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "go on whenever nodes come and go, until interrupted")
	return cmd
}

func (a *app) runRefresh(ctx context.Context, environment string, follow bool) error {
	s, known, err := a.read(ctx)
	if err != nil {
		return err
	}
	if !known {
		return fault.New(fault.Invalid, "nothing ever happened in the state directory %s", a.stateDir).WithHint("name the right one with --state")
	}
	defer s.close()
	cfg, err := spec.Load(a.config)
	if err != nil {
		return err
	}
	r, err := step.NewRefresh(s.tools, cfg, environment)
	if err != nil {
		return err
	}
	if err := a.connect(ctx, s); err != nil {
		return err
	}
	at := runbook.Place{Environment: environment}
	if follow {
		return a.followNodes(ctx, s, at, r)
	}
	all, err := refreshOnce(ctx, s, at, r)
	if len(all) > 0 || err == nil {
		if shown := a.output.Print(all, func() view.Table { return view.Refreshed(all) }); shown != nil {
			return shown
		}
	}
	return err
}

// refreshOnce refreshes while nobody else may change the environment. The error is of code Locked while somebody does.
func refreshOnce(ctx context.Context, s *session, at runbook.Place, r *step.Refresh) ([]step.Refreshed, error) {
	claim, err := s.control.Attend(at)
	if err != nil {
		return nil, err
	}
	defer claim.Close() //nolint:errcheck // it is given back at the latest when the process ends
	open, err := s.control.Open(ctx, at)
	if err != nil {
		return nil, err
	}
	if open != nil {
		return nil, fault.New(fault.Locked, "a %s of %s is under way, and sees to its routes", open.Operation, at.Environment).
			WithHint("see it with crossfade status %s", at.Environment)
	}
	all, err := r.Once(ctx)
	if all == nil {
		all = []step.Refreshed{}
	}
	return all, err
}

// followNodes refreshes again and again until it is interrupted, which is its end and no failure. What fails is told and tried again.
func (a *app) followNodes(ctx context.Context, s *session, at runbook.Place, r *step.Refresh) error {
	again := time.NewTicker(refreshBeat)
	defer again.Stop()
	for said := ""; ctx.Err() == nil; {
		err := a.untilChanged(ctx, s, at, r)
		text := ""
		switch {
		case ctx.Err() != nil:
			return nil
		case fault.CodeOf(err) == fault.Invalid:
			return err
		case err != nil:
			text = err.Error()
		}
		if text != said {
			said = text
			a.talk("%s", cmp.Or(text, "the routes of "+at.Environment+" are as they should be"))
		}
		select {
		case <-ctx.Done():
		case <-again.C:
		}
	}
	return nil
}

// untilChanged refreshes, shows what came of it, and waits for the next change of the nodes.
func (a *app) untilChanged(ctx context.Context, s *session, at runbook.Place, r *step.Refresh) error {
	before := r.States(ctx)
	all, err := refreshOnce(ctx, s, at, r)
	for _, one := range all {
		if shown := a.showRefreshed(one); shown != nil {
			return shown
		}
	}
	if err != nil {
		return err
	}
	return r.Await(ctx, before, refreshAnyway)
}

// showRefreshed shows a change, on one line.
func (a *app) showRefreshed(r step.Refreshed) error {
	switch {
	case !r.Changed():
		return nil
	case a.output.Format == view.AsJSON:
		return json.NewEncoder(a.output.Data).Encode(r)
	default:
		return a.output.Print(r, func() view.Table { return view.Refreshed([]step.Refreshed{r}) })
	}
}
