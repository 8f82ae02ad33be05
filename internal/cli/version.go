package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
)

// Version is the version of this build, set by the linker; "devel" for a build without one.
var Version = "devel"

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := map[string]string{"version": Version, "go": runtime.Version()}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v["commit"] = s.Value
					}
				}
			}
			return a.output.Print(v, func() view.Table {
				return view.Table{Header: []string{"VERSION", "COMMIT", "GO"}, Rows: [][]string{{v["version"], v["commit"], v["go"]}}}
			})
		},
	}
}
