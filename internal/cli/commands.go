package cli

import "github.com/spf13/cobra"

// commands lists every command, in the order of the help.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.validate(),
		a.schema(),
		a.planCommand(),
		a.rollover(),
		a.status(),
		a.runs(),
		a.logs(),
		a.approve(),
		a.abort(),
		a.switchBack(),
		a.retire(),
		a.edge(),
		a.local(),
		a.demo(),
		a.version(),
	}
}
