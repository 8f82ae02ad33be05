package test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// kills is how many times the roll-overs of TestKilledAtAnyInstant are killed in all.
const kills = 40

// TestKilledAtAnyInstant kills crossfade rollover with SIGKILL at random instants, every second time the engine with it, and
// starts it again, until it has been killed so many times and every roll-over has come to its end. Users are served all the
// while; nothing happens twice; no generation is given users before it was verified.
func TestKilledAtAnyInstant(t *testing.T) {
	w := newWorld(t, retireAtOnce, edit{"production.yaml", "steps: [5, 25, 50, 100]", `mirror: {interval: 2s, requests: 20, headers: [Content-Type]}
    header: {name: X-Generation, value: next, interval: 1s}
    steps: [5, 25, 50, 100]`})
	w.must("rollover", environment)
	w.kubectl(w.live(), "scale", "deployment", "web", "-n", "shop-web", "--replicas", "3") // git says two
	_, stop := w.users(100)
	guard := w.guard()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	killed, rollovers := 0, 1
	for killed < kills {
		killed += w.rolloverKilled(t, random, min(kills-killed, kills/3+1))
		rollovers++
		w.told(t, w.runs()[0])
		if n := w.kubectl(w.live(), "get", "deployment", "web", "-n", "shop-web", "-o", "jsonpath={.status.readyReplicas}"); n != "3" {
			t.Errorf("%s has %s pods of web, and the users had three", w.live(), n)
		}
	}
	unharmed(t, stop())
	guard(t)
	t.Logf("killed %d times in %d roll-overs", killed, rollovers-1)
	if runs := w.runs(); len(runs) != rollovers {
		t.Errorf("%d runs are recorded, want %d: one was started twice", len(runs), rollovers)
	}
}

// rolloverKilled carries out one roll-over, killed at most so many times, and returns how many times it was.
func (w *world) rolloverKilled(t *testing.T, random *rand.Rand, most int) int {
	t.Helper()
	for n := 0; ; n++ {
		cmd := w.command(t.Context(), "rollover", environment)
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		var kill <-chan time.Time
		if n < most {
			kill = time.After(time.Duration(random.Int64N(int64(6 * time.Second))))
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("after %d kills: %v\n%s\n%s", n, err, said.String(), w.logs())
			}
			return n
		case <-kill:
			if n%2 == 0 {
				w.killEngine(t)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-ended
		}
	}
}

// moved rolls over while users are there, killed later and later until it comes to its end: nobody notices, and another generation is live.
func (w *world) moved(t *testing.T, first string, stops ...func() load.Report) {
	t.Helper()
	for kills := 0; ; kills++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(5+3*kills)*time.Second)
		out, err := w.command(ctx, "rollover", environment).CombinedOutput()
		killed := ctx.Err() != nil
		cancel()
		if !killed && (err != nil || kills == 0) {
			t.Fatalf("after %d kills: %v\n%s", kills, err, out)
		}
		if !killed {
			t.Logf("killed %d times", kills)
			break
		}
	}
	for _, stop := range stops {
		report := stop()
		unharmed(t, report)
		if by := report.Requests.ByGeneration; len(by) != 2 { // by their nodes
			t.Errorf("answered by %v, want both generations", by)
		}
	}
	if second := w.live(); first == "" || second == "" || first == second {
		t.Errorf("%q was live, then %q", first, second)
	}
}

// killEngine ends the engine with SIGKILL, if it runs.
func (w *world) killEngine(t *testing.T) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.state, "engine", "crossfade-engine.pid"))
	if err != nil {
		return // not started yet
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		t.Fatal(err)
	}
}

// told wants the story of a run to be whole: it ended well, every step that began was done, and nothing was recorded twice.
func (w *world) told(t *testing.T, run record.Run) {
	t.Helper()
	if run.State != record.Done {
		t.Errorf("run %s is %s: %s", run.ID, run.State, run.Reason)
	}
	events, err := w.store().Events(t.Context(), run.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	started, done := map[string]int{}, map[string]int{}
	for _, e := range events {
		switch e.Kind {
		case record.StepStarted:
			started[e.Step]++
		case record.StepDone:
			done[e.Step]++
		case record.StepFailed:
			t.Errorf("run %s: step %s failed: %s", run.ID, e.Step, e.Message)
		}
	}
	for step, n := range started {
		if n != 1 || done[step] != 1 {
			t.Errorf("run %s: step %s is recorded as started %d times and done %d times", run.ID, step, n, done[step])
		}
	}
	if len(started) < 10 {
		t.Errorf("run %s has only the steps %v", run.ID, started)
	}
}

// guard watches, until the returned function is called, that no generation has users that was not verified.
func (w *world) guard() func(*testing.T) {
	store := w.store()
	stop, done := make(chan struct{}), make(chan struct{})
	var broken []string
	looks := 0
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for generation, share := range w.shares() {
				looks++
				g, err := store.Generation(w.t.Context(), environment, generation)
				if share > 0 && (err != nil || !g.Verified) {
					broken = append(broken, generation)
				}
			}
		}
	}()
	return func(t *testing.T) {
		t.Helper()
		close(stop)
		<-done
		if looks == 0 {
			t.Error("the router was never seen to send users anywhere")
		}
		if len(broken) > 0 {
			t.Errorf("users were sent to generations that were not verified: %v", broken)
		}
	}
}
