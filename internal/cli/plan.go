package cli

import (
	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/plan"
)

func (a *app) planCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "plan ENV",
		Short: "Show what a roll-over of an environment would do",
		Long: "Shows the plan that crossfade rollover would carry out now. Nothing is changed.\n" +
			"Written with -o json, crossfade rollover --plan FILE carries out exactly this one,\n" +
			"and refuses when what it was made from has changed meanwhile.",
		Example: "  crossfade plan production\n  crossfade plan production -o json > plan.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, p, err := a.plan(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer s.close()
			if a.output.Format == view.AsTable {
				return plan.Table(a.Out, p)
			}
			return a.output.Print(p, nil)
		},
	}
}
