package cli

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/edge"
)

// edge is the command group that runs the edge of the state directory.
func (a *app) edge() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "edge",
		Short: "Run the edge, the router that comes with Crossfade",
		Long: "Starts crossfade-edge (Caddy) in the background, unless it runs. It carries the\n" +
			"users' traffic and lives on when everything else of Crossfade is down; started\n" +
			"again, it comes back with its routes.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := edge.Start(cmd.Context(), edge.Options{StateDir: a.stateDir, Listen: listen})
			if err != nil {
				return err
			}
			return a.printEdge(status)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "`address:port` of the entry point (default: as before, at first "+edge.DefaultListen+")")
	cmd.AddCommand(
		&cobra.Command{
			Use: "status", Short: "Say whether the edge runs, and where", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				status, err := edge.Find(a.stateDir)
				if err != nil {
					return err
				}
				return a.printEdge(status)
			},
		},
		&cobra.Command{
			Use: "stop", Short: "Stop the edge; its routes are kept for the next start", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return edge.Stop(cmd.Context(), a.stateDir) },
		},
	)
	return cmd
}

func (a *app) printEdge(s edge.Status) error {
	return a.output.Print(s, func() view.Table {
		pid := "-"
		if s.Running {
			pid = strconv.Itoa(s.PID)
		}
		return view.Table{Header: []string{"RUNNING", "PID", "LISTEN", "ADMIN"}, Rows: [][]string{{strconv.FormatBool(s.Running), pid, s.Listen, s.Admin}}}
	})
}
