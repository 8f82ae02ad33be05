package test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// refreshed is a line of crossfade refresh -o json.
type refreshed struct {
	Host                      string
	Endpoints, Added, Removed []string
}

// TestRefresh lets the second node of the live generation go and come back, while users are at work: its address leaves the routes and is in them again.
func TestRefresh(t *testing.T) {
	t.Parallel() // it waits, most of its time
	w := newWorld(t, edit{"production.yaml", "local: {nodes: 1}", "local: {nodes: 2}"})
	w.must("rollover", environment)
	var once []refreshed
	if err := json.Unmarshal([]byte(w.must("refresh", environment, "-o", "json").stdout), &once); err != nil {
		t.Fatal(err)
	}
	if len(once) == 0 || len(once[0].Endpoints) != 2 || len(once[0].Added)+len(once[0].Removed) > 0 {
		t.Fatalf("both nodes are ready, and there is nothing to be done: %+v", once)
	}
	_, stop := w.users(50)
	cmd := w.command(context.WithoutCancel(t.Context()), "refresh", environment, "--follow", "-o", "json")
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = os.Stderr
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan refreshed)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			var r refreshed
			if json.Unmarshal(s.Bytes(), &r) == nil {
				lines <- r
			}
		}
	}()
	end := sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		for range lines { //nolint:revive // until it has ended
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("interrupted, the following ended with %v", err)
		}
	})
	t.Cleanup(end)
	next := func(what string) refreshed {
		t.Helper()
		select {
		case r := <-lines:
			t.Logf("%s: %+v", what, r)
			return r
		case <-time.After(3 * time.Minute):
			t.Fatalf("%s, and nothing is refreshed", what)
			return refreshed{}
		}
	}
	kubelet := w.kubelet(w.live(), 2)
	begin := time.Now()
	if err := syscall.Kill(kubelet, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(kubelet, syscall.SIGCONT) })
	gone := next("the second node is silent")
	t.Logf("after %v", time.Since(begin).Round(time.Second))
	if len(gone.Removed) != 1 || len(gone.Endpoints) != 1 || len(gone.Added) > 0 {
		t.Errorf("got %+v, want one endpoint to be removed", gone)
	}
	if err := syscall.Kill(kubelet, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	back := next("the second node is back")
	if len(back.Added) != 1 || len(back.Endpoints) != 2 || back.Added[0] != gone.Removed[0] {
		t.Errorf("got %+v, want %s to be added", back, gone.Removed)
	}
	end()
	unharmed(t, stop())
	w.keepsOut()
}

// keepsOut begins a roll-over and kills it: a refresh is refused while it is attended, and while it waits to be resumed.
func (w *world) keepsOut() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := w.command(ctx, "rollover", environment)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.newRun(ctx)
	if o := w.run("refresh", environment); o.status != 4 || !strings.Contains(o.stderr, "another crossfade is at work on environment production") {
		w.t.Errorf("while a roll-over is at work: exit %d\n%s", o.status, o.stderr)
	}
	cancel()
	_ = cmd.Wait() // it was killed
	if o := w.run("refresh", environment); o.status != 4 || !strings.Contains(o.stderr, "a rollover of production is under way, and sees to its routes") {
		w.t.Errorf("while a roll-over waits to be resumed: exit %d\n%s", o.status, o.stderr)
	}
}

// kubelet is the process of that name of a generation's node.
func (w *world) kubelet(generation string, node int) int {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.state, "local", generation, "nodes", "*", "run", "kubelet.pid"))
	if err != nil || len(files) < node {
		w.t.Fatalf("cannot find the kubelets of %s: %v %v", generation, files, err)
	}
	raw, err := os.ReadFile(files[node-1])
	if err != nil {
		w.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		w.t.Fatal(err)
	}
	return pid
}
