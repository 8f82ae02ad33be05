package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func (a *app) validate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Find every problem in the configuration",
		Long: "Reads the configuration (-f) and reports everything that is wrong with it at once:\n" +
			"file, line, field, and what to write instead. Nothing is changed and no cluster is\nasked.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := spec.Load(a.config)
			if err != nil {
				return err
			}
			return a.output.Print(summary(cfg), func() view.Table { return contents(cfg) })
		},
	}
}

// summary is what a valid configuration holds, by kind.
func summary(cfg *spec.Config) map[string][]string {
	result := map[string][]string{"platform": {cfg.Platform.Metadata.Name}, "foundations": {}, "environments": {}, "services": {}, "stacks": {}}
	for _, f := range cfg.Foundations {
		result["foundations"] = append(result["foundations"], f.Metadata.Name)
	}
	for _, e := range cfg.Environments {
		result["environments"] = append(result["environments"], e.Metadata.Name)
	}
	for _, s := range cfg.Services {
		result["services"] = append(result["services"], s.Metadata.Name)
	}
	for _, s := range cfg.Stacks {
		result["stacks"] = append(result["stacks"], s.Metadata.Name)
	}
	return result
}

func contents(cfg *spec.Config) view.Table {
	t, all := view.Table{Header: []string{"KIND", "COUNT", "NAMES"}}, summary(cfg)
	for _, kind := range []string{"platform", "foundations", "environments", "services", "stacks"} {
		if names := all[kind]; len(names) > 0 {
			t.Rows = append(t.Rows, []string{kind, fmt.Sprint(len(names)), strings.Join(names, ", ")})
		}
	}
	return t
}

// schema prints the JSON Schema of the configuration, which is JSON whatever the output format.
func (a *app) schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors",
		Long: "Prints the JSON Schema of one document of the configuration. With\n" +
			"yaml-language-server, begin each file with\n\n  # yaml-language-server: $schema=crossfade.schema.json",
		Example: "  crossfade schema > crossfade.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.Out.Write(spec.Schema())
			return err
		},
	}
}
