package test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/record"
)

// freeze is how long an API server does not answer.
const freeze = 20 * time.Second

// TestFrozenAPIServer stops the API server of the live or of the new generation with SIGSTOP while a step begins, for each
// step that talks to it. The roll-over waits, says so, and comes to its end; users notice nothing.
func TestFrozenAPIServer(t *testing.T) {
	w := newWorld(t, retireAtOnce)
	w.must("rollover", environment)
	old := w.live()
	_, stop := w.users(100)
	frozen := map[string]bool{} // by step, whether the live side is frozen
	for _, step := range []string{"copy", "hand-over"} {
		frozen[step] = true
	}
	for _, step := range []string{"prime/namespaces", "deploy/orders", "verify", "shift/50"} {
		frozen[step] = false
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := w.command(ctx, "rollover", environment)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	run := w.newRun(ctx)
	hit := 0
	err := w.store().Follow(ctx, run.ID, 0, func(e record.Event) error {
		live, wanted := frozen[e.Step]
		if e.Kind != record.StepStarted || !wanted {
			return nil
		}
		hit++
		generation := run.Generation
		if live {
			generation = old
		}
		w.freezeFor(ctx, generation, freeze)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, said.String())
	}
	if hit != len(frozen) {
		t.Errorf("%d API servers were frozen, want %d", hit, len(frozen))
	}
	unharmed(t, stop())
	w.told(t, w.runs()[0])
}

// newRun is the run under way, once it is recorded.
func (w *world) newRun(ctx context.Context) record.Run {
	w.t.Helper()
	for {
		for _, r := range w.runs() {
			if r.Ended == nil {
				return r
			}
		}
		select {
		case <-ctx.Done():
			w.t.Fatal("no run began")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// freezeFor stops the API server of a generation and lets it go on after a time, in the background.
func (w *world) freezeFor(ctx context.Context, generation string, d time.Duration) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.state, "local", generation, "nodes", "*", "run", "kube-apiserver.pid"))
	if err != nil || len(files) != 1 {
		out, _ := exec.Command("find", filepath.Join(w.state, "local", generation), "-name", "*.pid").CombinedOutput()
		w.t.Fatalf("cannot find the API server of %s: %v %v\n%s", generation, files, err, out)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		w.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		select {
		case <-ctx.Done():
		case <-time.After(d): // the length of the fault, not a wait for something
		}
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}()
}

// TestChecksSayNo fails in turn before the shift (a check of the new generation, an image that does not exist) and during it.
// The live generation keeps its users and is not touched before the shift; during the shift the users come back by themselves.
func TestChecksSayNo(t *testing.T) {
	w := newWorld(t)
	w.must("rollover", environment)
	live := w.live()
	touched := w.fingerprint(live)
	_, stop := w.users(100)

	t.Run("TwoAtOnce", func(t *testing.T) { w.twoAtOnce(t) })
	t.Run("BeforeShift", func(t *testing.T) {
		w.replace("production.yaml", "contains: The shop}", "contains: The mall}\n      timeout: 5s")
		defer w.replace("production.yaml", "contains: The mall}\n      timeout: 5s", "contains: The shop}")
		o := w.run("rollover", environment)
		if o.status != 3 {
			t.Fatalf("exit %d, want 3\n%s", o.status, o.stderr)
		}
		for _, want := range []string{"front page", "The mall", "what the pods of shop-web say", "Started"} {
			if !strings.Contains(o.stderr, want) {
				t.Errorf("the output does not say %q:\n%s", want, o.stderr)
			}
		}
		if now := w.fingerprint(live); now != touched {
			t.Errorf("the live generation was touched: before\n%s\nafter\n%s", touched, now)
		}
		w.still(t, live)
	})
	t.Run("ImageDoesNotExist", func(t *testing.T) {
		w.replace("production.yaml", "- name: web", "- {name: web, version: v404}")
		defer w.replace("production.yaml", "- {name: web, version: v404}", "- name: web")
		o := w.run("rollover", environment)
		if o.status != 1 || !strings.Contains(o.stderr, "shop/shop:v404 cannot be pulled") {
			t.Errorf("exit %d, want 1 and the image in the message:\n%s", o.status, o.stderr)
		}
		w.still(t, live)
	})
	t.Run("DuringShift", func(t *testing.T) {
		w.replace("production.yaml", "http: {route: shop.example.com, path: /}\n        timeout", "http: {route: shop.example.com, path: /, contains: Not there}\n        timeout")
		o := w.run("rollover", environment)
		if o.status != 3 || !strings.Contains(o.stderr, "all users are on "+live) {
			t.Errorf("exit %d, want 3 and a way back:\n%s", o.status, o.stderr)
		}
		w.still(t, live)
	})
	unharmed(t, stop())
	w.replace("production.yaml", "path: /, contains: Not there}", "path: /}")
	t.Run("Analysis", func(t *testing.T) { w.slow(t, live) })
}

// slow rolls over to a generation that gets too little CPU, which every check takes for good: how the users are served tells.
func (w *world) slow(t *testing.T, live string) {
	defer w.starve(t, live)()
	w.replace("production.yaml", "steps: [5, 25, 50, 100]\n    interval: 2s", "steps: [20, 100]\n    interval: 15s\n    analysis: {rules: [new.p90 <= 2.0 * old.p90 + 0.02]}")
	w.users(100)
	o := w.run("rollover", environment)
	if o.status != 3 || !strings.Contains(o.stderr, "new.p90 <= 2.0 * old.p90 + 0.02 does not hold: new has") || !strings.Contains(o.stderr, "all users are on "+live) {
		t.Errorf("exit %d, want 3, the figures, and a way back:\n%s", o.status, o.stderr)
	}
	w.still(t, live)
}

// starve has the pods of web of all generations but one stand still for four fifths of the time, on however fast a machine, until it is told to end.
func (w *world) starve(t *testing.T, but string) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			pods := w.pods("web", but)
			for _, turn := range []struct {
				signal syscall.Signal
				lasts  time.Duration
			}{{syscall.SIGSTOP, 200 * time.Millisecond}, {syscall.SIGCONT, 50 * time.Millisecond}} {
				for _, p := range pods {
					_ = p.Signal(turn.signal) // it may have ended
				}
				select {
				case <-ctx.Done():
				case <-time.After(turn.lasts):
				}
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// pods are the processes of a part of the shop in all generations but one. What they have mounted says whose they are.
func (w *world) pods(part, but string) []*os.Process {
	var all []*os.Process
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range commands {
		dir := filepath.Dir(file)
		command, _ := os.ReadFile(file)
		mounts, _ := os.ReadFile(filepath.Join(dir, "mountinfo"))
		clusters := filepath.Join(w.state, "local") + "/"
		if string(command) != "/shop\x00"+part+"\x00" || !bytes.Contains(mounts, []byte(clusters)) || bytes.Contains(mounts, []byte(clusters+but+"/")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			if p, err := os.FindProcess(pid); err == nil {
				all = append(all, p)
			}
		}
	}
	return all
}

// still wants the users to be where they were.
func (w *world) still(t *testing.T, live string) {
	t.Helper()
	if now := w.live(); now != live {
		t.Errorf("the users are on %q, want %q", now, live)
	}
	for g, share := range w.shares() {
		if g != live && share != 0 {
			t.Errorf("%s has %d %% of the users", g, share)
		}
	}
}

// fingerprint is every object of the shop's namespaces in a generation with its version, as kubectl says.
func (w *world) fingerprint(generation string) string {
	w.t.Helper()
	all := ""
	for _, ns := range []string{"shop-web", "shop-orders"} {
		all += w.kubectl(generation, "get", "deployments,services,configmaps,secrets,poddisruptionbudgets,serviceaccounts", "-n", ns,
			"-o", `jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid} {.metadata.generation}{"\n"}{end}`)
	}
	return all
}

// twoAtOnce wants a second roll-over to be refused while the first is at work, and an abort to end the first cleanly.
func (w *world) twoAtOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := w.command(ctx, "rollover", environment)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	run := w.newRun(ctx)
	if o := w.run("rollover", environment); o.status != 4 || !strings.Contains(o.stderr, "hint:") {
		t.Errorf("the second roll-over: exit %d, want 4 and a hint\n%s", o.status, o.stderr)
	}
	if o := w.run("switch-back", environment); o.status != 1 {
		t.Errorf("a switch-back before the shift: exit %d, want 1\n%s", o.status, o.stderr)
	}
	w.must("abort", run.ID, "--clean")
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("the aborted roll-over ended with %v, want exit status 1", err)
	}
	if _, err := os.Stat(filepath.Join(w.state, "local", run.Generation)); err == nil {
		t.Errorf("%s is still there after abort --clean", run.Generation)
	}
}
