// Package conformance is the suite that every router must pass, against the real thing. A router's test calls Run.
package conformance

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Host and PreLiveHost are the names that the suite routes.
const (
	Host        = "shop.example.com"
	PreLiveHost = "next.shop.example.com"
)

// Peer is a router with the real thing behind it, for one test.
type Peer struct {
	Router traffic.Router
	// Foreign returns everything in the configuration of the real thing that the suite's route has no part in, as text.
	Foreign func() string
	// Away is a router of the same kind for a real thing that does not answer.
	Away traffic.Router
	// HTTP2 is the URL at which the real thing speaks HTTP/2 without TLS; "" where it does not.
	HTTP2 string
	// Self is what has the opener that was given to Helper open the same router in another process.
	Self string
	// Unwatched says that the real thing asks no endpoint by itself.
	Unwatched bool
	// Uncounted says that the real thing does not count what is under way.
	Uncounted bool
	// Alone says that no side stands in for another one.
	Alone bool
	// Listen is the address of this machine at which the real thing reaches endpoints; 127.0.0.1 when empty.
	Listen string
}

// backend is one endpoint of a generation. It says who it is, and counts what it gets.
type backend struct {
	generation string
	address    string
	server     *httptest.Server
	got        atomic.Int64 // requests other than health checks
	sick       atomic.Bool  // whether its health check fails
}

// newBackend starts an endpoint that answers for the time of a test.
func newBackend(t *testing.T, p Peer, generation string) *backend {
	t.Helper()
	b := &backend{generation: generation}
	listen, err := net.Listen("tcp", net.JoinHostPort(cmp.Or(p.Listen, "127.0.0.1"), "0"))
	if err != nil {
		t.Fatal(err)
	}
	b.server = &httptest.Server{Listener: listen, Config: &http.Server{Handler: b}}
	b.server.Start()
	b.address = strings.TrimPrefix(b.server.URL, "http://")
	t.Cleanup(b.server.Close)
	return b
}

// ServeHTTP answers: /healthz by the backend's health, /long and /download with a chunk every 50 ms for 3 s and 30 s, /upgrade by an echo over the
// connection, and everything else with its name and the request's body.
func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		if b.sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return
	}
	b.got.Add(1)
	w.Header().Set("X-Generation", b.generation)
	switch r.URL.Path {
	case "/long":
		chunks(w, r, longChunks)
	case "/download":
		chunks(w, r, downloadChunks)
	case "/upgrade":
		echo(w, r.Header.Get("Upgrade"))
	default:
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", b.generation, body)
	}
}

// longChunks and downloadChunks are the lines of the long responses.
const (
	longChunks     = 60
	downloadChunks = 600
)

// chunks answers with lines.
func chunks(w http.ResponseWriter, r *http.Request, n int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		fmt.Fprintf(w, "%d\n", i)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// echo upgrades the connection to a protocol, with the answer to the key that upgrade sends (RFC 6455 section 1.3), and sends back what comes.
func echo(w http.ResponseWriter, protocol string) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", protocol)
	_, _ = io.Copy(c, rw)
}

// checkLong says whether a body is the whole long response.
func checkLong(_ int, body []byte) error {
	return whole(body, longChunks)
}

// checkDownload says whether a body is the whole download.
func checkDownload(_ int, body []byte) error { return whole(body, downloadChunks) }

func whole(body []byte, n int) error {
	if !strings.HasSuffix(string(body), "\n"+strconv.Itoa(n-1)+"\n") {
		return fmt.Errorf("the long response ends after %d bytes", len(body))
	}
	return nil
}

// side makes a side of a route.
func side(generation string, weight int, backends ...*backend) traffic.Side {
	s := traffic.Side{Generation: generation, Weight: weight}
	for _, b := range backends {
		s.Endpoints = append(s.Endpoints, b.address)
	}
	return s
}

// route makes a route of two sides, of which g2 is the pre-live one.
func route(g1, g2 traffic.Side) traffic.Route {
	return traffic.Route{
		Host: Host, PreLiveHost: PreLiveHost, PreLive: g2.Generation, Sides: []traffic.Side{g1, g2},
		Health: traffic.Health{Path: "/healthz", Interval: 200 * time.Millisecond}, Drain: 10 * time.Second,
	}
}

func apply(t *testing.T, r traffic.Router, route traffic.Route) {
	t.Helper()
	if err := r.Apply(t.Context(), route); err != nil {
		t.Fatal(err)
	}
}

func observe(t *testing.T, r traffic.Router) *traffic.Observed {
	t.Helper()
	seen, err := r.Observe(t.Context(), Host)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// answer asks the router's entry for a host, and returns the status and which generation answered.
func answer(t *testing.T, r traffic.Router, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.Entry()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode, res.Header.Get("X-Generation")
}

// dial opens a connection to the router's entry.
func dial(t *testing.T, r traffic.Router) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.Entry(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// until waits for a condition to hold.
func until(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", limit, what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
