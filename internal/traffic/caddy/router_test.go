package caddy

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// fakeAdmin is the part of Caddy's admin API that concerns a change: a document with an Etag.
type fakeAdmin struct {
	mu       sync.Mutex
	document string
	writes   int
	// before is called before each request is handled, with its number; false breaks the connection.
	before func(n int, r *http.Request) bool
	calls  int
}

func (f *fakeAdmin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.before != nil && !f.before(f.calls, r) {
		panic(http.ErrAbortHandler)
	}
	switch {
	case r.URL.Path == "/reverse_proxy/upstreams":
		fmt.Fprint(w, `[{"address":"a:1","num_requests":2,"fails":0},{"address":"tcp/a:1","num_requests":1,"fails":9},{"address":"b:1","num_requests":0,"fails":3}]`)
	case r.URL.Path == "/metrics":
		fmt.Fprint(w, "# HELP x\ncaddy_reverse_proxy_upstreams_healthy{upstream=\"a:1\"} 1\ncaddy_reverse_proxy_upstreams_healthy{upstream=\"a:2\"} 0\n")
	case r.Method == http.MethodGet:
		w.Header().Set("Etag", f.etag())
		fmt.Fprint(w, f.document)
	case r.Header.Get("If-Match") != f.etag():
		w.WriteHeader(http.StatusPreconditionFailed)
	default:
		raw, _ := io.ReadAll(r.Body)
		f.document = string(raw)
		f.writes++
	}
}

func (f *fakeAdmin) etag() string {
	h := fnv.New64()
	_, _ = h.Write([]byte(f.document))
	return `"/config/ ` + hex.EncodeToString(h.Sum(nil)) + `"`
}

func newFake(t *testing.T, document string) (*fakeAdmin, *Router) {
	t.Helper()
	f := &fakeAdmin{document: document}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	r, err := New(Options{Admin: s.URL, Listen: ":8080"})
	if err != nil {
		t.Fatal(err)
	}
	return f, r
}

func shop(weight int) traffic.Route {
	return traffic.Route{
		Host: "shop.example.com", PreLiveHost: "next.example.com", PreLive: "g2", Drain: time.Minute,
		Sides: []traffic.Side{
			{Generation: "g1", Endpoints: []string{"a:1", "a:2"}, Weight: 100 - weight},
			{Generation: "g2", Endpoints: []string{"b:1"}, Weight: weight},
		},
		Health: traffic.Health{Path: "/healthz"},
	}
}

func TestASecondApplyWritesNothing(t *testing.T) {
	fake, r := newFake(t, "null")
	for range 3 {
		if err := r.Apply(t.Context(), shop(5)); err != nil {
			t.Fatal(err)
		}
	}
	if fake.writes != 1 {
		t.Errorf("%d changes of configuration for three times the same route, want 1", fake.writes)
	}
	for range 2 {
		if err := r.Remove(t.Context(), "shop.example.com"); err != nil {
			t.Fatal(err)
		}
	}
	if fake.writes != 2 {
		t.Errorf("%d changes, want one for two removals", fake.writes-1)
	}
}

func TestApplyIsStoppedBetweenAnyTwoCalls(t *testing.T) {
	for n := 1; n <= 3; n++ {
		for _, when := range []string{"before", "after"} { // the call that breaks had no effect, or had it
			fake, r := newFake(t, "null")
			stopped := true
			fake.before = func(call int, req *http.Request) bool {
				if !stopped || call < n {
					return true
				}
				if when == "after" && req.Method == http.MethodPost && call == n {
					raw, _ := io.ReadAll(req.Body)
					fake.document = string(raw)
				}
				return false
			}
			err := r.Apply(t.Context(), shop(5))
			if fault.CodeOf(err) != fault.Unavailable {
				t.Fatalf("stopped %s call %d: %v, want an error of code unavailable", when, n, err)
			}
			stopped = false
			if err := r.Apply(t.Context(), shop(5)); err != nil {
				t.Fatalf("again after it was stopped %s call %d: %v", when, n, err)
			}
			seen, err := r.Observe(t.Context(), "shop.example.com")
			if err != nil || seen == nil || seen.Route.Sides[1].Weight != 5 {
				t.Errorf("stopped %s call %d: observed %+v, %v", when, n, seen, err)
			}
		}
	}
}

func TestSomebodyElseWritesInBetween(t *testing.T) {
	fake, r := newFake(t, `{"logging":{}}`)
	others := 0
	fake.before = func(_ int, req *http.Request) bool {
		if req.Method == http.MethodPost && others < 3 {
			others++
			fake.document = fmt.Sprintf(`{"logging":{"n":%d}}`, others)
		}
		return true
	}
	if err := r.Apply(t.Context(), shop(5)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(fake.document, `"n":3`) {
		t.Errorf("what somebody else wrote is gone: %s", fake.document)
	}
}

func TestSomebodyElseWritesAlways(t *testing.T) {
	fake, r := newFake(t, "null")
	fake.before = func(n int, req *http.Request) bool {
		fake.document = fmt.Sprintf(`{"logging":{"n":%d}}`, n)
		return true
	}
	err := r.Apply(t.Context(), shop(5))
	if fault.CodeOf(err) != fault.Unavailable || fake.writes != 0 {
		t.Errorf("%v after %d writes; want it to give up for now", err, fake.writes)
	}
}

func TestPlaceOfARoute(t *testing.T) {
	const ours = `"crossfade:shop.example.com"`
	cases := map[string]struct {
		before string
		want   string // part of the document afterwards, without the route itself
		code   fault.Code
	}{
		"no configuration": {before: `null`, want: `{"apps":{"http":{"servers":{"crossfade":{"automatic_https":{"disable":true},"listen":[":8080"],"routes":[ROUTE]}}}}}`},
		"a server that listens": {
			before: `{"apps":{"http":{"servers":{"web":{"listen":[":80","tcp/:8080"],"routes":[{"handle":[]}]}}}}}`,
			want:   `{"apps":{"http":{"servers":{"web":{"listen":[":80","tcp/:8080"],"routes":[ROUTE,{"handle":[]}]}}}}}`,
		},
		"on another listener": {
			before: `{"apps":{"http":{"servers":{"a":{"listen":[":80"],"routes":[{"@id":` + ours + `}]},"b":{"listen":[":8080"]}}}}}`,
			want:   `{"apps":{"http":{"servers":{"a":{"listen":[":80"],"routes":[]},"b":{"listen":[":8080"],"routes":[ROUTE]}}}}}`,
		},
		"changed by other hands": {
			before: `{"apps":{"http":{"servers":{"b":{"listen":[":8080"],"routes":[{"@id":"x"},{"@id":` + ours + `}]}}}}}`,
			want:   `{"apps":{"http":{"servers":{"b":{"listen":[":8080"],"routes":[{"@id":"x"},ROUTE]}}}}}`,
		},
		"our name is taken": {before: `{"apps":{"http":{"servers":{"crossfade":{"listen":[":1"]}}}}}`, code: fault.Invalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			fake, r := newFake(t, c.before)
			err := r.Apply(t.Context(), shop(5))
			if fault.CodeOf(err) != c.code {
				t.Fatalf("%v, want code %q", err, c.code)
			}
			if err != nil {
				return
			}
			route, err := normal(shop(5))
			if err != nil {
				t.Fatal(err)
			}
			var want any
			if err := convert(routeOf(route, false), &want); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, strings.Replace(fake.document, string(raw), "ROUTE", 1)); diff != "" {
				t.Errorf("document (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCounters(t *testing.T) {
	_, r := newFake(t, "null")
	if err := r.Apply(t.Context(), shop(5)); err != nil {
		t.Fatal(err)
	}
	seen, err := r.Observe(t.Context(), "shop.example.com")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]traffic.Counters{"g1": {InFlight: 3, Unhealthy: 1}, "g2": {Unhealthy: 1}}
	if diff := cmp.Diff(want, seen.Counts); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

func TestObserveOfAForgedRoute(t *testing.T) {
	for name, route := range map[string]string{
		"no sides":   `"match":[{"host":["shop.example.com"]}],"handle":[{"handler":"subroute"},{"handler":"static_response"}]`,
		"one":        `"match":[{"host":["a"]}],"handle":[{"handler":"subroute"}]`,
		"wrong type": `"match":7`,
		"no drain":   `"match":[{"host":["a"]}],"handle":[{"errors":{"routes":[{"handle":[]}]}},{}]`,
		"bad drain":  `"match":[{"host":["a"]}],"handle":[{"errors":{"routes":[{"handle":[{"crossfade_drain":"soon"},{}]}]}},{}]`,
		"side":       `"match":[{"host":["a"]}],"handle":[{"routes":[{"handle":[]}],"errors":{"routes":[{"handle":[{"crossfade_drain":"1s"},{}]}]}},{}]`,
	} {
		_, r := newFake(t, `{"apps":{"http":{"servers":{"a":{"routes":[{"@id":"crossfade:shop.example.com",`+route+`}]}}}}}`)
		if _, err := r.Observe(t.Context(), "shop.example.com"); fault.CodeOf(err) != fault.Failed || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want an error of one line", name, err)
		}
	}
}

// TestGolden shows what a route looks like in Caddy, for people who read it there.
func TestGolden(t *testing.T) {
	route, err := normal(shop(25))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(routeOf(route, false), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "route.json")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("route (-want +got):\n%s", diff)
	}
}

func TestEveryRouteIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := traffic.Route{Host: "shop.example.com", Drain: time.Duration(rapid.IntRange(0, 3600).Draw(t, "drain")) * time.Second}
		left := 100
		n := rapid.IntRange(1, 5).Draw(t, "sides")
		for i := range n {
			w := rapid.IntRange(0, left).Draw(t, "weight")
			if i == n-1 {
				w = left
			}
			left -= w
			want.Sides = append(want.Sides, traffic.Side{Generation: fmt.Sprint("g", i), Endpoints: []string{fmt.Sprintf("10.0.0.%d:80", i)}, Weight: w})
		}
		if rapid.Bool().Draw(t, "pre-live") {
			want.PreLiveHost, want.PreLive = "next.example.com", "g0"
		}
		if rapid.Bool().Draw(t, "health") {
			want.Health = traffic.Health{Path: "/healthz", Interval: time.Second}
		}
		want.H2C = rapid.Bool().Draw(t, "h2c")
		want.Sticky = rapid.Bool().Draw(t, "sticky")
		if n > 1 && rapid.Bool().Draw(t, "chosen") {
			want.Chosen = &traffic.Chosen{Header: "X-Version", Value: "next", Generation: "g1"}
		}
		if want.Sides[0].Weight < 100 && rapid.Bool().Draw(t, "mirror") {
			want.Mirror = &traffic.Mirror{Generation: "g0", Tally: "r1/2", Share: rapid.IntRange(1, 100).Draw(t, "share"), Headers: []string{"Etag"}}
		}
		route, err := normal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parse(routeOf(route, rapid.Bool().Draw(t, "edge")))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
	})
}

func TestNew(t *testing.T) {
	for _, o := range []Options{
		{Admin: "localhost:2019", Listen: ":80"},
		{Admin: "", Listen: ":80"},
		{Admin: "unix/", Listen: ":80"},
		{Admin: "http://localhost:2019", Listen: "80"},
	} {
		if _, err := New(o); fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" {
			t.Errorf("%+v: %v, want an error of code invalid with a hint", o, err)
		}
	}
	for listen, want := range map[string]string{
		":8080": "http://127.0.0.1:8080", "0.0.0.0:80": "http://127.0.0.1:80", "10.1.2.3:80": "http://10.1.2.3:80",
	} {
		r, err := New(Options{Admin: "unix//run/caddy.sock", Listen: listen})
		if err != nil || r.Entry() != want {
			t.Errorf("entry of %s: %v, %v; want %s", listen, r, err, want)
		}
	}
}
