package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
)

// handedOver is what a hand-over has come to.
type handedOver struct {
	From   string `json:"from"` // the contexts
	To     string `json:"to"`
	Active string `json:"active"` // the generation that is active now
}

func (a *app) handOver() *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "hand-over --from CLUSTER --to CLUSTER",
		Short: "Let one cluster act on the world outside instead of another",
		Long: "Suspends CronJobs and Jobs and stops singletons in one cluster, waits until what runs\nof them has ended, and releases them in the other, where crossfade copy has withheld\nthem; then names " +
			"and addresses. At no moment both act. Stopped anywhere, the same\ncommand goes on; with the two clusters swapped it undoes. When something does not\nend in time it is named, the exit " +
			"status is 3, and nothing is released. Programs read\nfrom the ConfigMap crossfade-system/active-generation which cluster is active.",
		Example: "  crossfade hand-over --from blue --to green\n  crossfade hand-over --from green --to blue --limit 1h",
		Args:    cobra.NoArgs,
	}
	b := addBetween(cmd)
	cmd.Flags().DurationVar(&limit, "limit", withhold.DefaultLimit, "how long Jobs and singletons that run may take to end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 0 {
			return fault.New(fault.Invalid, "cannot wait for %s", limit).WithHint("--limit is how long Jobs may take to end, 10m for example")
		}
		from, to, rules, err := a.openBetween(cmd.Context(), b)
		if err != nil {
			return err
		}
		err = withhold.HandOver(cmd.Context(), withhold.Side{Cluster: from}, withhold.Side{Cluster: to}, withhold.Options{
			Rules: rules, Limit: limit, Progress: func(format string, args ...any) { fmt.Fprintf(a.Err, format+"\n", args...) },
		})
		if err != nil {
			return err
		}
		done := handedOver{From: from.Access().Context, To: to.Access().Context}
		if done.Active, err = withhold.ActiveGeneration(cmd.Context(), to); err != nil {
			return err
		}
		return a.output.Print(done, func() view.Table {
			return view.Table{Header: []string{"FROM", "TO", "ACTIVE"}, Rows: [][]string{{done.From, done.To, done.Active}}}
		})
	}
	return cmd
}
