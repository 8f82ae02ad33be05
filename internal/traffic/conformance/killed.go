package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

const (
	// taskVariable has a test binary carry out a task instead of its tests.
	taskVariable = "CROSSFADE_CONFORMANCE_TASK"
	// wantedKills are the instants at which the helper is killed.
	wantedKills = 30
	// taskSteps are how many steps a shift has that is to be killed.
	taskSteps = 10
)

// task is a shift: the shares of g2 go in steps to To.
type task struct {
	Self  string        `json:"self"`
	Route traffic.Route `json:"route"` // with the shares at the begin
	To    int           `json:"to"`
}

// Helper carries out a shift where the test binary was started for that, and does not return then. A router's TestMain calls it first; open makes a
// router from what its Peer has as Self.
func Helper(open func(self string) (traffic.Router, error)) {
	text := os.Getenv(taskVariable)
	if text == "" {
		return
	}
	if err := carryOut(text, open); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// carryOut goes on with a shift where the router is.
func carryOut(text string, open func(self string) (traffic.Router, error)) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	router, err := open(t.Self)
	if err != nil {
		return err
	}
	for ctx := context.Background(); ; {
		seen, err := router.Observe(ctx, t.Route.Host)
		if err != nil {
			return err
		}
		now := seen.Route.Sides[1].Weight
		if now == t.To { // the last step may not have come to its end
			now -= toward(now, t.Route.Sides[1].Weight)
		}
		next := now + toward(now, t.To)
		t.Route.Sides[0].Weight, t.Route.Sides[1].Weight = 100-next, next
		if err := router.Apply(ctx, t.Route); err != nil || next == t.To {
			return err
		}
	}
}

// toward is the next step to a share.
func toward(from, to int) int {
	if from > to {
		return -100 / taskSteps
	}
	return 100 / taskSteps
}

// testKilled has another process move users there, back and there again, and kills it again and again. It is started anew each time. The shares only
// go where the shift does, they end where it says, and nobody notices.
func testKilled(t *testing.T, p Peer) {
	g1, g2 := newBackend(t, p, "g1"), newBackend(t, p, "g2")
	at := func(weight int) traffic.Route { return route(side("g1", 100-weight, g1), side("g2", weight, g2)) }
	apply(t, p.Router, at(0))
	kills, shifts := 0, 0
	report := run(t, p.Router, load.Options{Rate: 200, HTTP2: p.HTTP2, Kinds: []load.Kind{
		{Name: "get", Path: "/", Share: 4},
		{Name: "order", Method: http.MethodPost, Path: "/", Body: `{"item":1}`, Share: 4},
		{Name: "new", Path: "/", Share: 1, NewConnection: true},
		{Name: "order over HTTP/2", Method: http.MethodPost, Path: "/", Body: `{"item":1}`, Share: 1, HTTP2: true},
	}}, func(*load.Generator) {
		whole := time.Duration(0) // that a shift takes
		for to := 100; kills < wantedKills; to = 100 - to {
			shifts++
			stop, begun := watch(t, p.Router, 100-to, to), time.Now()
			if kills += move(t, task{Self: p.Self, Route: at(100 - to), To: to}, whole/2, wantedKills-kills); whole == 0 {
				whole = time.Since(begun)
			}
			if changes := stop(); len(changes) > 0 {
				t.Errorf("the share of g2 goes other ways than from %d to %d: %v", 100-to, to, changes)
			}
			if got := observe(t, p.Router).Route.Sides[1].Weight; got != to {
				t.Errorf("g2 ends with %d %%, want %d", got, to)
			}
		}
	})
	t.Logf("killed %d times in %d shifts: %d requests, %d failed, %v", kills, shifts, report.Requests.Sent, report.Requests.Failed, report.Requests.ByGeneration)
	if report.Requests.Failed != 0 {
		t.Errorf("%d of %d requests failed: %v", report.Requests.Failed, report.Requests.Sent, report.Failures)
	}
}

// move has another process carry out a task, and kills it at random instants, up to so many times, each within a life unless that is 0. It returns how
// often it has.
func move(t *testing.T, what task, life time.Duration, most int) (kills int) {
	t.Helper()
	raw, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var said bytes.Buffer
		helper := exec.Command(os.Args[0])
		helper.Env = append(os.Environ(), taskVariable+"="+string(raw))
		helper.Stdout, helper.Stderr = &said, &said
		if err := helper.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- helper.Wait() }()
		var instant <-chan time.Time
		if kills < most && life > 0 {
			instant = time.After(rand.N(life))
		}
		select {
		case <-instant:
			_ = helper.Process.Kill() // it may have ended just now
			<-done
			kills++
		case err := <-done:
			if err != nil {
				t.Fatalf("the shift fails: %v: %s", err, &said)
			}
			return kills
		}
	}
}

// watch observes the share of g2 until stop, which returns the changes that were in another direction than from one share to another.
func watch(t *testing.T, r traffic.Router, from, to int) (stop func() []string) {
	t.Helper()
	ended := make(chan struct{})
	var wrong []string
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for last := from; ; {
			select {
			case <-tick.C:
			case <-ended:
				return
			}
			seen, err := r.Observe(t.Context(), Host)
			if err != nil {
				wrong = append(wrong, err.Error())
				continue
			}
			now := seen.Route.Sides[1].Weight
			if (now-last)*(to-from) < 0 {
				wrong = append(wrong, fmt.Sprintf("%d after %d", now, last))
			}
			last = now
		}
	})
	return func() []string {
		close(ended)
		all.Wait()
		return wrong
	}
}
