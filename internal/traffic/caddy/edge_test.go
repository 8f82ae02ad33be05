package caddy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/caddy"
	"github.com/crossfade-dev/crossfade/internal/traffic/conformance"
)

const host = conformance.Host

func TestMain(m *testing.M) {
	conformance.Helper(func(self string) (traffic.Router, error) {
		var o caddy.Options
		if _, err := fmt.Sscan(self, &o.Admin, &o.Listen, &o.Edge); err != nil {
			return nil, err
		}
		return caddy.New(o)
	})
	os.Exit(m.Run())
}

// startEdge runs an edge for the time of a test.
func startEdge(t *testing.T) (*caddy.Router, edge.Status) {
	t.Helper()
	dir, err := os.MkdirTemp("", "crossfade-test-") // short enough for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	status, err := edge.Start(t.Context(), edge.Options{StateDir: dir, Listen: freeAddress(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := edge.Stop(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	return newRouter(t, status.Admin, status.Listen), status
}

func newRouter(t *testing.T, admin, listen string) *caddy.Router {
	t.Helper()
	router, err := caddy.New(caddy.Options{Admin: admin, Listen: listen, Edge: true})
	if err != nil {
		t.Fatal(err)
	}
	return router
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestEveryCheckFails has the only endpoint fail its checks, as all of them do on a machine with too much to do: its users are answered.
func TestEveryCheckFails(t *testing.T) {
	router, _ := startEdge(t)
	var failing atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			failing.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(s.Close)
	route := traffic.Route{
		Host: "shop.example.com", PreLiveHost: "next.example.com", PreLive: "g1", Health: traffic.Health{Path: "/healthz", Interval: 50 * time.Millisecond},
		Sides: []traffic.Side{{Generation: "g1", Endpoints: []string{strings.TrimPrefix(s.URL, "http://")}, Weight: 100}},
	}
	if err := router.Apply(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); failing.Load() < 5; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("the endpoint is not asked")
		}
	}
	for _, host := range []string{"shop.example.com", "next.example.com"} {
		begun := time.Now()
		if status := ask(t, router, host); status != http.StatusOK || time.Since(begun) > 2*time.Second {
			t.Errorf("%s answers with %d after %v, want 200 at once", host, status, time.Since(begun))
		}
	}
	s.Close()
	if status := ask(t, router, "shop.example.com"); status < http.StatusInternalServerError {
		t.Errorf("an endpoint that is gone answers with %d", status)
	}
}

// TestAhead leads those who ask for it to a side without weight, and mirrors what is safe to do twice there.
func TestAhead(t *testing.T) {
	router, _ := startEdge(t)
	var posts, copies atomic.Int64
	serve := func(generation, price string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Crossfade-Mirror") != "" {
				copies.Add(1)
				if r.Method == http.MethodPost {
					posts.Add(1)
				}
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Generation", generation)
			fmt.Fprintf(w, `{"price": %s}`, price)
		}))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	route := traffic.Route{
		Host: "shop.example.com", PreLiveHost: "next.example.com", PreLive: "g2",
		Sides: []traffic.Side{
			{Generation: "g1", Endpoints: []string{serve("g1", "1")}, Weight: 100}, {Generation: "g2", Endpoints: []string{serve("g2", `"1"`)}},
		},
		Chosen: &traffic.Chosen{Header: "X-Version", Value: "next", Generation: "g2"},
	}
	apply(t, router, route)
	for value, want := range map[string]string{"": "g1", "next": "g2", "nextone": "g1"} {
		if got := generationOf(t, router, http.MethodGet, value); got != want {
			t.Errorf("X-Version: %q leads to %s, want %s", value, got, want)
		}
	}
	route.Chosen, route.Mirror = nil, &traffic.Mirror{Generation: "g2", Share: 100}
	apply(t, router, route)
	const each = 20
	for range each {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if got := generationOf(t, router, method, "next"); got != "g1" {
				t.Fatalf("a user of the mirror is answered by %q", got)
			}
		}
	}
	mirrored := traffic.Mirrored{}
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); mirrored.Compared < each && time.Now().Before(deadline); <-tick.C {
		seen, err := router.Observe(t.Context(), "shop.example.com")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(route.Mirror, seen.Route.Mirror); diff != "" {
			t.Fatalf("the mirror (-applied +observed):\n%s", diff)
		}
		mirrored = *seen.Counts["g2"].Mirrored
	}
	want := traffic.Mirrored{
		Compared: each, Differing: each, Differences: []traffic.Difference{{What: ".price is a string, not a number", Example: "GET /", Times: each}},
	}
	if diff := cmp.Diff(want, mirrored); diff != "" || posts.Load() != 0 || copies.Load() != each {
		t.Errorf("%d copies, %d of them of POSTs; mirrored (-want +got):\n%s", copies.Load(), posts.Load(), diff)
	}
}

// TestSticky wants users to stay where they are as the shares change, but for those whose turn it is, and to follow when their side loses its share.
func TestSticky(t *testing.T) {
	const users = 200
	router, _ := startEdge(t)
	serve := func(generation string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Generation", generation)
			http.SetCookie(w, &http.Cookie{Name: "theirs", Value: generation})
		}))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	route := traffic.Route{Host: "shop.example.com", Sticky: true, Sides: []traffic.Side{
		{Generation: "g1", Endpoints: []string{serve("g1")}}, {Generation: "g2", Endpoints: []string{serve("g2")}},
	}}
	cookies := make([]string, users)
	visit := func(user int) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, router.Entry(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "shop.example.com"
		if cookies[user] != "" {
			req.AddCookie(&http.Cookie{Name: "crossfade", Value: cookies[user]})
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		theirs := ""
		for _, c := range res.Cookies() {
			switch {
			case c.Name == "theirs":
				theirs = c.Value
			case c.Name == "crossfade" && cookies[user] != "":
				t.Fatalf("user %d has a cookie, and is given another one", user)
			case c.Name == "crossfade":
				cookies[user] = c.Value
			}
		}
		if cookies[user] == "" || theirs == "" {
			t.Fatalf("user %d got the cookies %v", user, res.Cookies())
		}
		return theirs
	}
	was := make([]string, users)
	for _, share := range []int{0, 5, 50, 100, 50, 0} {
		route.Sides[0].Weight, route.Sides[1].Weight = 100-share, share
		apply(t, router, route)
		fresh, moved := 0, 0
		for user := range users {
			is := visit(user)
			if again := visit(user); again != is {
				t.Fatalf("at %d %%: user %d is on %s, and then on %s", share, user, is, again)
			}
			if is == "g2" {
				fresh++
			}
			if was[user] != "" && was[user] != is {
				moved++
			}
			was[user] = is
		}
		got := 100 * fresh / users
		t.Logf("at %d %%: %d %% of the users are on g2, %d have moved", share, got, moved)
		if got < share-12 || got > share+12 || (share == 0 || share == 100) && got != share || moved > users*62/100 {
			t.Errorf("at %d %%: %d %% of the users are on g2, %d of %d have moved", share, got, moved, users)
		}
	}
}

func apply(t *testing.T, router *caddy.Router, r traffic.Route) {
	t.Helper()
	if err := router.Apply(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// generationOf is the generation that answers a user who asks for a version.
func generationOf(t *testing.T, router *caddy.Router, method, version string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, router.Entry()+"/?q=1", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "shop.example.com"
	if version != "" {
		req.Header.Set("X-Version", version)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.Header.Get("X-Generation")
}

// ask sends one request for a host, and returns the status of its answer.
func ask(t *testing.T, router *caddy.Router, host string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, router.Entry(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// admin calls the admin endpoint of an edge.
func admin(t *testing.T, s edge.Status, method, path, body string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(s.Admin, "unix/"))
		},
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s %v", method, path, res.StatusCode, raw, err)
	}
	return string(raw)
}

// foreign returns the configuration without the routes of ours, as text.
func foreign(t *testing.T, s edge.Status) string {
	t.Helper()
	var config any
	if err := json.Unmarshal([]byte(admin(t, s, http.MethodGet, "/config/", "")), &config); err != nil {
		t.Fatal(err)
	}
	raw, err := json.MarshalIndent(without(config), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// without drops every object in lists whose @id is ours.
func without(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			v[k] = without(inner)
		}
	case []any:
		rest := []any{}
		for _, inner := range v {
			if m, ok := inner.(map[string]any); ok {
				if id, _ := m["@id"].(string); strings.HasPrefix(id, "crossfade:") {
					continue
				}
			}
			rest = append(rest, without(inner))
		}
		return rest
	}
	return v
}

// others is configuration of somebody else: a server of their own, a route on ours, numbers that must keep their form.
const others = `{
  "listen": ["127.0.0.1:0"], "idle_timeout": 123456789012345678, "automatic_https": {"disable": true},
  "routes": [{"@id": "theirs", "match": [{"host": ["blog.example.com"]}], "handle": [{"handler": "static_response", "body": "blog"}]}]
}`

// TestConformance runs the suite for the edge.
func TestConformance(t *testing.T) { conform(t, true) }

// TestAnyCaddy runs the suite for the routes that any other Caddy gets, which need nothing of ours in it.
func TestAnyCaddy(t *testing.T) { conform(t, false) }

func conform(t *testing.T, ours bool) {
	conformance.Run(t, func(t *testing.T) conformance.Peer {
		_, status := startEdge(t)
		admin(t, status, http.MethodPut, "/config/apps/http/servers/theirs", others)
		admin(t, status, http.MethodPut, "/config/apps/http/servers/"+edge.Server+"/routes/0",
			`{"match": [{"path": ["/robots.txt"]}], "handle": [{"handler": "static_response", "body": "none"}]}`)
		open := func(admin string) *caddy.Router {
			router, err := caddy.New(caddy.Options{Admin: admin, Listen: status.Listen, Edge: ours})
			if err != nil {
				t.Fatal(err)
			}
			return router
		}
		router := open(status.Admin)
		return conformance.Peer{
			HTTP2: router.Entry(), Self: fmt.Sprintln(status.Admin, status.Listen, ours),
			Router: router, Foreign: func() string { return foreign(t, status) }, Away: open("http://" + freeAddress(t)),
		}
	})
}
