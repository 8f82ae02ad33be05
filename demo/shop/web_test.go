package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// do sends a request and reads the whole answer.
func do(t *testing.T, req *http.Request) (int, http.Header, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("the answer was cut off: %v", err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

func newWeb(t *testing.T, cfg settings) (*httptest.Server, *web) {
	t.Helper()
	app := &web{
		orders: newOrdersClient(cfg), reached: &reach{now: time.Now}, catalog: &catalog{}, banner: cfg.banner, slowChunk: time.Millisecond,
	}
	s := testServer(cfg)
	srv := httptest.NewServer(s.wrap(app.handler(s)))
	t.Cleanup(srv.Close)
	t.Cleanup(app.orders.http.CloseIdleConnections)
	return srv, app
}

func TestWeb(t *testing.T) {
	banner := filepath.Join(t.TempDir(), "banner")
	if err := os.WriteFile(banner, []byte("Fresh <beans>"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason             string
		method, path, body string
		status             int
		contains           string
	}{
		"Front":        {"Products are shown.", "GET", "/", "", 200, "<li>Espresso: 12.50 EUR</li>"},
		"Banner":       {"The banner is shown as text.", "GET", "/", "", 200, "Fresh &lt;beans&gt;"},
		"Products":     {"The same as data.", "GET", "/products", "", 200, `{"products":[{"name":"espresso","title":"Espresso","price":"12.50 EUR"}]}`},
		"Order":        {"The orders API's answer comes through.", "POST", "/orders", `{"product":"espresso","quantity":1}`, 201, `"id":"o-`},
		"BadOrder":     {"And so does its refusal.", "POST", "/orders", `{}`, 400, "not a product's name"},
		"HugeOrder":    {"Bodies are bounded before they travel.", "POST", "/orders", strings.Repeat("x", maxOrder+1), 400, "too large"},
		"Healthy":      {"The orders API was reached.", "GET", "/healthz", "", 200, "ok"},
		"Ready":        {"The orders API was reached.", "GET", "/readyz", "", 200, "ready"},
		"Slow":         {"All chunks come, and an end.", "GET", "/slow?seconds=0.6", "", 200, "chunk 1 of 3\nchunk 2 of 3\nchunk 3 of 3\ndone\n"},
		"SlowShort":    {"There is one chunk at least.", "GET", "/slow?seconds=0.01", "", 200, "chunk 1 of 1\ndone\n"},
		"SlowTooLong":  {"Bounded.", "GET", "/slow?seconds=31", "", 400, "at most 30"},
		"SlowNegative": {"Not a length of time.", "GET", "/slow?seconds=-1", "", 400, "at most 30"},
		"SlowNaN":      {"Not a number, however Go reads it.", "GET", "/slow?seconds=NaN", "", 400, "at most 30"},
		"SlowNothing":  {"It must be said.", "GET", "/slow", "", 400, "at most 30"},
		"NoSuchPage":   {"The front page is not every page.", "GET", "/nowhere", "", 404, ""},
	}
	orders, _ := newOrders(t, 10)
	cfg := testSettings()
	cfg.ordersURL, cfg.banner = orders.URL, banner
	srv, app := newWeb(t, cfg)
	app.catalog.items.Store(&[]product{{Name: "espresso", Title: "Espresso", Price: "12.50 EUR"}})
	if err := app.watchOrders(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, srv.URL+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			status, header, body := do(t, req)
			if status != tc.status || !strings.Contains(body, tc.contains) {
				t.Errorf("%s\n%s %s: %d %q; want %d and %q", tc.reason, tc.method, tc.path, status, body, tc.status, tc.contains)
			}
			if got := header.Get(generationHeader); got != "gen-1" {
				t.Errorf("%s = %q, want gen-1", generationHeader, got)
			}
		})
	}
}

func TestWebWithoutOrders(t *testing.T) {
	cfg := testSettings()
	cfg.ordersURL = "http://127.0.0.1:1"
	srv, app := newWeb(t, cfg)
	if err := app.watchOrders(t.Context()); err == nil {
		t.Fatal("the orders API was reached where there is none")
	}
	for path, want := range map[string]int{
		"/livez": 200, "/readyz": 503, "/healthz": 503, "/": 200, "/products": 200,
	} {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s = %d, want %d", path, resp.StatusCode, want)
		}
	}
	resp, err := http.Post(srv.URL+"/orders", "application/json", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadGateway {
		t.Errorf("POST /orders = %d, want 502", resp.StatusCode)
	}
}

// TestPlaceTwice is the case that a retry exists for: the order arrived, its answer did not.
func TestPlaceTwice(t *testing.T) {
	st, s := newStore(10), testServer(testSettings())
	var calls atomic.Int32
	api := ordersHandler(s, st, testKey)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			api.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		api.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	cfg := testSettings()
	cfg.ordersURL = srv.URL
	status, answer, err := newOrdersClient(cfg).Place(t.Context(), "key-1", []byte(`{"product":"a","quantity":1}`))
	if err != nil || status != http.StatusCreated {
		t.Fatalf("Place = %d %q, %v; want 201", status, answer, err)
	}
	if diff := cmp.Diff(counts{Received: 1, Kept: 1}, st.counts()); diff != "" {
		t.Errorf("one order placed over a broken connection (-want +got):\n%s", diff)
	}
}

func TestReach(t *testing.T) {
	now := time.Unix(1000, 0)
	r := &reach{now: func() time.Time { return now }}
	type state struct{ Ever, Recent bool }
	see := func() state { return state{r.ever(), r.recent()} }
	got := []state{see()}
	r.note()
	got = append(got, see())
	now = now.Add(unreachedAfter)
	got = append(got, see())
	now = now.Add(time.Second)
	got = append(got, see())
	want := []state{{false, false}, {true, true}, {true, true}, {true, false}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("never, just now, at the limit, past it (-want +got):\n%s", diff)
	}
}
