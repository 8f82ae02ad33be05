package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// recentRuns is how many runs are looked through and listed, the latest first.
const recentRuns = 1000

func (a *app) runs() *cobra.Command {
	return &cobra.Command{
		Use:   "runs [ENV]",
		Short: "List the runs, the newest first",
		Long:  "Lists the runs of an environment, of all without ENV: their state, who started them,\nhow long they took and how they ended.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var runs []record.Run
			s, known, err := a.read(cmd.Context())
			if err != nil {
				return err
			}
			if known {
				defer s.close()
				if runs, err = s.records.Runs(cmd.Context(), first(args), recentRuns); err != nil {
					return err
				}
			}
			return a.output.Print(listed(runs), func() view.Table { return view.Runs(runs) })
		},
	}
}

func (a *app) logs() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs RUN",
		Short: "Tell the story of a run, one line an event",
		Long: "Tells what a run did, step by step, and what pods said where a step failed.\n" +
			"crossfade runs lists the runs. With --follow, -o json writes one event a line and\n" +
			"-o yaml one document an event, as they come.",
		Example: "  crossfade logs production-rollover-20260102T150405.000Z --follow",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.known(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer s.close()
			return a.tellStory(cmd.Context(), s, args[0], follow)
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "go on until the run ends")
	return cmd
}

func (a *app) tellStory(ctx context.Context, s *session, run string, follow bool) error {
	story := a.output.Story()
	if follow {
		return s.records.Follow(ctx, run, 0, func(e record.Event) error {
			story.Event(e)
			return nil
		})
	}
	events, err := s.records.Events(ctx, run, 0)
	if err != nil {
		return err
	}
	if a.output.Format != view.AsTable {
		return a.output.Print(listed(events), nil)
	}
	for _, e := range events {
		story.Event(e)
	}
	return nil
}

// known opens the record for a command about a run that must be in it.
func (a *app) known(ctx context.Context, run string) (*session, error) {
	s, known, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	if known {
		if _, err = s.records.Run(ctx, run); err == nil {
			return s, nil
		}
		s.close()
	}
	return nil, fault.New(fault.Invalid, "there is no run %s in the state directory %s", run, a.stateDir).WithHint("crossfade runs lists them")
}

// listed is a list that is [] as JSON when there is nothing in it, and not null.
func listed[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
