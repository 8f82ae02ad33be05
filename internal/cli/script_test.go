package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// TestMain lets scripts run this program as the command crossfade.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"crossfade": func() { os.Exit(Main(Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:])) },
	})
}

// TestScripts runs the command lines in testdata/script. Besides those of testscript they have the commands below.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("CROSSFADE_STATE", env.WorkDir+"/state")
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "recorded": recorded, "interrupted": interrupted},
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

// interrupted runs a command, interrupts it once it has said something, and checks that its exit status says so: interrupted
// COMMAND ARG...
func interrupted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: interrupted COMMAND ARG...")
	}
	path, err := exec.LookPath(args[0])
	ts.Check(err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Env, cmd.Dir = append(os.Environ(), "CROSSFADE_STATE="+ts.Getenv("CROSSFADE_STATE"), "TZ=UTC"), ts.Getenv("WORK")
	said := &speech{first: make(chan struct{})}
	var complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = said, &complaint
	ts.Check(cmd.Start())
	select {
	case <-said.first:
	case <-time.After(20 * time.Second):
	}
	ts.Check(cmd.Process.Signal(os.Interrupt))
	err = cmd.Wait()
	_, _ = ts.Stdout().Write(said.text.Bytes())
	_, _ = ts.Stderr().Write(complaint.Bytes())
	if err == nil || status(err) != "5" {
		ts.Fatalf("%v: %v, want exit status 5", args, err)
	}
}

// speech is output whose beginning can be waited for.
type speech struct {
	text  bytes.Buffer
	first chan struct{}
}

func (s *speech) Write(p []byte) (int, error) {
	if s.text.Len() == 0 {
		close(s.first)
	}
	return s.text.Write(p)
}

// recorded makes a state directory in which one run of production was refused and another is under way, and web had two releases.
func recorded(ts *testscript.TestScript, _ bool, _ []string) {
	ctx, dir := context.Background(), ts.Getenv("CROSSFADE_STATE")
	ts.Check(os.MkdirAll(dir, 0o700))
	store, err := record.Open(ctx, filepath.Join(dir, "record.db"))
	ts.Check(err)
	defer store.Close()
	at := func(seconds int) time.Time { return time.Date(2026, 7, 28, 15, 4, 5+seconds, 0, time.UTC) }
	ended := at(600)
	first := record.Run{
		ID: "r-1", Operation: runbook.OperationRollover, Environment: "production", Generation: "blue", By: "anna@laptop",
		State: record.RunRefused, Reason: "check smoke does not hold", Plan: json.RawMessage(`{}`), Started: at(0), Ended: &ended,
	}
	second := first
	second.ID, second.State, second.Reason, second.Started, second.Ended = "r-2", record.Running, "", at(1200), nil
	ts.Check(store.PutRun(ctx, first))
	ts.Check(store.PutRun(ctx, second))
	for _, e := range []record.Event{
		{Run: "r-1", Key: "1", Step: "plan", Kind: record.StepStarted, Message: "comparing", At: at(0)},
		{Run: "r-1", Key: "2", Step: "plan", Kind: record.StepDone, Message: "the plan still fits", At: at(1)},
		{Run: "r-1", Key: "3", Step: "verify", Kind: record.StepStarted, Message: "asking the new generation as its users will", At: at(1)},
		{
			Run: "r-1", Key: "4", Step: "verify", Kind: record.StepFailed, Message: "check smoke does not hold", At: at(600),
			Detail: json.RawMessage(`{"hint":"mend it"}`),
		},
		{Run: "r-1", Key: step.EndKey, Kind: record.Note, Message: "refused: check smoke does not hold", At: at(600)},
		{Run: "r-2", Key: "1", Step: "plan", Kind: record.StepStarted, Message: "comparing", At: at(1200)},
	} {
		_, err := store.Append(ctx, e)
		ts.Check(err)
	}
	ts.Check(store.PutGeneration(ctx, record.Generation{
		Environment: "production", Name: "blue", Phase: record.Building, Run: "r-1", Created: at(0), Changed: at(0),
	}))
	bad := record.Release{
		Environment: "production", Generation: "blue", Service: "web", Version: "sha256:" + strings.Repeat("2", 64), Tag: "v2", Manifests: "sha256:m2",
		Run: "r-2", At: at(1200),
	}
	good := bad
	good.Version, good.Tag, good.Manifests, good.Run, good.At = "1.4", "", "sha256:m1", "r-1", at(0)
	ts.Check(store.PutRelease(ctx, good))
	ts.Check(store.MarkGood(ctx, good))
	ts.Check(store.PutRelease(ctx, bad))
}
