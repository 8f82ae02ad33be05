package caddy_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/caddy"
	"github.com/crossfade-dev/crossfade/internal/traffic/conformance"
)

const host = conformance.Host

func TestMain(m *testing.M) {
	conformance.Helper(func(self string) (traffic.Router, error) {
		admin, listen, _ := strings.Cut(self, " ")
		return caddy.New(caddy.Options{Admin: admin, Listen: listen, Edge: true})
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

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Peer {
		router, status := startEdge(t)
		admin(t, status, http.MethodPut, "/config/apps/http/servers/theirs", others)
		admin(t, status, http.MethodPut, "/config/apps/http/servers/"+edge.Server+"/routes/0",
			`{"match": [{"path": ["/robots.txt"]}], "handle": [{"handler": "static_response", "body": "none"}]}`)
		return conformance.Peer{
			Self:   status.Admin + " " + status.Listen,
			Router: router, Foreign: func() string { return foreign(t, status) },
			Away: newRouter(t, "http://"+freeAddress(t), status.Listen),
		}
	})
}
