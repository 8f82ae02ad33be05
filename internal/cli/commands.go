package cli

import "github.com/spf13/cobra"

// group is commands that the help shows together.
type group struct {
	title    string
	commands []*cobra.Command
}

// groups lists every command, by groups in the order of the help, which sorts the commands of each by name.
func (a *app) groups() []group {
	return []group{
		{"Prepare", []*cobra.Command{a.validate(), a.schema(), a.planCommand()}},
		{"Roll over", []*cobra.Command{a.rollover(), a.approve(), a.abort(), a.switchBack(), a.retire(), a.certificates(), a.refresh()}},
		{"Release", []*cobra.Command{a.deploy(), a.promote(), a.rollback(), a.restart(), a.history()}},
		{"Two clusters", []*cobra.Command{a.copy(), a.diff(), a.handOver()}},
		{"Look", []*cobra.Command{a.status(), a.runs(), a.logs()}},
		{"On this machine", []*cobra.Command{a.edge(), a.local(), a.demo()}},
		{"About", []*cobra.Command{a.version(), help()}},
	}
}
