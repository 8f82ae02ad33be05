package haproxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/conformance"
	"github.com/crossfade-dev/crossfade/internal/traffic/haproxy"
	"github.com/crossfade-dev/crossfade/internal/traffic/haproxy/haproxytest"
)

// wire is before the socket of an HAProxy: it keeps what is said, and breaks when it is told to.
type wire struct {
	*haproxy.Router
	mu    sync.Mutex
	said  []string
	left  int  // calls until it breaks; below 0 for never
	after bool // it breaks after HAProxy has done what it was told, not before
}

func newWire(t *testing.T, h *haproxytest.HAProxy) *wire {
	t.Helper()
	l, err := net.Listen("unix", h.File("wire.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &wire{left: -1}
	if w.Router, err = haproxy.New(haproxy.Options{Socket: h.File("wire.sock"), Entry: "http://" + h.Address}); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.serve(conn, h.Socket())
		}
	}()
	return w
}

func (w *wire) serve(conn net.Conn, socket string) {
	defer conn.Close()
	line, _ := bufio.NewReader(conn).ReadString('\n')
	w.mu.Lock()
	breaks, after := w.left == 0, w.after
	if !breaks {
		w.left--
	}
	w.said = append(w.said, line)
	w.mu.Unlock()
	if breaks && !after {
		return
	}
	to, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer to.Close()
	_, _ = io.WriteString(to, line)
	answer, _ := io.ReadAll(to)
	if !breaks {
		_, _ = conn.Write(answer)
	}
}

// changes are the commands that were not questions since the last time.
func (w *wire) changes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, line := range w.said {
		if !strings.HasPrefix(line, "show ") {
			all = append(all, strings.TrimSpace(line))
		}
	}
	w.said = nil
	return all
}

// breakAt lets it break at a call from now on, the first of which is 0.
func (w *wire) breakAt(call int, after bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left, w.after = call, after
}

// generation answers with a name, at an address of loopback. /sick is an error. /slow sends something every 20 ms until the end of the test or of the request.
func generation(t *testing.T, name, network, address string) (string, *httptest.Server) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Generation", name)
		if r.URL.Path == "/sick" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		for tick := time.NewTicker(20 * time.Millisecond); r.URL.Path == "/slow"; {
			_, _ = io.WriteString(w, "more\n")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-ended:
				return
			case <-r.Context().Done():
				return
			}
		}
		_, _ = io.Copy(w, r.Body)
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(func() { close(ended); s.Close() })
	return l.Addr().String(), s
}

func two(t *testing.T, weight int) (traffic.Route, func(weight int) traffic.Route) {
	t.Helper()
	a, _ := generation(t, "g1", "tcp", "127.0.0.1:0")
	b, _ := generation(t, "g1", "tcp", "127.0.0.1:0")
	c, _ := generation(t, "g2", "tcp", "127.0.0.1:0")
	route := func(weight int) traffic.Route {
		return traffic.Route{
			Host: conformance.Host, PreLiveHost: conformance.PreLiveHost, PreLive: "g2", Health: traffic.Health{Path: "/", Interval: 200 * time.Millisecond},
			Sides: []traffic.Side{{Generation: "g1", Endpoints: []string{a, b}, Weight: 100 - weight}, {Generation: "g2", Endpoints: []string{c}, Weight: weight}},
		}
	}
	return route(weight), route
}

// users put a load on an HAProxy until stop is called, which says what became of it; more waits until so many requests more were sent.
func users(t *testing.T, h *haproxytest.HAProxy) (stop func() load.Report, more func(int64)) {
	t.Helper()
	g, err := load.New(load.Options{Entry: "http://" + h.Address, Host: conformance.Host, Rate: 500, Duration: time.Hour, Kinds: []load.Kind{
		{Name: "get", Path: "/", Share: 45},
		{Name: "order", Method: http.MethodPost, Path: "/", Body: `{"item":1}`, Share: 45},
		{Name: "new", Path: "/", Share: 10, NewConnection: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan load.Report, 1)
	go func() { done <- g.Run(t.Context()) }()
	more = func(n int64) {
		t.Helper()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		deadline := time.Now().Add(time.Minute)
		for sent := g.Report().Requests.Sent; g.Report().Requests.Sent < sent+n; <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("%d requests do not go on", n)
			}
		}
	}
	return func() load.Report { g.Stop(); return <-done }, more
}

// ask sends a request for a host, and returns the status of its answer and by which generation it is.
func ask(t *testing.T, h *haproxytest.HAProxy, host string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return fmt.Sprintf("%d %s", res.StatusCode, res.Header.Get("X-Generation"))
}

// save does what the documentation says is to be done before a reload.
func save(t *testing.T, h *haproxytest.HAProxy) {
	t.Helper()
	if out, err := exec.Command("sh", h.File("crossfade-save")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// must applies a route, and wants to read it back.
func (w *wire) must(t *testing.T, route traffic.Route) *traffic.Observed {
	t.Helper()
	if err := w.Apply(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	seen, err := w.Observe(t.Context(), route.Host)
	if err != nil || seen == nil {
		t.Fatalf("%+v, %v", seen, err)
	}
	if diff := cmp.Diff(route, seen.Route); diff != "" {
		t.Fatalf("(-applied +observed):\n%s", diff)
	}
	return seen
}
