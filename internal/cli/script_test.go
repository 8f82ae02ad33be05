package cli

import (
	"os"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run this program as the command crossfade.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"crossfade": func() { os.Exit(Main(Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:])) },
	})
}

// TestScripts runs the command lines in testdata/script. They have a command "exits", which checks the exit status.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("CROSSFADE_STATE", env.WorkDir+"/state")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a command and checks its exit status: exits STATUS COMMAND ARG...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND ARG...")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = status(err)
	}
	if got != args[0] {
		ts.Fatalf("%v: exit status %s, want %s", args[1:], got, args[0])
	}
}

// status is the exit status that an error of Exec tells of.
func status(err error) string {
	if x, ok := err.(interface{ ExitCode() int }); ok { //nolint:errorlint // testscript returns it as it is
		return strconv.Itoa(x.ExitCode())
	}
	return err.Error()
}
