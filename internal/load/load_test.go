package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func run(t *testing.T, o Options) Report {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.Mark("steady")
	return g.Run(t.Context())
}

func hello(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Generation", "g1")
	fmt.Fprint(w, "hello")
}

func TestOpenLoop(t *testing.T) {
	// A server that answers nothing for half a second, and then everything at once. A closed loop would send one request in
	// that time and find one slow answer among fast ones.
	const stall = 500 * time.Millisecond
	began := make(chan struct{})
	var once sync.Once
	var release <-chan time.Time
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { release = time.After(stall); close(began) })
		<-began
		select {
		case <-release:
			release = nil
		case <-time.After(stall):
		}
		hello(w, r)
	})
	report := run(t, Options{Entry: url, Rate: 100, Count: 100, Kinds: []Kind{{Name: "get", Path: "/"}}})
	if report.Requests.Sent != 100 || report.Requests.Failed != 0 {
		t.Fatalf("sent %d, failed %d; want 100 sent, none failed: %v", report.Requests.Sent, report.Requests.Failed, report.Failures)
	}
	if took := report.End.Sub(report.Start); took > 2500*time.Millisecond {
		t.Errorf("the load took %v: it waited for answers between requests", took)
	}
	if p50 := report.Latency["steady"].P50; p50 < float64(stall.Milliseconds())-20 {
		t.Errorf("median latency %v ms; every request was held for about %v", p50, stall)
	}
}

func TestLatencyCountsFromTheSlot(t *testing.T) {
	s := newStats()
	s.mark(time.Now(), []string{"steady"})
	slot := time.Now().Add(-3 * time.Second) // the generator was late by three seconds
	g := &Generator{stats: s, pool: newPool(strings.TrimPrefix(serve(t, hello), "http://")), options: Options{Timeout: time.Second}}
	g.one(t.Context(), &Kind{Path: "/"}, slot, s.sent())
	if got := s.report().Latency["steady"].P50; got < 3000 || got > 4500 {
		t.Errorf("latency %v ms of a request sent 3 s after its slot", got)
	}
}

func TestFailures(t *testing.T) {
	cases := map[string]struct {
		serve http.HandlerFunc
		kind  Kind
		want  string // part of the cause; "" for none
	}{
		"good":             {serve: hello, kind: Kind{Check: body("hello")}},
		"not found is ok":  {serve: http.NotFound},
		"status 500":       {serve: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, want: "status 500"},
		"wrong body":       {serve: hello, kind: Kind{Check: body("goodbye")}, want: "wrong body"},
		"connection reset": {serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: "no response"},
		"short body": {
			serve: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				fmt.Fprint(w, "half")
			},
			want: "body broke off after 4 bytes",
		},
		"broken chunks": {
			serve: func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, "half")
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			},
			want: "body broke off after 4 bytes",
		},
		"timeout": {
			serve: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			want:  "no whole response within 200ms",
		},
		"post": {
			serve: func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) },
			kind:  Kind{Method: "POST", Body: `{"item":1}`, Check: body(`{"item":1}`)},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.kind.Name, c.kind.Path = "k", "/"
			report := run(t, Options{
				Entry: serve(t, c.serve), Rate: 1000, Count: 3, Timeout: 200 * time.Millisecond, Kinds: []Kind{c.kind},
			})
			want := int64(0)
			if c.want != "" {
				want = 3
			}
			if report.Requests.Failed != want {
				t.Fatalf("%d failed, want %d: %v", report.Requests.Failed, want, report.Failures)
			}
			for _, f := range report.Failures {
				if !strings.Contains(f.Cause, c.want) || f.Phase != "steady" || f.Time.Before(report.Start) {
					t.Errorf("failure %+v, want the cause %q in phase steady", f, c.want)
				}
			}
		})
	}
}

func body(want string) func(int, []byte) error {
	return func(_ int, got []byte) error {
		if string(got) != want {
			return errors.New("wrong body")
		}
		return nil
	}
}

func TestNothingIsSentTwice(t *testing.T) {
	// The server breaks every re-used connection without an answer. A client of net/http would repeat the GETs in silence.
	var got atomic.Int64
	first := sync.Map{}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got.Add(1)
		if _, again := first.LoadOrStore(r.RemoteAddr, true); again {
			panic(http.ErrAbortHandler)
		}
		hello(w, r)
	})
	report := run(t, Options{Entry: url, Rate: 50, Count: 20, Kinds: []Kind{{Name: "get", Path: "/"}}})
	if r := report.Requests; got.Load() != 20 || r.Failed != r.Reused || r.Reused < 5 {
		t.Errorf("server got %d, report %+v; want 20 requests, of which the re-used ones failed", got.Load(), r)
	}
}

func TestConnectionClosedWhileIdle(t *testing.T) {
	// A server may close an idle connection; a client that looks before it writes is not hurt.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			c.Close()
		}
	}()
	report := run(t, Options{Entry: "http://" + listener.Addr().String(), Rate: 20, Count: 5, Kinds: []Kind{{Name: "get", Path: "/"}}})
	if report.Requests.Failed != 0 || report.Requests.Reused != 0 {
		t.Errorf("%+v %v; want five good requests on five connections", report.Requests, report.Failures)
	}
}

func TestPhasesAndMix(t *testing.T) {
	var posts, fresh atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			posts.Add(1)
		}
		if r.Header.Get("Connection") == "close" {
			fresh.Add(1)
		}
		hello(w, r)
	})
	g, err := New(Options{Entry: url, Host: "shop.example.com", Rate: 500, Kinds: []Kind{
		{Name: "get", Path: "/", Share: 7},
		{Name: "order", Method: "POST", Path: "/", Body: "{}", Share: 2},
		{Name: "new", Path: "/", Share: 1, NewConnection: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	g.Mark("steady")
	done := make(chan Report)
	go func() { done <- g.Run(context.Background()) }()
	reach(t, g, "steady", 50)
	g.Mark("shift", "shift 5%")
	reach(t, g, "shift", 50)
	g.Mark("steady")
	g.Stop()
	g.Stop()
	report := <-done
	sent := map[string]int64{}
	for _, p := range report.Phases {
		sent[p.Name] = p.Requests.Sent
	}
	if sent["steady"]+sent["shift"] != report.Requests.Sent || sent["shift"] != sent["shift 5%"] {
		t.Errorf("phases %v do not add up to %d", sent, report.Requests.Sent)
	}
	if want := report.Requests.Sent / 5; posts.Load() < want-2 || posts.Load() > want+2 {
		t.Errorf("%d POSTs of %d, want a fifth", posts.Load(), report.Requests.Sent)
	}
	if diff := cmp.Diff(map[string]int64{"g1": report.Requests.Sent}, report.Requests.ByGeneration); diff != "" {
		t.Errorf("by generation (-want +got):\n%s", diff)
	}
	checkJSON(t, report)
}

// reach waits until n requests of the phase are back.
func reach(t *testing.T, g *Generator, phase string, n int64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); g.Report().Latency[phase].Count < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("phase %s does not get to %d requests", phase, n)
		}
	}
}

func checkJSON(t *testing.T, r Report) {
	t.Helper()
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Requests struct {
			Sent, Failed int64
			ByStatus     map[string]int64
		}
		Latency map[string]struct{ P50, P99, P999, Count float64 } `json:"latency_ms"`
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.Requests.Sent != r.Requests.Sent || got.Requests.ByStatus["200"] == 0 || got.Latency["shift"].P99 == 0 {
		t.Errorf("the JSON lacks what readers rely on: %s", raw)
	}
}

func TestStreamLatencyIsToTheFirstByte(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for range 4 {
			fmt.Fprint(w, "chunk ")
			_ = http.NewResponseController(w).Flush()
			<-time.After(100 * time.Millisecond)
		}
	})
	kind := Kind{Name: "long", Path: "/", Stream: true, Check: body("chunk chunk chunk chunk ")}
	report := run(t, Options{Entry: url, Rate: 100, Count: 5, Kinds: []Kind{kind}})
	if report.Requests.Failed != 0 || report.Latency["steady"].P50 > 200 {
		t.Errorf("%+v, median %v ms, %v; want no failure and only the time to the first byte",
			report.Requests, report.Latency["steady"].P50, report.Failures)
	}
}

func TestCancelAbandons(t *testing.T) {
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	g, err := New(Options{Entry: url, Rate: 1000, Kinds: []Kind{{Name: "get", Path: "/"}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	report := g.Run(ctx)
	if r := report.Requests; r.Sent == 0 || r.Abandoned != r.Sent || r.Failed != 0 {
		t.Errorf("%+v; want all that was under way to be abandoned: %v", r, report.Failures)
	}
}

func TestBounds(t *testing.T) {
	url := serve(t, hello)
	if r := run(t, Options{Entry: url, Rate: 200, Duration: 200 * time.Millisecond, Kinds: []Kind{{Path: "/"}}}); r.Requests.Sent < 30 || r.Requests.Sent > 41 {
		t.Errorf("%d requests in 0.2 s at 200/s", r.Requests.Sent)
	}
	for name, o := range map[string]Options{
		"no scheme": {Entry: "localhost:80", Kinds: []Kind{{}}},
		"no kinds":  {Entry: url},
		"bad rate":  {Entry: url, Rate: -1, Kinds: []Kind{{}}},
	} {
		if _, err := New(o); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want an error of code invalid", name, err)
		}
	}
}

func TestSpread(t *testing.T) {
	got := spread([]Kind{{Share: 3}, {Share: 1}, {}})
	if diff := cmp.Diff([]int{0, 1, 0, 2, 0}, got); diff != "" {
		t.Errorf("cycle (-want +got):\n%s", diff)
	}
}

// TestHTTP2 sends over a few connections, and finds what fails.
func TestHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		if r.URL.Path == "/broken" {
			panic(http.ErrAbortHandler)
		}
		hello(w, r)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	report := run(t, Options{Entry: "http://127.0.0.1:1", HTTP2: s.URL, Rate: 500, Count: 100, Kinds: []Kind{
		{Name: "order", Method: http.MethodPost, Path: "/", Body: "{}", Share: 9, HTTP2: true}, {Name: "broken", Path: "/broken", HTTP2: true},
	}})
	if r := report.Requests; r.Failed != 10 || r.ByGeneration["g1"] != 90 || r.Reused != 100-sharers {
		t.Errorf("%+v: %v; want the ten broken ones to fail", r, report.Failures)
	}
}
