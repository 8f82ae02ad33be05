package conformance

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Run runs the suite. start is called once for every test and gives it a router without a route for Host.
func Run(t *testing.T, start func(t *testing.T) Peer) {
	for name, test := range map[string]func(*testing.T, Peer){
		"applied is observed, twice changes nothing": testApply,
		"weights":                            testWeights,
		"no live side yet":                   testNoLiveSide,
		"invalid routes":                     testInvalid,
		"shift under load":                   testShift,
		"streams survive":                    testStreams,
		"back and forth, all kinds of users": testAllKinds,
		"killed at any instant":              testKilled,
		"sick endpoint":                      testSickEndpoint,
		"dead side":                          testDeadSide,
		"nothing is sent twice":              testOnce,
		"stopped between two calls":          testStopped,
		"in flight is counted":               testInFlight,
		"slow uploads":                       testUpload,
		"what is served is counted":          testServed,
		"removed":                            testRemove,
		"a router that is not there":         testAway,
		"others are left alone":              testForeign,
	} {
		t.Run(name, func(t *testing.T) { test(t, start(t)) })
	}
}

func testApply(t *testing.T, p Peer) {
	if seen := observe(t, p.Router); seen != nil {
		t.Fatalf("there is a route before there is one: %+v", seen)
	}
	want := route(side("g1", 95, newBackend(t, p, "g1"), newBackend(t, p, "g1")), side("g2", 5, newBackend(t, p, "g2")))
	for range 2 {
		apply(t, p.Router, want)
		if diff := cmp.Diff(want, observe(t, p.Router).Route); diff != "" {
			t.Fatalf("observed (-applied +observed):\n%s", diff)
		}
	}
	want.Sides[0], want.Sides[1] = want.Sides[1], want.Sides[0] // the order of sides means nothing
	apply(t, p.Router, want)
	want.PreLive, want.PreLiveHost, want.Health, want.Drain = "", "", traffic.Health{}, 0
	want.Sides = []traffic.Side{want.Sides[1], want.Sides[0]}
	apply(t, p.Router, want)
	if diff := cmp.Diff(want, observe(t, p.Router).Route); diff != "" {
		t.Fatalf("observed (-applied +observed):\n%s", diff)
	}
	if status, generation := answer(t, p.Router, PreLiveHost); generation != "" {
		t.Errorf("the pre-live name answers with %d of %s after it was taken away", status, generation)
	}
}

// testWeights sends 10,000 requests at uneven weights over uneven numbers of endpoints.
func testWeights(t *testing.T, p Peer) {
	const total = 10_000
	g1 := []*backend{newBackend(t, p, "g1"), newBackend(t, p, "g1"), newBackend(t, p, "g1")}
	g2, g3 := newBackend(t, p, "g2"), newBackend(t, p, "g3")
	r := route(side("g1", 75, g1...), side("g2", 25, g2))
	r.Sides = append(r.Sides, side("g3", 0, g3))
	r.PreLive = "g3"
	apply(t, p.Router, r)
	report := run(t, p.Router, load.Options{Rate: 1000, Count: total, Kinds: []load.Kind{{Name: "get", Path: "/"}}}, nil)
	for generation, weight := range map[string]float64{"g1": 75, "g2": 25, "g3": 0} {
		share := 100 * float64(report.Requests.ByGeneration[generation]) / total
		if math.Abs(share-weight) > 2 {
			t.Errorf("%s got %.2f %%, want %v %%", generation, share, weight)
		}
	}
	if got := g3.got.Load(); got != 0 {
		t.Errorf("a side without weight got %d requests", got)
	}
	for _, b := range g1 {
		if share := float64(b.got.Load()) / float64(report.Requests.ByGeneration["g1"]); math.Abs(share-1.0/3) > 0.01 {
			t.Errorf("one of three endpoints got %.3f of the requests of its side", share)
		}
	}
	if status, generation := answer(t, p.Router, PreLiveHost); status != 200 || generation != "g3" {
		t.Errorf("the pre-live name: %d from %q, want g3", status, generation)
	}
	if _, generation := answer(t, p.Router, "unknown.example.com"); generation != "" {
		t.Errorf("%s answers for a host without a route", generation)
	}
}

func testNoLiveSide(t *testing.T, p Peer) {
	g1, g2 := newBackend(t, p, "g1"), newBackend(t, p, "g2")
	apply(t, p.Router, route(side("g1", 0, g1), side("g2", 0, g2)))
	if status, generation := answer(t, p.Router, Host); status != http.StatusServiceUnavailable || generation != "" {
		t.Errorf("%d from %q, want 503 from nobody", status, generation)
	}
	if status, generation := answer(t, p.Router, PreLiveHost); status != 200 || generation != "g2" {
		t.Errorf("the pre-live name: %d from %q, want g2", status, generation)
	}
}

func testInvalid(t *testing.T, p Peer) {
	b := newBackend(t, p, "g")
	cases := map[string]traffic.Route{
		"no sides":             {Host: Host},
		"no host":              {Sides: []traffic.Side{side("g1", 100, b)}},
		"weights add up to 90": route(side("g1", 80, b), side("g2", 10, b)),
		"negative weight":      route(side("g1", 110, b), side("g2", -10, b)),
		"weight on nothing":    route(side("g1", 100), side("g2", 0, b)),
		"one name twice":       route(side("g1", 50, b), side("g1", 50, b)),
	}
	unknown := route(side("g1", 100, b), side("g2", 0, b))
	unknown.PreLive = "g3"
	cases["pre-live side unknown"] = unknown
	for name, r := range cases {
		if err := p.Router.Apply(t.Context(), r); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want an error of code invalid", name, err)
		}
	}
	if seen := observe(t, p.Router); seen != nil {
		t.Errorf("an invalid route was applied: %+v", seen.Route)
	}
}

// testShift moves users there, back and there again while they send requests of all kinds, and none may fail. Once a side
// has lost its weight it gets no new request.
func testShift(t *testing.T, p Peer) {
	g1, g2 := newBackend(t, p, "g1"), newBackend(t, p, "g2")
	shift := func(weight int) {
		apply(t, p.Router, route(side("g1", 100-weight, g1), side("g2", weight, g2)))
	}
	shift(0)
	report := run(t, p.Router, load.Options{Rate: 200, Kinds: []load.Kind{
		{Name: "get", Path: "/", Share: 40},
		{Name: "order", Method: http.MethodPost, Path: "/", Body: `{"item":1}`, Share: 40},
		{Name: "new", Path: "/", Share: 19, NewConnection: true},
		{Name: "long", Path: "/long", Share: 1, Stream: true, Check: checkLong},
	}}, func(g *load.Generator) {
		for round := range 4 {
			for _, weight := range []int{0, 5, 25, 50, 100, 50, 0, 100} {
				g.Mark("changing")
				shift(weight)
				g.Mark(fmt.Sprintf("round %d weight %d", round, weight))
				sent := g.Report().Requests.Sent
				until(t, time.Minute, "30 requests go on", func() bool { return g.Report().Requests.Sent > sent+30 })
			}
		}
	})
	if report.Requests.Failed != 0 {
		t.Errorf("%d of %d requests failed: %v", report.Requests.Failed, report.Requests.Sent, report.Failures)
	}
	for _, phase := range report.Phases {
		by := phase.Requests.ByGeneration
		if strings.HasSuffix(phase.Name, " 100") && by["g1"] > 0 || strings.HasSuffix(phase.Name, " 0") && by["g2"] > 0 {
			t.Errorf("%s: %v; a side without weight got requests", phase.Name, by)
		}
	}
}

// testStreams changes the route under an upgraded connection and a long response of a side that loses its weight, for longer
// than it takes to notice.
func testStreams(t *testing.T, p Peer) {
	g1, g2 := newBackend(t, p, "g1"), newBackend(t, p, "g2")
	apply(t, p.Router, route(side("g1", 100, g1), side("g2", 0, g2)))
	c, reader := upgrade(t, p.Router)
	report := run(t, p.Router, load.Options{Rate: 10, Count: 10, Kinds: []load.Kind{
		{Name: "long", Path: "/long", Stream: true, Check: checkLong},
	}}, func(*load.Generator) {
		for i := range 10 {
			apply(t, p.Router, route(side("g1", 90-10*i, g1), side("g2", 10+10*i, g2)))
			fmt.Fprintf(c, "ping %d\n", i)
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			if line, err := reader.ReadString('\n'); err != nil || line != fmt.Sprintf("ping %d\n", i) {
				t.Fatalf("the upgraded connection broke after %d changes: %q %v", i+1, line, err)
			}
		}
	})
	if report.Requests.Failed != 0 {
		t.Errorf("long responses failed: %v", report.Failures)
	}
	if n := observe(t, p.Router).Counts["g1"].InFlight; n != 1 && !p.Uncounted {
		t.Errorf("%d requests of g1 are in flight, want the upgraded connection", n)
	}
}

// testSickEndpoint fails the check of one endpoint: its side keeps its share, over the other endpoint.
func testSickEndpoint(t *testing.T, p Peer) {
	if p.Unwatched {
		t.Skip("this router asks no endpoint by itself")
	}
	sick, well, g2 := newBackend(t, p, "g1"), newBackend(t, p, "g1"), newBackend(t, p, "g2")
	sick.sick.Store(true)
	apply(t, p.Router, route(side("g1", 80, sick, well), side("g2", 20, g2)))
	until(t, 30*time.Second, "the sick endpoint is reported", func() bool {
		return observe(t, p.Router).Counts["g1"].Unhealthy == 1
	})
	before := sick.got.Load()
	report := run(t, p.Router, load.Options{Rate: 500, Count: 1000, Kinds: []load.Kind{{Name: "get", Path: "/"}}}, nil)
	if got := sick.got.Load() - before; got != 0 {
		t.Errorf("the sick endpoint got %d requests", got)
	}
	if share := report.Requests.ByGeneration["g1"]; share < 750 || share > 850 || report.Requests.Failed != 0 {
		t.Errorf("%+v: want 80 %% on g1 and no failure", report.Requests)
	}
}

// testDeadSide kills all of a side: the other side with a share takes over, and one without gets nothing.
func testDeadSide(t *testing.T, p Peer) {
	g1, g2, g3 := newBackend(t, p, "g1"), newBackend(t, p, "g2"), newBackend(t, p, "g3")
	r := route(side("g1", 50, g1), side("g2", 50, g2))
	r.Sides = append(r.Sides, side("g3", 0, g3))
	apply(t, p.Router, r)
	g2.server.Close()
	if !p.Alone {
		report := run(t, p.Router, load.Options{Rate: 100, Count: 200, Kinds: []load.Kind{
			{Name: "get", Path: "/"}, {Name: "order", Method: http.MethodPost, Path: "/", Body: `{}`},
		}}, nil)
		if by := report.Requests.ByGeneration; by["g1"] != 200 || report.Requests.Failed != 0 {
			t.Errorf("%+v %v; want all of them answered by g1", report.Requests, report.Failures)
		}
	}
	r.Sides[0].Weight, r.Sides[1].Weight = 0, 100
	apply(t, p.Router, r)
	if status, generation := answer(t, p.Router, Host); status < 500 || generation != "" {
		t.Errorf("%d from %q; want no side without a share to take over", status, generation)
	}
	if n := g3.got.Load(); n != 0 {
		t.Errorf("a side without a share got %d requests", n)
	}
}

// testOnce has an endpoint break every connection once it has read the request: it must not get the request again, nor may
// anybody else.
func testOnce(t *testing.T, p Peer) {
	broken := newBackend(t, p, "g1")
	inner := broken.server.Config.Handler
	broken.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = io.ReadAll(r.Body)
			broken.got.Add(1)
			panic(http.ErrAbortHandler)
		}
		inner.ServeHTTP(w, r)
	})
	other := newBackend(t, p, "g2")
	apply(t, p.Router, route(side("g1", 50, broken), side("g2", 50, other)))
	report := run(t, p.Router, load.Options{Rate: 5, Count: 20, Kinds: []load.Kind{
		{Name: "order", Method: http.MethodPost, Path: "/", Body: `{}`},
	}}, nil)
	if got := broken.got.Load() + other.got.Load(); got > 20 || broken.got.Load() != report.Requests.Failed {
		t.Errorf("20 orders arrived %d times; %d failed, %d were broken", got, report.Requests.Failed, broken.got.Load())
	}
}

// testStopped stops Apply at many moments. The next Apply completes, whatever the last one left.
func testStopped(t *testing.T, p Peer) {
	g1, g2 := newBackend(t, p, "g1"), newBackend(t, p, "g2")
	start := time.Now()
	apply(t, p.Router, route(side("g1", 100, g1), side("g2", 0, g2)))
	whole := time.Since(start)
	for i := range 20 {
		want := route(side("g1", 100-i-1, g1), side("g2", i+1, g2))
		ctx, cancel := context.WithTimeout(t.Context(), whole*time.Duration(i)/15)
		err := p.Router.Apply(ctx, want)
		cancel()
		seen := observe(t, p.Router).Route
		if weight := seen.Sides[1].Weight; weight != i && weight != i+1 || err == nil && weight != i+1 {
			t.Fatalf("weight %d after Apply of %d gave %v; want the old or the new one", weight, i+1, err)
		}
		apply(t, p.Router, want)
		if diff := cmp.Diff(want, observe(t, p.Router).Route); diff != "" {
			t.Fatalf("after a stop (-applied +observed):\n%s", diff)
		}
	}
}

func testInFlight(t *testing.T, p Peer) {
	if p.Uncounted {
		t.Skip("this router does not count requests")
	}
	g1, g2 := newBackend(t, p, "g1"), newBackend(t, p, "g2")
	apply(t, p.Router, route(side("g1", 0, g1), side("g2", 100, g2)))
	if diff := cmp.Diff(map[string]traffic.Counters{"g1": {}, "g2": {}}, observe(t, p.Router).Counts, cmpopts.IgnoreFields(traffic.Counters{}, "Served")); diff != "" {
		t.Errorf("at rest (-want +got):\n%s", diff)
	}
	run(t, p.Router, load.Options{Rate: 100, Count: 7, Kinds: []load.Kind{{Name: "long", Path: "/long"}}}, func(*load.Generator) {
		until(t, 2*time.Second, "seven requests are in flight", func() bool {
			return observe(t, p.Router).Counts["g2"].InFlight == 7
		})
	})
	until(t, 5*time.Second, "none is in flight", func() bool { return observe(t, p.Router).Counts["g2"].InFlight == 0 })
}

// testServed has one side fail every fourth request, and wants both counted, by a router that counts.
func testServed(t *testing.T, p Peer) {
	good, failing := newBackend(t, p, "g1"), newBackend(t, p, "g2")
	inner := failing.server.Config.Handler
	failing.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" && failing.got.Load()%4 == 3 {
			failing.got.Add(1)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		inner.ServeHTTP(w, r)
	})
	apply(t, p.Router, route(side("g1", 50, good), side("g2", 50, failing)))
	before := observe(t, p.Router).Counts
	if before["g1"].Served == nil {
		t.Skip("this router does not count requests by generation")
	}
	got1, got2 := good.got.Load(), failing.got.Load()
	report := run(t, p.Router, load.Options{Rate: 200, Count: 400, Kinds: []load.Kind{{Name: "order", Method: http.MethodPost, Path: "/", Body: `{}`}}}, nil)
	after := observe(t, p.Router).Counts
	g1, g2 := after["g1"].Served.Since(*before["g1"].Served), after["g2"].Served.Since(*before["g2"].Served)
	if g1.Requests != good.got.Load()-got1 || g2.Requests != failing.got.Load()-got2 || g1.Failures != 0 || g2.Failures != report.Requests.Failed || g2.Failures == 0 {
		t.Errorf("counted %+v and %+v; %d and %d were sent, and %d failed", g1, g2, good.got.Load()-got1, failing.got.Load()-got2, report.Requests.Failed)
	}
	if p90 := g1.Quantile(0.9); p90 <= 0 || p90 > time.Second || g1.Answered() != g1.Requests {
		t.Errorf("90 %% of %d answers took %v", g1.Answered(), p90)
	}
}

func testRemove(t *testing.T, p Peer) {
	before := p.Foreign()
	b := newBackend(t, p, "g1")
	apply(t, p.Router, route(side("g1", 100, b), side("g2", 0)))
	for range 2 {
		if err := p.Router.Remove(t.Context(), Host); err != nil {
			t.Fatal(err)
		}
		if seen := observe(t, p.Router); seen != nil {
			t.Errorf("a route is left: %+v", seen)
		}
	}
	if diff := cmp.Diff(before, p.Foreign()); diff != "" {
		t.Errorf("something else is left, or gone (-before +after):\n%s", diff)
	}
	if _, generation := answer(t, p.Router, Host); generation != "" {
		t.Errorf("%s answers without a route", generation)
	}
}

func testAway(t *testing.T, p Peer) {
	b := newBackend(t, p, "g1")
	_, observed := p.Away.Observe(t.Context(), Host)
	for name, err := range map[string]error{
		"observe": observed,
		"apply":   p.Away.Apply(t.Context(), route(side("g1", 100, b), side("g2", 0, b))),
		"remove":  p.Away.Remove(t.Context(), Host),
	} {
		if fault.CodeOf(err) != fault.Unavailable || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, want an error of code unavailable with a hint", name, err)
		}
	}
}

func testForeign(t *testing.T, p Peer) {
	before := p.Foreign()
	b := newBackend(t, p, "g1")
	for weight := range 3 {
		apply(t, p.Router, route(side("g1", 100-weight, b), side("g2", weight, b)))
	}
	if diff := cmp.Diff(before, p.Foreign()); diff != "" {
		t.Errorf("configuration of others changed (-before +after):\n%s", diff)
	}
}

// run puts a load on the router's entry while something is done; without that, until its count is reached.
func run(t *testing.T, r traffic.Router, o load.Options, meanwhile func(*load.Generator)) load.Report {
	t.Helper()
	o.Entry, o.Host = r.Entry(), Host
	if o.HTTP2 == "" {
		o.Kinds = slices.DeleteFunc(o.Kinds, func(k load.Kind) bool { return k.HTTP2 })
	}
	g, err := load.New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan load.Report, 1)
	go func() { done <- g.Run(t.Context()) }()
	if meanwhile != nil {
		meanwhile(g)
		if o.Count == 0 {
			g.Stop()
		}
	}
	return <-done
}
