package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// environmentStatus is what crossfade status shows of one environment.
type environmentStatus struct {
	Environment string             `json:"environment"`
	Shares      map[string]int     `json:"shares"`            // of each generation in percent, as the routers say
	Routers     string             `json:"routers,omitempty"` // why the routers could not be asked
	Run         *record.Run        `json:"run,omitempty"`     // the one under way, or the last
	Generations []generationStatus `json:"generations"`
}

type generationStatus struct {
	record.Generation
	Share int `json:"share"`
}

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status [ENV]",
		Short: "Show what is live, what stands beside it, and what is under way",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := a.environments(cmd.Context(), first(args))
			if err != nil {
				return err
			}
			return a.print(all, func() table { return statusTable(all) })
		},
	}
}

// environments asks the record and the routers; it starts nothing.
func (a *app) environments(ctx context.Context, only string) ([]environmentStatus, error) {
	all := []environmentStatus{}
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
		seen := map[string]bool{}
		for _, r := range runs {
			if !seen[r.Environment] {
				seen[r.Environment] = true
				e, err := s.environment(ctx, r)
				if err != nil {
					return nil, err
				}
				all = append(all, e)
			}
		}
	}
	if only != "" && len(all) == 0 {
		return nil, fault.New(fault.Invalid, "nothing ever happened in environment %s", only).WithHint("crossfade rollover %s builds its first generation", only)
	}
	return all, nil
}

func (s *session) environment(ctx context.Context, last record.Run) (environmentStatus, error) {
	e := environmentStatus{Environment: last.Environment, Run: &last}
	shares, err := s.tools.Shares(ctx, last.Environment)
	if err != nil {
		e.Routers = err.Error()
	}
	e.Shares = shares
	generations, err := s.records.Generations(ctx, last.Environment)
	for _, g := range generations {
		e.Generations = append(e.Generations, generationStatus{g, shares[g.Name]})
	}
	return e, err
}

func statusTable(all []environmentStatus) table {
	t := table{header: []string{"ENVIRONMENT", "GENERATION", "PHASE", "USERS", "VERIFIED", "CREATED", "RUN"}}
	for _, e := range all {
		generations := slices.DeleteFunc(slices.Clone(e.Generations), func(g generationStatus) bool { return g.Phase == record.Retired })
		for _, g := range generations {
			users := fmt.Sprintf("%d %%", g.Share)
			if e.Routers != "" {
				users = "?"
			}
			run := ""
			if e.Run.Generation == g.Name || e.Run.Previous == g.Name && len(generations) == 1 {
				run = fmt.Sprintf("%s: %s", e.Run.ID, cmp.Or(shorten(e.Run.Reason, 60), string(e.Run.State)))
			}
			t.rows = append(t.rows, []string{
				e.Environment, g.Name, string(g.Phase), users, yes(g.Verified), g.Created.Local().Format(time.DateTime), run,
			})
		}
		if e.Routers != "" {
			t.rows = append(t.rows, []string{e.Environment, "", "", e.Routers})
		}
	}
	return t
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
