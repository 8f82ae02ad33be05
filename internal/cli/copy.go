package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

const (
	// copyPatience is how long a copy waits for a cluster that does not answer, each time.
	copyPatience = 2 * time.Minute
	// lagShown is the time between two lines of a following.
	lagShown = 2 * time.Second
)

func (a *app) copy() *cobra.Command {
	var o objects.Options
	var follow bool
	var withReferences bool
	cmd := &cobra.Command{
		Use:   "copy --from CLUSTER --to CLUSTER",
		Short: "Recreate in one cluster what runs in another",
		Long: "Copies what runs in one cluster into another, without what clusters make for\nthemselves. What is there already stays; what was copied once and is gone from the\n" +
			"first cluster is deleted; what somebody has changed in the second is left so and\nreported. The first cluster is only read. It may be stopped and started again at\n" +
			"any time. With --follow it goes on to carry every change over until it is\ninterrupted; -o json then writes one line for every decision, report and lag.",
		Example: "  crossfade copy --from blue --to green --dry-run\n" +
			"  crossfade copy --from blue --to green -n shop --with-references\n" +
			"  crossfade copy --from old.kubeconfig --to new.kubeconfig --follow",
		Args: cobra.NoArgs,
	}
	b := addBetween(cmd)
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "show what would be done to each object, and do nothing")
	cmd.Flags().BoolVar(&follow, "follow", false, "go on to carry changes over until interrupted")
	cmd.Flags().BoolVar(&withReferences, "with-references", false, "also copy what the selected objects refer to")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "follow")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		from, to, rules, err := a.openBetween(cmd.Context(), b)
		if err != nil {
			return err
		}
		o.Rules, o.Patience = rules, copyPatience
		o.WithReferences = o.WithReferences || withReferences
		if follow {
			return a.follow(cmd.Context(), from, to, o)
		}
		return a.copyOnce(cmd.Context(), from, to, o)
	}
	return cmd
}

func (a *app) copyOnce(ctx context.Context, from, to *kube.Cluster, o objects.Options) error {
	v := a.output.Copying(o.DryRun)
	o.Tell, o.Progress = v.Decision, v.Progress
	report, err := objects.Copy(ctx, from, to, o)
	if shown := v.Report(report); shown != nil {
		return shown
	}
	if err != nil {
		return err
	}
	return report.Err()
}

// follow copies and carries changes over until it is interrupted, which is its end and no failure once it was in step.
func (a *app) follow(ctx context.Context, from, to *kube.Cluster, o objects.Options) error {
	v := a.output.Following()
	o.Tell, o.Progress = v.Decision, v.Progress
	synced := false
	err := objects.Follow(ctx, from, to, objects.Following{
		Options: o, Synced: func(r outcome.Report) { synced = true; v.Synced(r) }, Lag: v.Lag, Every: lagShown,
	})
	v.Close()
	if err == nil && !synced {
		return fault.New(fault.Interrupted, "interrupted before everything was copied").WithHint("the same command goes on where it stopped")
	}
	return err
}
