package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
)

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status [ENV]",
		Short: "Show what is live, what stands beside it, and what is under way",
		Long: "Shows the generations that stand, their share of the users as the routers say, and\n" +
			"the run that is under way or was the last. Without ENV it shows every environment.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := a.environments(cmd.Context(), first(args))
			if err != nil {
				return err
			}
			return a.output.Print(all, func() view.Table { return view.Environments(all) })
		},
	}
}

// environments asks the record and the routers; it starts nothing.
func (a *app) environments(ctx context.Context, only string) ([]view.Environment, error) {
	all := []view.Environment{}
	s, known, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	if known {
		defer s.close()
		runs, err := s.records.Runs(ctx, only, recentRuns)
		if err != nil {
			return nil, err
		}
		for _, r := range foremost(runs) {
			e, err := s.environment(ctx, r)
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
	}
	if only != "" && len(all) == 0 {
		return nil, fault.New(fault.Invalid, "nothing ever happened in environment %s", only).WithHint("crossfade rollover %s builds its first generation", only)
	}
	return all, nil
}

// foremost returns one run of each environment, in the order of the newest of each: the one of the environment as a whole that is under way,
// which the deployment of a service does not hide, or else the newest.
func foremost(runs []record.Run) []record.Run {
	var all []record.Run
	for _, r := range runs {
		i := slices.IndexFunc(all, func(a record.Run) bool { return a.Environment == r.Environment })
		switch {
		case i < 0:
			all = append(all, r)
		case r.Service == "" && r.Ended == nil && (all[i].Service != "" || all[i].Ended != nil):
			all[i] = r
		}
	}
	return all
}

func (s *session) environment(ctx context.Context, last record.Run) (view.Environment, error) {
	e := view.Environment{Environment: last.Environment, Run: &last, Generations: []view.Generation{}}
	shares, err := s.tools.Shares(ctx, last.Environment)
	if err != nil {
		e.Routers = err.Error()
	}
	e.Shares = shares
	generations, err := s.records.Generations(ctx, last.Environment)
	for _, g := range generations {
		e.Generations = append(e.Generations, view.Generation{Generation: g, Share: shares[g.Name]})
	}
	return e, err
}
