package cli

import (
	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/plan"
)

func (a *app) planCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "plan ENV",
		Short: "Show what a roll-over of an environment would do",
		Long:  "Shows the plan that crossfade rollover would carry out now. Written with -o json, crossfade rollover --plan FILE carries out exactly\nthis one, and refuses when what it was made from has changed meanwhile.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, p, err := a.plan(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer s.close()
			if a.output == "table" {
				return plan.Table(a.Out, p)
			}
			return a.print(p, nil)
		},
	}
}
