package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/objects/diff"
)

func (a *app) diff() *cobra.Command {
	var withReferences bool
	cmd := &cobra.Command{
		Use:   "diff --from CLUSTER --to CLUSTER",
		Short: "Compare what runs in two clusters",
		Long: "Compares what a copy would write with what is there: object by object and field by\nfield, each with its cause. What is of one cluster only, such as addresses, times and\n" +
			"the defaults of a newer version, is no difference. Both clusters are only read. What\nis in Secrets is compared and never shown.\n\n" +
			"Exit status: 0 the same, 1 different, 2 something could not be compared",
		Example: "  crossfade diff --from blue --to green\n" +
			"  crossfade diff --from blue --to green --env production\n" +
			"  crossfade diff --from blue --to new.kubeconfig -n shop --kind deploy,cm -o json",
		Args: cobra.NoArgs,
	}
	b := addBetween(cmd)
	cmd.Flags().BoolVar(&withReferences, "with-references", false, "also compare what the selected objects refer to")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		report, err := a.compare(cmd.Context(), b, withReferences)
		if err != nil {
			return troubled(err)
		}
		if err := a.output.Comparison(report); err != nil {
			return troubled(err)
		}
		return report.Err()
	}
	return cmd
}

func (a *app) compare(ctx context.Context, b *between, withReferences bool) (diff.Report, error) {
	from, to, rules, err := a.openBetween(ctx, b)
	if err != nil {
		return diff.Report{}, err
	}
	rules.WithReferences = rules.WithReferences || withReferences
	report, err := diff.Compare(ctx, from, to, rules)
	if err == nil && report.Compared == 0 && len(report.Trouble) == 0 && len(rules.Include)+len(rules.Only) > 0 {
		err = fault.New(fault.Invalid, "cannot compare: no object of either cluster is selected").WithHint("see whether the names are right")
	}
	return report, err
}

// troubled is an error as that of a comparison, whose exit status tells "different" from "cannot say".
func troubled(err error) error {
	switch fault.CodeOf(err) {
	case fault.Failed, fault.Unavailable:
		trouble := fault.New(fault.Trouble, "%w", err)
		trouble.Hint = fault.HintOf(err)
		return trouble
	}
	return err
}
