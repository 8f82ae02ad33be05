package cli

import (
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/demo"
	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/load"
)

func (a *app) demo() *cobra.Command {
	o := demo.Options{}
	report := ""
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Roll a small shop over to a new cluster and back, under load, on this machine",
		Long: "Builds a cluster with a small shop in it, puts users on it, rolls over to a second\n" +
			"cluster, switches back, switches forward, retires the first cluster, and reports what\n" +
			"the users noticed. It takes about four minutes, and removes everything at the end.\n" +
			"The exit status is 3 when a request failed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Rate < 1 || o.Rate > 1000 {
				return fault.New(fault.Invalid, "cannot send %d requests a second", o.Rate).WithHint("choose a rate from 1 to 1000")
			}
			o.StateDir, o.Talk, o.Show = filepath.Join(a.stateDir, "demo"), a.talk, a.showRun
			r, err := demo.Run(cmd.Context(), o)
			return a.showReport(r, err, report)
		},
	}
	cmd.Flags().IntVar(&o.Rate, "rate", load.DefaultRate, "`requests` a second")
	cmd.Flags().StringVar(&o.Listen, "listen", edge.DefaultListen, "`address` at which the edge serves the shop")
	cmd.Flags().StringVar(&report, "report", "", "write the report as JSON to this `file`")
	return cmd
}

// showRun is how the demo shows a run.
func (a *app) showRun() (demo.Viewer, func()) {
	v := a.output.Run()
	return v.Event, v.Close
}

// showReport shows and writes what a demo measured, also when it did not end well, and returns how it ended.
func (a *app) showReport(r demo.Report, err error, file string) error {
	if len(r.Steps) > 0 && a.output.Format == view.AsTable {
		r.Print(a.Out)
	} else if a.output.Format != view.AsTable {
		err = errors.Join(err, a.output.Print(r, nil))
	}
	if file != "" && len(r.Steps) > 0 {
		err = errors.Join(err, r.Write(file))
	}
	return err
}
