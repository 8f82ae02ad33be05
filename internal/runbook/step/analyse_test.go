package step

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/caddy"
)

// compared is an analysis by both usual rules.
func compared(p *plan.Plan) {
	p.Shift.Interval = spec.Duration(20 * time.Millisecond)
	p.Shift.Analysis = &spec.Analysis{Rules: []string{"new.errorRate <= old.errorRate + 0.003", "new.p90 <= 1.15 * old.p90 + 0.001"}, Requests: 100}
}

// answered are requests of which some failed, and which took a time each.
func answered(requests, failures int64, took time.Duration) *traffic.Served {
	return &traffic.Served{Requests: requests, Failures: failures, Latency: []traffic.Bucket{{UpTo: took, Requests: requests}}}
}

// TestAnalyse has a router in memory count so many more requests each time it is asked.
func TestAnalyse(t *testing.T) {
	const shop, api = "shop.example.com", "api.example.com"
	type rates map[string]map[string]*traffic.Served // by host and generation
	good := rates{shop: {"old": answered(1000, 0, 20*time.Millisecond), "new": answered(60, 0, 20*time.Millisecond)}}
	for name, tc := range map[string]struct {
		reason string
		grow   rates
		ever   int64 // requests to the old generation, on each host, before the step
		code   fault.Code
		says   string
	}{
		"Good":   {"as good as the old generation", good, 0, "", ""},
		"Fails":  {"every tenth fails", rates{shop: {"old": answered(1000, 1, 20*time.Millisecond), "new": answered(60, 6, 20*time.Millisecond)}}, 0, fault.Refused, "new.errorRate <= old.errorRate + 0.003 does not hold: new has 10.00 % errors"},
		"Slower": {"a third slower", rates{shop: {"old": answered(1000, 0, 20*time.Millisecond), "new": answered(60, 0, 27*time.Millisecond)}}, 0, fault.Refused, "new.p90 <= 1.15 * old.p90 + 0.001 does not hold: new has 0.00 % errors, p50 27ms"},
		"OneOfTwo": {
			"a route that fails is not made good by another one with more traffic",
			rates{shop: {"old": answered(1000, 0, 20*time.Millisecond), "new": answered(60, 6, 20*time.Millisecond)}, api: {"old": answered(100000, 0, 20*time.Millisecond), "new": answered(100000, 0, 20*time.Millisecond)}},
			0, fault.Refused, "new has 10.00 % errors",
		},
		"NotEnough": {"a request now and then", rates{shop: {"old": answered(1000, 0, 20*time.Millisecond), "new": answered(1, 0, 20*time.Millisecond)}}, 0, fault.Undecided, "not enough traffic to tell"},
		"OldAtItsEnd": {
			"the old generation has no share any more, and is compared as it was",
			rates{shop: {"new": answered(60, 0, 27*time.Millisecond)}},
			5000, fault.Refused, "p50 27ms, p90 27ms, p99 27ms of",
		},
		"OldNever": {"there is nothing to compare with", rates{shop: {"new": answered(60, 0, 20*time.Millisecond)}}, 0, fault.Undecided, "0 to the old one"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, compared)
			b.users(t, fine)
			b.put(t, 0)
			b.verify(t)
			asked := map[string]int64{}
			b.router.lie = func(host string, seen *traffic.Observed) {
				asked[host]++
				seen.Counts = map[string]traffic.Counters{}
				for _, g := range []string{"old", "new"} {
					s := new(traffic.Served)
					if g == "old" && tc.ever > 0 {
						s = answered(tc.ever, 0, 20*time.Millisecond)
					}
					if more := tc.grow[host][g]; more != nil {
						for range asked[host] {
							*s = s.Plus(*more)
						}
					}
					seen.Counts[g] = traffic.Counters{Served: s}
				}
			}
			err := b.Weigh(t.Context(), Weight{Step: ID{Run: "r1", Name: "shift", Time: 1}, Share: 10})
			wantCode(t, tc.reason, err, tc.code)
			if !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("%s: %v, want %q in it", tc.reason, err, tc.says)
			}
			story := b.story(t)
			if last := story[len(story)-1]; tc.code == "" && !strings.Contains(last, "10 % of the users are on new; 0.00 % errors") {
				t.Errorf("%s: the story ends with %q, want the figures", tc.reason, last)
			}
		})
	}
}

// TestAnalyseLostRoute has the router lose its routes while a step is watched.
func TestAnalyseLostRoute(t *testing.T) {
	b := newBench(t, compared)
	b.users(t, func(http.ResponseWriter, *http.Request) {
		for _, r := range b.plan.Routes {
			_ = b.router.Remove(context.Background(), r.Host)
		}
	})
	b.put(t, 0)
	b.verify(t)
	b.router.lie = func(_ string, seen *traffic.Observed) {
		served := traffic.Counters{Served: new(traffic.Served)}
		seen.Counts = map[string]traffic.Counters{"old": served, "new": served}
	}
	err := b.Weigh(t.Context(), Weight{Step: ID{Run: "r1", Name: "shift", Time: 1}, Share: 10})
	wantCode(t, "the routes are gone", err, fault.Failed)
	if !strings.Contains(fmt.Sprint(err), "the router has lost the route shop.example.com") {
		t.Error(err)
	}
}

// generation answers after a time; every so manieth request fails, if any does.
func generation(t *testing.T, name string, takes time.Duration, failing int64) string {
	t.Helper()
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Generation", name)
		n := asked.Add(1)
		select {
		case <-time.After(takes):
		case <-r.Context().Done():
		}
		if failing > 0 && n%failing == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestAnalyseForReal shifts users on a real edge, 500 requests a second, to generations that are worse than the old one in different ways, and
// moves them back when the analysis says so. One that is as good gets them all.
func TestAnalyseForReal(t *testing.T) {
	const takes = 20 * time.Millisecond
	for name, tc := range map[string]struct {
		fresh  func(*testing.T) []string // endpoints
		caught bool
		says   string
	}{
		"as good":     {func(t *testing.T) []string { return []string{generation(t, "new", takes, 0)} }, false, ""},
		"30 % slower": {func(t *testing.T) []string { return []string{generation(t, "new", takes*13/10, 0)} }, true, "new.p50"},
		"1 % fails":   {func(t *testing.T) []string { return []string{generation(t, "new", takes, 100)} }, true, "new.errorRate"},
		"1 endpoint of 3 is": {func(t *testing.T) []string {
			return []string{generation(t, "new", takes, 0), generation(t, "new", takes, 0), generation(t, "new", takes, 1)}
		}, true, "new.errorRate"},
	} {
		t.Run(name, func(t *testing.T) {
			b, router := realEdge(t)
			old := traffic.Side{Generation: "old", Endpoints: []string{generation(t, "old", takes, 0)}, Weight: 100}
			ok(t, router.Apply(t.Context(), traffic.Route{Host: "shop.example.com", Sides: []traffic.Side{old, {Generation: "new", Endpoints: tc.fresh(t)}}}))
			b.verify(t)
			g, err := load.New(load.Options{Entry: router.Entry(), Host: "shop.example.com", Rate: 500, Duration: 2 * time.Minute, Kinds: []load.Kind{{Name: "get", Path: "/"}}})
			ok(t, err)
			ended := make(chan load.Report, 1)
			go func() { ended <- g.Run(t.Context()) }()
			waitFor(t, "users are there", func() bool { return g.Report().Requests.Sent > 5000 })
			caught := error(nil)
			var took time.Duration
			step := ""
			for _, share := range []int{2, 10, 50, 100} {
				began := time.Now()
				step = fmt.Sprintf("shift/%d", share)
				caught = b.Weigh(t.Context(), Weight{Step: ID{Run: "r1", Name: step, Time: 1}, Share: share})
				if took = time.Since(began); caught != nil {
					break
				}
			}
			if caught != nil {
				ok(t, b.Weigh(t.Context(), Weight{Step: ID{Run: "r1", Name: "switch-back", Time: 1}, Share: 0}))
			}
			back := g.Report().Requests.Sent
			waitFor(t, "users go on", func() bool { return g.Report().Requests.Sent > back+1500 })
			g.Stop()
			report := <-ended
			worse := report.Requests.Failed
			if strings.Contains(name, "slower") {
				worse = report.Requests.ByGeneration["new"]
			}
			t.Logf("%v, in %s after %v; %d of %d requests were affected, %.2f %%", caught, step, took.Round(100*time.Millisecond), worse, report.Requests.Sent, 100*float64(worse)/float64(report.Requests.Sent))
			if !tc.caught {
				ok(t, caught)
				return
			}
			if fault.CodeOf(caught) != fault.Refused || !strings.Contains(caught.Error(), tc.says) {
				t.Fatalf("%v, want it to be refused because of %s", caught, tc.says)
			}
			if share := float64(worse) / float64(report.Requests.Sent); share > 0.005 {
				t.Errorf("%.2f %% of the requests were affected, want 0.5 %% at most", 100*share)
			}
		})
	}
}

// realEdge is a bench whose only route is on a real edge.
func realEdge(t *testing.T) (*bench, *caddy.Router) {
	t.Helper()
	dir, err := os.MkdirTemp("", "crossfade-test-") // short enough for the name of a socket
	ok(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	l.Close()
	status, err := edge.Start(t.Context(), edge.Options{StateDir: dir, Listen: l.Addr().String()})
	ok(t, err)
	t.Cleanup(func() {
		if err := edge.Stop(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	router, err := caddy.New(caddy.Options{Admin: status.Admin, Listen: status.Listen, Edge: true})
	ok(t, err)
	b := newBench(t, func(p *plan.Plan) {
		compared(p)
		p.Shift.Interval = spec.Duration(5 * time.Second)
		p.Shift.Analysis.Rules[1] = "new.p50 <= 1.15 * old.p50 + 0.001" // what else the machine does moves the slowest tenth
		p.Routes = p.Routes[:1]
	})
	b.makeRouter = func(spec.Router) (traffic.Router, error) { return router, nil }
	return b, router
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(10 * time.Millisecond); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
