// Package test holds the tests of the whole: the built program, on real clusters, under load, killed and disturbed.
package test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/demo/platform"
	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/demo"
	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/engine"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/traffic/caddy"
)

const environment = "production"

// world is a platform of its own: a state directory, the demo's configuration, an edge at a free port.
type world struct {
	t       *testing.T
	binary  string
	state   string
	config  string
	listen  string
	records *record.Store
	limit   time.Duration // of one run of the program

	stateFlag string // what --state says; the state directory unless a test puts it elsewhere
}

// edit is a change of a file of the demo's configuration.
type edit struct{ file, old, now string }

// retireAtOnce lets a roll-over end without a soak.
var retireAtOnce = edit{"production.yaml", "after: 1h", "after: 1s"}

// newWorld makes one, in which the gate and the steps of the shift are watched for two seconds; everything in it is gone when the test ends, however it ends.
func newWorld(t *testing.T, edits ...edit) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("needs real clusters")
	}
	binary, err := filepath.Abs("../bin/crossfade")
	if err == nil {
		_, err = os.Stat(binary)
	}
	if err != nil {
		t.Fatalf("cannot find the program under test: %v; run make build", err)
	}
	dir := t.TempDir()
	w := &world{
		t: t, binary: binary, state: filepath.Join(dir, "state"), config: filepath.Join(dir, "platform"), listen: freeAddress(t), limit: 10 * time.Minute,
	}
	t.Cleanup(w.destroy)
	for _, d := range []string{w.state, w.config} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := platform.WriteTo(w.config); err != nil {
		t.Fatal(err)
	}
	w.replace("platform.yaml", "127.0.0.1:8080", w.listen)
	for _, e := range append(edits, edit{"production.yaml", "soak: 20s", "soak: 2s"}, edit{"production.yaml", "interval: 8s", "interval: 2s"}) {
		w.replace(e.file, e.old, e.now)
	}
	if err := demo.PushShop(t.Context(), w.state); err != nil {
		t.Fatal(err)
	}
	return w
}

// replace changes a file of the configuration; what is replaced must be there.
func (w *world) replace(file, old, now string) {
	w.t.Helper()
	name := filepath.Join(w.config, file)
	raw, err := os.ReadFile(name)
	if err != nil {
		w.t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte(old)) {
		w.t.Fatalf("%s does not contain %q", file, old)
	}
	if err := os.WriteFile(name, bytes.Replace(raw, []byte(old), []byte(now), 1), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// kubectl runs kubectl against the cluster of a generation, and returns what it prints.
func (w *world) kubectl(generation string, args ...string) string {
	w.t.Helper()
	args = append([]string{"--kubeconfig", filepath.Join(w.state, "local", generation, "kubeconfig")}, args...)
	out, err := exec.CommandContext(w.t.Context(), "../bin/lab/kubectl", args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (w *world) destroy() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if w.records != nil {
		w.records.Close()
	}
	clusters := local.New(local.Options{StateDir: w.state})
	if err := clusters.Clear(ctx, w.t.Logf); err != nil {
		w.t.Errorf("cannot delete the clusters: %v", err)
	}
	if err := edge.Stop(ctx, w.state); err != nil {
		w.t.Errorf("cannot stop the edge: %v", err)
	}
	if err := engine.Stop(ctx, w.state); err != nil {
		w.t.Errorf("cannot stop the engine: %v", err)
	}
}

// command is the program, not started.
func (w *world) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.binary, append(args, "--state", cmp.Or(w.stateFlag, w.state), "-f", w.config)...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	return cmd
}

// finished is how a command ended.
type finished struct {
	status         int
	stdout, stderr string
}

// run runs the program to its end.
func (w *world) run(args ...string) finished {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), w.limit)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := w.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited { //nolint:errorlint // exec returns it bare
		w.t.Fatalf("crossfade %s: %v", strings.Join(args, " "), err)
	}
	return finished{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must runs the program and wants it to succeed.
func (w *world) must(args ...string) finished {
	w.t.Helper()
	o := w.run(args...)
	if o.status != 0 {
		w.t.Fatalf("crossfade %s: exit %d\n%s%s\n%s", strings.Join(args, " "), o.status, o.stdout, o.stderr, w.logs())
	}
	return o
}

// logs are the last lines of what the engine had to say, for the message of a failed test.
func (w *world) logs() string {
	raw, err := exec.Command("sh", "-c", fmt.Sprintf("tail -n 20 %s/engine/*.log %s/edge/*.log 2>/dev/null", w.state, w.state)).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// store is the record of the world, open.
func (w *world) store() *record.Store {
	w.t.Helper()
	if w.records == nil {
		s, err := record.Open(w.t.Context(), filepath.Join(w.state, "record.db"))
		if err != nil {
			w.t.Fatal(err)
		}
		w.records = s
	}
	return w.records
}

// runs are the runs so far, the newest first.
func (w *world) runs() []record.Run {
	w.t.Helper()
	runs, err := w.store().Runs(w.t.Context(), environment, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	return runs
}

// live is the generation that has all users, as the routers say.
func (w *world) live() string {
	w.t.Helper()
	var all []struct {
		Shares map[string]int
	}
	if err := json.Unmarshal([]byte(w.must("status", environment, "-o", "json").stdout), &all); err != nil {
		w.t.Fatal(err)
	}
	for g, share := range all[0].Shares {
		if share == 100 {
			return g
		}
	}
	return ""
}

// users puts the demo's load on the entry until the returned function is called, which reports.
func (w *world) users(rate int) (g *load.Generator, stop func() load.Report) {
	w.t.Helper()
	return w.usersOf("shop.example.com", w.listen, rate)
}

// usersOf is users of a host at an address.
func (w *world) usersOf(host, address string, rate int) (g *load.Generator, stop func() load.Report) {
	w.t.Helper()
	g, err := load.New(load.Options{Entry: "http://" + address, Host: host, Rate: rate, Duration: time.Hour, Kinds: demo.Mix()})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan load.Report, 1)
	go func() { done <- g.Run(ctx) }()
	stop = sync.OnceValue(func() load.Report {
		g.Stop()
		r := <-done
		cancel()
		return r
	})
	w.t.Cleanup(func() { stop() })
	return g, stop
}

// shares are the shares of the generations, as the edge says; none while it does not answer.
func (w *world) shares() map[string]int {
	router, err := caddy.New(caddy.Options{Admin: edge.Admin(w.state), Listen: w.listen, Edge: true})
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	seen, err := router.Observe(ctx, "shop.example.com")
	if err != nil || seen == nil {
		return nil
	}
	shares := map[string]int{}
	for _, s := range seen.Route.Sides {
		shares[s.Generation] = s.Weight
	}
	return shares
}

// unharmed wants a load of which nobody noticed anything.
func unharmed(t *testing.T, r load.Report) {
	t.Helper()
	t.Logf("%d requests sent, %d failed, answered by %v", r.Requests.Sent, r.Requests.Failed, r.Requests.ByGeneration)
	if r.Requests.Sent == 0 {
		t.Error("no request was sent")
	}
	if r.Requests.Failed == 0 {
		return
	}
	t.Errorf("%d of %d requests failed", r.Requests.Failed, r.Requests.Sent)
	for _, f := range r.Failures {
		t.Logf("  %s %s: %s", f.Time.Format(time.TimeOnly), f.Kind, f.Cause)
	}
}

// freeAddress is an address on loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
