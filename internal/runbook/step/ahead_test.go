package step

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// TestMirror sends copies of 200 requests a second through a real edge to new generations that answer in different ways.
func TestMirror(t *testing.T) {
	for name, tc := range map[string]struct {
		price    func(n int64) string // of the new generation, in its answer to the nth copy
		requests int                  // it takes to tell
		allowed  float64
		code     fault.Code
		says     string
	}{
		"Same":    {func(int64) string { return "2" }, 100, 0, "", "done shift/mirror: 0 of "},
		"Differs": {func(int64) string { return `"1"` }, 100, 5, fault.Refused, "(100.00 %, 5 % may); .price is a string, not a number (GET /, "},
		"Some":    {func(n int64) string { return map[bool]string{true: "null", false: "1"}[n%50 == 0] }, 100, 0, "", "done shift/mirror: 0 of "},
		"Allowed": {func(n int64) string { return map[bool]string{true: `"1"`, false: "1"}[n%20 == 0] }, 200, 10, "", "done shift/mirror: "},
		// What the first copies met is too much of those, and little of all.
		"SomeFirst": {func(n int64) string { return map[bool]string{true: `"1"`, false: "1"}[n == 10 || n == 20] }, 100, 1, "", "done shift/mirror: 2 of "},
		"TooFewOf":  {func(int64) string { return "1" }, 100_000, 0, fault.Undecided, "not enough traffic to tell: "},
	} {
		t.Run(name, func(t *testing.T) {
			b, router := realEdge(t)
			b.plan.Shift = spec.Shift{Mirror: &spec.MirrorFirst{Interval: spec.Duration(2 * time.Second), Share: 100, Differences: tc.allowed, Requests: tc.requests}}
			b.Records = freshRecord(t)
			b.begin(t, "r1")
			var users, copies atomic.Int64
			b.verify(t)
			old := priced(t, func() string { users.Add(1); return "1" })
			fresh := priced(t, func() string { return tc.price(copies.Add(1)) })
			ok(t, router.Apply(t.Context(), traffic.Route{Host: "shop.example.com", Sides: []traffic.Side{
				{Generation: "old", Endpoints: []string{old}, Weight: 100}, {Generation: "new", Endpoints: []string{fresh}},
			}}))
			g, err := load.New(load.Options{Entry: router.Entry(), Host: "shop.example.com", Rate: 200, Duration: time.Minute, Kinds: []load.Kind{{Name: "get", Path: "/"}}})
			ok(t, err)
			ended := make(chan load.Report, 1)
			go func() { ended <- g.Run(t.Context()) }()
			err = b.Mirror(t.Context(), ID{Run: "r1", Name: "shift/mirror", Time: 1})
			g.Stop()
			report := <-ended
			wantCode(t, name, err, tc.code)
			said := fmt.Sprint(err)
			if story := b.story(t); tc.code == "" {
				said = story[len(story)-1]
			}
			if !strings.Contains(said, tc.says) {
				t.Errorf("%q, want %q in it", said, tc.says)
			}
			seen, err := router.Observe(t.Context(), "shop.example.com")
			ok(t, err)
			if seen.Route.Mirror != nil {
				t.Errorf("requests are still mirrored")
			}
			if report.Requests.Failed > 0 || copies.Load() == 0 || users.Load() != report.Requests.Sent {
				t.Errorf("%d of %d requests failed; %d were answered by the old generation, %d copies by the new one", report.Requests.Failed, report.Requests.Sent, users.Load(), copies.Load())
			}
		})
	}
}

// priced answers with a price.
func priced(t *testing.T, price func() string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"price": %s}`, price())
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestLeadAskers wants those who ask for it on the new generation until the last step, or until all users go back.
func TestLeadAskers(t *testing.T) {
	chosen := &traffic.Chosen{Header: "X-Version", Value: "next", Generation: "new"}
	for name, tc := range map[string]struct {
		share int
		want  *traffic.Chosen
	}{
		"Between": {50, chosen}, "All": {100, nil}, "Back": {0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(p *plan.Plan) {
				p.Shift.Header = &spec.HeaderFirst{Name: "X-Version", Value: "next", Interval: spec.Duration(time.Millisecond)}
			})
			b.users(t, fine)
			b.put(t, 0)
			step := ID{Run: "r1", Name: "shift/header", Time: 1}
			wantCode(t, "it was not verified", b.LeadAskers(t.Context(), step), fault.Refused)
			b.verify(t)
			step.Time++
			ok(t, b.LeadAskers(t.Context(), step))
			same(t, "nobody else is moved", each(100, 0), b.router.weights())
			for _, r := range b.plan.Routes {
				seen, err := b.router.Observe(t.Context(), r.Host)
				ok(t, err)
				same(t, r.Host, chosen, seen.Route.Chosen)
			}
			ok(t, b.Weigh(t.Context(), Weight{Step: ID{Run: "r1", Name: "shift", Time: 1}, Share: tc.share}))
			for _, r := range b.plan.Routes {
				seen, err := b.router.Observe(t.Context(), r.Host)
				ok(t, err)
				same(t, r.Host, tc.want, seen.Route.Chosen)
			}
		})
	}
}
