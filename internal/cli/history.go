package cli

import (
	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/history"
)

func (a *app) history() *cobra.Command {
	return &cobra.Command{
		Use:   "history SERVICE [ENV]",
		Short: "List the releases of a service, the newest first",
		Long: "Lists what was released into an environment, into all without ENV: when, by whom, how,\n" +
			"from which commits of configuration and manifests, and what of it was good. -o json has\n" +
			"every step with the time it took, and what the checks said.",
		Example: "  crossfade history web production\n  crossfade history web production -o json | jq '.[0].checks'",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var entries []history.Entry
			s, known, err := a.read(cmd.Context())
			if err != nil {
				return err
			}
			if known {
				defer s.close()
				if entries, err = history.Of(cmd.Context(), s.records, first(args[1:]), args[0]); err != nil {
					return err
				}
			}
			return a.output.Print(listed(entries), func() view.Table { return view.History(entries) })
		},
	}
}
