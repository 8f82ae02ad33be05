package brief

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// endpoint is an address behind which one server after the other answers, as the pods of a Kubernetes Service do.
type endpoint struct {
	net.Listener
	url  string
	made atomic.Int64 // connections
	mu   sync.Mutex
	pod  *pod
}

// pod is a server that is given its connections.
type pod struct {
	http.Server
	conns chan net.Conn
	gone  chan struct{}
	once  sync.Once
}

func (p *pod) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.gone:
		return nil, net.ErrClosed
	}
}

func (p *pod) Close() error {
	p.once.Do(func() { close(p.gone) })
	return nil
}

func (p *pod) Addr() net.Addr { return &net.TCPAddr{} }

func serve(t *testing.T) *endpoint {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{Listener: l, url: "http://" + l.Addr().String()}
	e.next()
	t.Cleanup(func() { l.Close(); e.next().Server.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.made.Add(1)
			e.mu.Lock()
			e.pod.conns <- c
			e.mu.Unlock()
		}
	}()
	return e
}

// next has another pod answer from now on, and returns the one before.
func (e *endpoint) next() *pod {
	p := &pod{conns: make(chan net.Conn), gone: make(chan struct{})}
	p.ReadHeaderTimeout = time.Minute
	p.Protocols = new(http.Protocols)
	p.Protocols.SetHTTP1(true)
	p.Protocols.SetUnencryptedHTTP2(true)
	p.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d bytes, close: %v", n, r.Close)
	})
	go func() { _ = p.Serve(p) }()
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.pod
	e.pod = p
	return before
}

func transport(t *testing.T, age time.Duration, h2c bool) *Transport {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	b := &Transport{age: age, H2C: h2c}
	if err := b.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Cleanup(); cancel() })
	return b
}

// send is one request, as Caddy makes it, and the answer.
func send(ctx context.Context, b *Transport, method, url, body string) (string, error) {
	var reader io.Reader
	if body != "" {
		reader = io.NopCloser(strings.NewReader(body)) // as from a user: it cannot be read again
	}
	r, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return "", err
	}
	r.ContentLength = int64(len(body))
	answer, err := b.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

func mustSend(t *testing.T, b *Transport, method, url, body string) string {
	t.Helper()
	text, err := send(t.Context(), b, method, url, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return text
}

// TestConnections counts the connections of requests of each kind.
func TestConnections(t *testing.T) {
	for _, c := range []struct {
		method, body string
		age          time.Duration
		h2c          bool
		want         int64 // of 20 requests
	}{
		{http.MethodGet, "", time.Hour, false, 1},
		{http.MethodHead, "", time.Hour, false, 1},
		{http.MethodGet, "", time.Nanosecond, false, 20},
		{http.MethodGet, "a body", time.Hour, false, 20},
		{http.MethodPost, "order", time.Hour, false, 20},
		{http.MethodDelete, "", time.Hour, false, 20},
		{http.MethodPost, "order", time.Hour, true, 1},
	} {
		t.Run(fmt.Sprintf("%s %s for %v, HTTP/2 %v", c.method, c.body, c.age, c.h2c), func(t *testing.T) {
			e, b := serve(t), transport(t, c.age, c.h2c)
			for range 20 {
				text := mustSend(t, b, c.method, e.url, c.body)
				if !strings.HasSuffix(text, "close: false") && c.method != http.MethodHead {
					t.Fatalf("the endpoint was asked to close the connection: %s", text)
				}
			}
			if got := e.made.Load(); got != c.want {
				t.Errorf("%d connections for 20 requests, want %d", got, c.want)
			}
		})
	}
}

// TestNothingWaits looks for connections in TIME_WAIT after requests that had a connection each.
func TestNothingWaits(t *testing.T) {
	e, b := serve(t), transport(t, time.Hour, false)
	for range 20 {
		mustSend(t, b, http.MethodPost, e.url, "order")
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(e.url, "http://"))
	if got := waiting(t, port); got != 0 {
		t.Errorf("%d connections are in TIME_WAIT, want none", got)
	}
}

// TestLeavingPods has pods that close their idle connections and go, one after the other: no request is lost on a connection that
// was used before. On one of its own a request can be, when the pod does not wait for what is on its way to it.
func TestLeavingPods(t *testing.T) {
	e, b := serve(t), transport(t, 50*time.Millisecond, false)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	var sent atomic.Int64
	for range 8 {
		all.Go(func() {
			for ctx.Err() == nil {
				sent.Add(1)
				reused := false
				traced := httptrace.WithClientTrace(context.WithoutCancel(ctx), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
				if _, err := send(traced, b, http.MethodGet, e.url, ""); err != nil && reused {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 50 {
		before := sent.Load()
		for sent.Load() < before+100 && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		if err := e.next().Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	all.Wait()
	t.Logf("%d requests on %d connections", sent.Load(), e.made.Load())
}

// TestAge wants the next pod to be reached, and the connection to the one before to end, when that has its age.
func TestAge(t *testing.T) {
	const age = 200 * time.Millisecond
	for _, h2c := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", h2c), func(t *testing.T) {
			e, b := serve(t), transport(t, age, h2c)
			begun := time.Now()
			mustSend(t, b, http.MethodGet, e.url, "")
			before := e.next()
			for e.made.Load() == 1 {
				mustSend(t, b, http.MethodGet, e.url, "")
			}
			if took := time.Since(begun); took < age/2 || took > 10*age {
				t.Errorf("the connection was used for %v, want %v", took, age)
			}
			if err := before.Server.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// waiting counts the connections of a port of this machine in TIME_WAIT (06 in proc_net_tcp.txt of Linux).
func waiting(t *testing.T, port string) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) > 3 && f[3] == "06" && (strings.HasSuffix(f[1], fmt.Sprintf(":%04X", number)) || strings.HasSuffix(f[2], fmt.Sprintf(":%04X", number))) {
			n++
		}
	}
	return n
}
