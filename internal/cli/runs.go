package cli

import (
	"cmp"
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// recentRuns is how many runs are looked through and listed, the latest first.
const recentRuns = 1000

func (a *app) runs() *cobra.Command {
	return &cobra.Command{
		Use:   "runs [ENV]",
		Short: "List the runs, the newest first",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			runs := []record.Run{}
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
			return a.print(runs, func() table { return runTable(runs) })
		},
	}
}

func runTable(runs []record.Run) table {
	t := table{header: []string{"RUN", "STATE", "GENERATION", "PREVIOUS", "BY", "STARTED", "TOOK", "REASON"}}
	for _, r := range runs {
		took := "-"
		if r.Ended != nil {
			took = duration(r.Ended.Sub(r.Started))
		}
		t.rows = append(t.rows, []string{
			r.ID, string(r.State), r.Generation, cmp.Or(r.Previous, "-"), r.By, r.Started.Local().Format(time.DateTime), took, shorten(r.Reason, 80),
		})
	}
	return t
}

func (a *app) logs() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs RUN",
		Short: "Tell the story of a run, one line a step",
		Args:  cobra.ExactArgs(1),
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
	view := a.newStory()
	if follow {
		return s.records.Follow(ctx, run, 0, func(e record.Event) error {
			view.event(e)
			return nil
		})
	}
	events, err := s.records.Events(ctx, run, 0)
	if err != nil {
		return err
	}
	if a.output != "table" {
		return a.print(events, nil)
	}
	for _, e := range events {
		view.event(e)
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

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// duration shows a length of time as people say it.
func duration(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// shorten cuts a text to so many characters.
func shorten(text string, limit int) string {
	r := []rune(text)
	if len(r) <= limit {
		return text
	}
	return string(r[:limit-1]) + "…"
}
