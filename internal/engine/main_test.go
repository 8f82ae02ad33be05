package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// helperVariable makes the test program a worker over the state directory it names, until it is killed.
const helperVariable = "ENGINE_TEST_WORK_ON"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperVariable); dir != "" {
		if err := workForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	status := m.Run()
	if status == 0 {
		// The daemon's starter waits for it for as long as both live.
		daemon := goleak.IgnoreAnyFunction("github.com/crossfade-dev/crossfade/internal/process.Daemon.Start.func1")
		if err := goleak.Find(daemon); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

func workForever(dir string) error {
	e, err := Open(context.Background(), Options{StateDir: dir})
	if err != nil {
		return err
	}
	return e.Work(context.Background(), "q", shop)
}

// The workflows and steps of the tests. Each step leaves a line in the file it is given, so that its effects can be counted.
type order struct {
	File  string
	Count int
	Text  string
	Fault *fault.Error
}

func shop(r worker.Registry) {
	registerWorkflows(r)
	r.RegisterActivityWithOptions(note, activity.RegisterOptions{Name: "note"})
	r.RegisterActivityWithOptions(fail, activity.RegisterOptions{Name: "fail"})
	r.RegisterActivityWithOptions(hang, activity.RegisterOptions{Name: "hang"})
	r.RegisterActivityWithOptions(flaky, activity.RegisterOptions{Name: "flaky"})
	r.RegisterActivityWithOptions(func(context.Context, order) error { panic("out of eggs") }, activity.RegisterOptions{Name: "crash"})
}

func registerWorkflows(r worker.WorkflowRegistry) {
	r.RegisterWorkflowWithOptions(notes, workflow.RegisterOptions{Name: "notes"})
	for _, name := range []string{"fail", "hang", "flaky", "crash"} {
		r.RegisterWorkflowWithOptions(only(name), workflow.RegisterOptions{Name: name})
	}
	r.RegisterWorkflowWithOptions(patient, workflow.RegisterOptions{Name: "patient"})
}

func notes(ctx workflow.Context, o order) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, Step(2*time.Minute))
	for i := range o.Count {
		if err := workflow.ExecuteActivity(ctx, "note", o.File, fmt.Sprint(i)).Get(ctx, nil); err != nil {
			return "", err
		}
	}
	return o.Text, nil
}

// only is a workflow of one step.
func only(step string) func(workflow.Context, order) error {
	return func(ctx workflow.Context, o order) error {
		ctx = workflow.WithActivityOptions(ctx, Step(time.Minute))
		return workflow.ExecuteActivity(ctx, step, o).Get(ctx, nil)
	}
}

// patient waits for a signal and can be asked what it was told so far.
func patient(ctx workflow.Context, o order) (string, error) {
	told := o.Text
	if err := workflow.SetQueryHandler(ctx, "told", func() (string, error) { return told, nil }); err != nil {
		return "", err
	}
	workflow.GetSignalChannel(ctx, "tell").Receive(ctx, &told)
	return told, ctx.Err()
}

func note(_ context.Context, file, text string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, text)
	return errors.Join(err, f.Close())
}

func fail(_ context.Context, o order) error { return o.Fault }

func hang(ctx context.Context, o order) error {
	if err := note(ctx, o.File, fmt.Sprint(os.Getpid())); err != nil {
		return err
	}
	if os.Getenv(helperVariable) == "" && o.Text == "hang in helpers only" {
		return nil
	}
	<-ctx.Done()
	return errors.Join(ctx.Err(), note(ctx, o.File, "cancelled"))
}

var flakes atomic.Int32

func flaky(context.Context, order) error {
	if flakes.Add(1) < 3 {
		return fault.New(fault.Unavailable, "cannot reach the baker yet")
	}
	return nil
}

// open opens the engine of a state directory, and ends it with the test.
func open(t *testing.T, dir string) *Engine {
	t.Helper()
	e, err := Open(t.Context(), Options{StateDir: dir})
	if err != nil {
		t.Fatal(err, fault.HintOf(err))
	}
	t.Cleanup(func() {
		e.Close()
		if err := Stop(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	return e
}

// work works on the queue of the tests until the test ends or the returned function is called.
func work(t *testing.T, e *Engine) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Work(ctx, "q", shop) }()
	var stopped bool
	stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

func start(t *testing.T, e *Engine, id, name string, o order) Execution {
	t.Helper()
	x, err := e.Start(t.Context(), Workflow{ID: id, Name: name, Queue: "q", Input: o})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// helper starts the test program as a worker process.
func helper(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"="+dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// lines returns the lines of a file, none when there is no file.
func lines(t *testing.T, file string) []string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Fields(string(raw))
}

// eventually waits until the condition holds, and fails the test after the limit.
func eventually(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := observe(ctx, func() (bool, error) { return holds(), nil }); err != nil {
		t.Fatalf("not within %v: %s", limit, what)
	}
}

// enginePid returns the process id of the engine of a state directory, 0 when none runs.
func enginePid(dir string) int {
	return daemon(directory(filepath.Join(dir, "engine")), programName).Find()
}

func killEngine(t *testing.T, dir string) int {
	t.Helper()
	pid := enginePid(dir)
	if pid == 0 {
		return 0
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Kill() // it may have ended by itself
	return pid
}
