package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"
	"golang.org/x/sys/unix"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// pause lets the chaos of a test strike at an instant that nothing waits for.
func pause(limit time.Duration) { <-time.After(rand.N(limit)) }

// TestEngineKilled kills the engine again and again during a run: the run completes, and every step's result counts once.
func TestEngineKilled(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	work(t, e)
	file := filepath.Join(t.TempDir(), "notes")
	const count = 120
	x := start(t, e, "long", "notes", order{File: file, Count: count, Text: "done"})
	kills := 0
	for at := 15; at < count; at += 15 { // steps that are done, so that every kill falls into the run
		eventually(t, 30*time.Second, fmt.Sprintf("%d steps are done", at), func() bool { return len(lines(t, file)) >= at })
		pause(30 * time.Millisecond)
		if killEngine(t, dir) != 0 {
			kills++
		}
	}
	var result string
	if err := e.Wait(t.Context(), x, &result); err != nil || result != "done" {
		t.Fatalf("Wait() = %q, %v", result, err)
	}
	if kills == 0 {
		t.Fatal("the engine was never killed")
	}
	got := slices.Compact(lines(t, file)) // a step may run twice, but never after a later one
	for i := range count {
		if i >= len(got) || got[i] != fmt.Sprint(i) {
			t.Fatalf("after %d kills the steps ran in the order %v", kills, got)
		}
	}
	t.Logf("%d kills, %d attempts at %d steps", kills, len(lines(t, file)), count)
}

// TestHeal measures how soon an engine that was killed serves the same client again.
func TestHeal(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	x := start(t, e, "till", "patient", order{})
	before := killEngine(t, dir)
	began := time.Now()
	status, err := e.Find(t.Context(), x)
	if err != nil || !status.Open {
		t.Fatalf("Find() after the kill = %+v, %v", status, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the engine was back after %v", took)
	}
	if now := enginePid(dir); now == before || now == 0 {
		t.Errorf("engine pid %d before, %d after", before, now)
	}
}

// TestWorkerKilled kills the process that executes a step: another takes the step over within seconds.
func TestWorkerKilled(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	file := filepath.Join(t.TempDir(), "notes")
	victim := helper(t, dir)
	x := start(t, e, "oven", "hang", order{File: file, Text: "hang in helpers only"})
	eventually(t, 20*time.Second, "the step runs in the other process", func() bool { return len(lines(t, file)) == 1 })
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	work(t, e)
	if err := e.Wait(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the step was taken over after %v", took)
	}
	if got := lines(t, file); len(got) != 2 || got[1] != fmt.Sprint(os.Getpid()) {
		t.Errorf("the step ran in %v, this is %d", got, os.Getpid())
	}
}

// TestWorkerEnds ends a worker in good order during a step: the next worker gets the step at once.
func TestWorkerEnds(t *testing.T) {
	e := open(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "notes")
	stop := work(t, e)
	x := start(t, e, "oven", "hang", order{File: file})
	eventually(t, 10*time.Second, "the step runs", func() bool { return len(lines(t, file)) == 1 })
	stop()
	if status, err := e.Find(t.Context(), x); err != nil || !status.Open {
		t.Fatalf("the run ended with its worker: %+v, %v", status, err)
	}
	began := time.Now()
	work(t, e)
	eventually(t, 10*time.Second, "the step runs again", func() bool { return len(lines(t, file)) == 3 })
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the step ran again after %v", took)
	}
	if err := e.Terminate(t.Context(), x, "test"); err != nil {
		t.Fatal(err)
	}
}

// TestFirstStartKilled kills the engine at a random instant of its first start, while the database is made: the next try always
// gets an engine that works.
func TestFirstStartKilled(t *testing.T) {
	for i := range 20 {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() {
			e, err := Open(ctx, Options{StateDir: dir})
			if err == nil {
				e.Close()
			}
			first <- err
		}()
		eventually(t, 20*time.Second, "the engine's process is there", func() bool { return enginePid(dir) != 0 })
		pause(350 * time.Millisecond)
		cancel() // the first client is gone, too
		killEngine(t, dir)
		<-first
		killEngine(t, dir)
		e := open(t, dir)
		status, err := e.Find(t.Context(), start(t, e, "till", "patient", order{}))
		if err != nil || !status.Open {
			t.Fatalf("round %d: Find() = %+v, %v", i, status, err)
		}
		e.Close()
	}
}

// TestOneEngine opens one state directory from everywhere at once.
func TestOneEngine(t *testing.T) {
	dir := t.TempDir()
	var helpers []*exec.Cmd
	for range 3 {
		helpers = append(helpers, helper(t, dir))
	}
	var all sync.WaitGroup
	pids := make([]int, 6)
	for i := range pids {
		all.Go(func() {
			e, err := Open(t.Context(), Options{StateDir: dir})
			if err != nil {
				t.Error(err)
				return
			}
			defer e.Close()
			pids[i] = enginePid(dir)
		})
	}
	all.Wait()
	open(t, dir)
	if slices.Sort(pids); pids[0] == 0 || pids[0] != pids[len(pids)-1] {
		t.Errorf("engines: %v", pids)
	}
	if running := engineProcesses(t, dir); len(running) != 1 {
		t.Errorf("processes with the directory in their command line: %v", running)
	}
	for _, h := range helpers { // they would start the engine again when the test ends it
		_ = h.Process.Kill()
		_ = h.Wait()
	}
}

// engineProcesses returns the processes that run the engine over the state directory.
func engineProcesses(t *testing.T, dir string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, _ := os.ReadFile(file) // it may have ended
		if args := strings.Split(string(raw), "\x00"); strings.HasSuffix(args[0], programName) && slices.Contains(args, filepath.Join(dir, "engine")) {
			found = append(found, file)
		}
	}
	return found
}

// TestIdleExit leaves the engine alone: it ends after its last client and its last open workflow.
func TestIdleExit(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	x := start(t, e, "till", "patient", order{})
	pid := enginePid(dir)
	e.Close()
	<-time.After(8 * time.Second) // longer than it waits when it is not needed
	if now := enginePid(dir); now != pid {
		t.Fatalf("the engine ended with an open workflow: pid %d, then %d", pid, now)
	}
	e = open(t, dir)
	if err := e.Terminate(t.Context(), x, "test"); err != nil {
		t.Fatal(err)
	}
	<-time.After(7 * time.Second)
	if now := enginePid(dir); now != pid {
		t.Fatalf("the engine ended under a client: pid %d, then %d", pid, now)
	}
	e.Close()
	eventually(t, 15*time.Second, "the engine ends", func() bool { return enginePid(dir) == 0 })
	began := time.Now()
	e = open(t, dir)
	t.Logf("started again in %v", time.Since(began))
	if status, err := e.Find(t.Context(), x); err != nil || status.Outcome != "Terminated" {
		t.Errorf("Find() after all that = %+v, %v", status, err)
	}
}

// TestPortTaken gives the engine's port to somebody else while it is down.
func TestPortTaken(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	address, err := os.ReadFile(e.dir.file(addressFile))
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	if err := Stop(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", strings.TrimSpace(string(address)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e = open(t, dir)
	if _, err := e.Open(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestBrokenProgram starts a program that ends at once.
func TestBrokenProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), programName)
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho out of order >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Options{StateDir: t.TempDir(), Program: program})
	if fault.CodeOf(err) != fault.Unavailable || !strings.HasSuffix(err.Error(), ": out of order") || !strings.Contains(fault.HintOf(err), ".log") {
		t.Errorf("Open() = %v (%s), hint %q", err, fault.CodeOf(err), fault.HintOf(err))
	}
}

// TestEnter holds two attempts at one step of one process apart.
func TestEnter(t *testing.T) {
	s := &steps{running: map[string]chan struct{}{}}
	leave, err := s.enter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.enter(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.enter(ctx, "a"); err == nil {
		t.Error("a second attempt came in")
	}
	leave()
	if leave, err = s.enter(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	leave()
}

// TestStep says what a step's options must hold.
func TestStep(t *testing.T) {
	var o workflow.ActivityOptions = Step(time.Minute)
	if o.ScheduleToCloseTimeout != time.Minute || o.HeartbeatTimeout != beatTimeout || !o.WaitForCancellation || o.RetryPolicy.MaximumAttempts != 0 {
		t.Errorf("Step() = %+v", o)
	}
}

// TestFullDisk lets the disk run full before and during a run: the error says so, and the run goes on once there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); errors.Is(err, unix.EPERM) {
		t.Skip("needs root to mount a small file system")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	fill := func() { _ = os.WriteFile(ballast, make([]byte, 8<<20), 0o600) } // as much as there is room for
	fill()
	_, err := Open(t.Context(), Options{StateDir: dir})
	if fault.CodeOf(err) != fault.Failed || !strings.Contains(err.Error(), "no space left on device") || fault.HintOf(err) == "" {
		t.Errorf("Open() on a full disk = %v, hint %q", err, fault.HintOf(err))
	}
	if err := os.Truncate(ballast, 7<<20+768<<10); err != nil { // room for keys, not for a database
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Options{StateDir: dir})
	if fault.CodeOf(err) != fault.Unavailable || !strings.HasPrefix(fault.HintOf(err), "no space left on device") {
		t.Errorf("Open() without room for the database = %v, hint %q", err, fault.HintOf(err))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	e := open(t, dir)
	work(t, e)
	file := filepath.Join(t.TempDir(), "notes")
	x := start(t, e, "long", "notes", order{File: file, Count: 30, Text: "done"})
	eventually(t, 20*time.Second, "the run is under way", func() bool { return len(lines(t, file)) > 3 })
	fill()
	<-time.After(3 * time.Second) // nobody makes room that fast
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	var result string
	if err := e.Wait(t.Context(), x, &result); err != nil || result != "done" {
		t.Errorf("Wait() = %q, %v", result, err)
	}
	t.Logf("%d attempts at 30 steps", len(lines(t, file)))
}
