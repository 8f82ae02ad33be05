package cli

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// usageTemplate is the lower part of a help text, below what the command does.
const usageTemplate = `Usage:{{if not (index .Annotations "holdsOthers")}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$all := .Commands}}{{if not .Groups}}

Commands:{{range $all}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{range $group := .Groups}}

{{.Title}}{{range $all}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of all commands:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if not .HasParent}}

Exit status:
  0 done, 1 failed, 2 bad usage or configuration, 3 a check or a gate said no, 4 locked by another run, 5 interrupted{{end}}{{if .HasAvailableSubCommands}}

{{.CommandPath}} COMMAND --help says more about a command.{{end}}
`

// holdsOthers marks a command that does nothing but hold others.
var holdsOthers = map[string]string{"holdsOthers": "yes"}

// speak makes a command and all below it say the same things in the same way: help, and complaints about what was typed.
func speak(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = !cmd.HasAvailableLocalFlags()
	cmd.SuggestionsMinimumDistance = 2
	if cmd.HasSubCommands() && (cmd.Args == nil || cmd.Args(cmd, []string{"a name"}) != nil) { // no name but those of commands
		cmd.Args, cmd.RunE = cobra.ArbitraryArgs, orUnknown(cmd.RunE)
	} else if cmd.Args != nil {
		cmd.Args = counted(cmd.Args)
	}
	for _, c := range cmd.Commands() {
		speak(c)
	}
}

// orUnknown is what a command with commands below it does: itself or help, unless a name was typed that is none of them.
func orUnknown(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > 0:
			return unknownCommand(cmd, args[0])
		case run != nil:
			return run(cmd, args)
		}
		return cmd.Help()
	}
}

// unknownCommand is the complaint about a name that is no command below cmd.
func unknownCommand(cmd *cobra.Command, name string) error {
	err := fault.New(fault.Invalid, "there is no command %q", cmd.CommandPath()+" "+name)
	near := cmd.SuggestionsFor(name)
	if len(near) == 0 {
		return err.WithHint("%s --help lists the commands", cmd.CommandPath())
	}
	for i := range near {
		near[i] = cmd.CommandPath() + " " + near[i]
	}
	return err.WithHint("did you mean %s?", strings.Join(near, " or "))
}

// counted makes complaints about the number of arguments bad usage that says which there are.
func counted(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) == nil {
			return nil
		}
		_, wanted, _ := strings.Cut(cmd.Use, " ")
		given := "and none was given"
		if len(args) > 0 {
			given = fmt.Sprintf("not %q", strings.Join(args, " "))
		}
		if wanted == "" {
			wanted = "no arguments"
		}
		return fault.New(fault.Invalid, "cannot run %s: it wants %s, %s", cmd.CommandPath(), wanted, given).WithHint("see %s --help", cmd.CommandPath())
	}
}

// goSpeak is how the parsers of Go's library complain about a value; people are told what is wanted without it.
var goSpeak = regexp.MustCompile(`strconv\.\w+: parsing ".*": `)

// usageError turns a complaint about flags into ours.
func usageError(cmd *cobra.Command, err error) error {
	return fault.New(fault.Invalid, "cannot run %s: %s", cmd.CommandPath(), goSpeak.ReplaceAllString(err.Error(), "")).WithHint("see %s --help", cmd.CommandPath())
}

// help is the command that shows the help of another.
func help() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]...",
		Short: "Say what a command does, and how",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(found, rest[0])
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}
