// Package cli is the command line: it reads arguments, calls what does the work, and shows people and machines what came
// of it. Data goes to standard output, talk to standard error; every error becomes one line, a hint and an exit status.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/cli/view"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is what all commands share: the streams and the values of the global flags.
type app struct {
	Streams
	output   view.Output
	stateDir string // absolute, once a command runs
	config   string // file or directory of the configuration
	temporal string // address of a Temporal cluster; "" for the engine of the state directory
}

// Main runs one command until it ends or the process is interrupted (SIGINT, SIGTERM), and returns its exit status.
func Main(streams Streams, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Run(ctx, streams, args)
}

// Run runs one command and returns its exit status. It may be called any number of times in one process.
func Run(ctx context.Context, streams Streams, args []string) int {
	a := &app{Streams: streams, output: view.Output{Data: streams.Out, Talk: streams.Err, Terminal: terminal, Now: time.Now}}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	said := fault.CodeOf(err) == fault.Interrupted && fault.HintOf(err) != ""
	if ctx.Err() != nil && errors.Is(err, context.Canceled) && !said { // whatever it was that the interruption cut off
		err = fault.New(fault.Interrupted, "interrupted").WithHint("the same command goes on where it stopped")
	}
	a.printError(err)
	return fault.ExitStatus(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:         "crossfade",
		Annotations: holdsOthers,
		Short:       "Replace a live Kubernetes cluster instead of upgrading it",
		Long: "Crossfade builds a new generation of a platform beside the live one, proves it,\nmoves the users over without one failed " +
			"request, keeps a way back, and retires\nthe old generation.",
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.resolve() },
	}
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetIn(a.In)
	root.SetFlagErrorFunc(usageError)
	root.SetUsageTemplate(usageTemplate)
	root.CompletionOptions.HiddenDefaultCmd = true
	flags := root.PersistentFlags()
	flags.StringVarP((*string)(&a.output.Format), "output", "o", string(view.AsTable), "`format` of the output: table, json or yaml")
	flags.StringVar(&a.stateDir, "state", "", "state `directory` (default $CROSSFADE_STATE, else ~/.local/state/crossfade)")
	flags.StringVarP(&a.config, "config", "f", ".", "`file` or directory of the configuration")
	flags.StringVar(&a.temporal, "temporal", "", "`address` of a Temporal cluster to use in place of the built-in engine")
	for _, g := range a.groups() {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title + ":"})
		for _, c := range g.commands {
			c.GroupID = g.title
			root.AddCommand(c)
		}
	}
	speak(root)
	return root
}

// resolve checks the global flags and makes the state directory's path absolute. It has no side effect.
func (a *app) resolve() error {
	switch a.output.Format {
	case view.AsTable, view.AsJSON, view.AsYAML:
	default:
		return fault.New(fault.Invalid, "unknown output format %q", a.output.Format).WithHint("use -o table, -o json or -o yaml")
	}
	if a.stateDir == "" {
		a.stateDir = os.Getenv("CROSSFADE_STATE")
	}
	if a.stateDir == "" {
		base := os.Getenv("XDG_STATE_HOME")
		if base == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return fault.New(fault.Invalid, "cannot find a state directory: %w", err).WithHint("name one with --state")
			}
			base = filepath.Join(home, ".local", "state")
		}
		a.stateDir = filepath.Join(base, "crossfade")
	}
	abs, err := filepath.Abs(a.stateDir)
	if err != nil {
		return fault.New(fault.Invalid, "cannot use the state directory %s: %w", a.stateDir, err)
	}
	a.stateDir = abs
	return nil
}

// printError shows an error on standard error: as text, or as JSON where that was asked for. The problems of a configuration
// are shown one by one.
func (a *app) printError(err error) {
	problems, _ := errors.AsType[spec.Problems](err)
	if a.output.Format == view.AsJSON {
		shown := map[string]any{
			"code": fault.CodeOf(err), "message": err.Error(), "hint": fault.HintOf(err), "exit": fault.ExitStatus(err),
		}
		if len(problems) > 0 {
			shown["problems"] = problems
		}
		_ = json.NewEncoder(a.Err).Encode(map[string]any{"error": shown})
		return
	}
	if len(problems) > 0 {
		fmt.Fprintln(a.Err, strings.Join(problems.Lines(), "\n"))
		err = problems.Summary(a.config)
	}
	fmt.Fprintf(a.Err, "crossfade: %s\n", strings.TrimRight(err.Error(), "\n"))
	if hint := fault.HintOf(err); hint != "" {
		fmt.Fprintf(a.Err, "  hint: %s\n", hint)
	}
}

// terminal describes the terminal behind a writer, nil when there is none.
func terminal(w io.Writer) *view.Terminal { return view.TerminalOf(w, os.Getenv) }
