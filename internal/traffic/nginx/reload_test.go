package nginx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host/local"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/nginxctl/nginxtest"
)

// TestReloadedMeanwhile has somebody else reload nginx just before the file is written, then stops: the file does not count as read.
func TestReloadedMeanwhile(t *testing.T) {
	n := start(t)
	h := &disturbed{Host: local.New("n1")}
	r := router(t, n, n.Node(h))
	l := &lab{g1: generation(t, "g1"), g2: generation(t, "g2")}
	one := l.route(0)
	one.Sides = one.Sides[:1]
	must(t, r, one)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var once sync.Once
	f := func(doing string) error {
		switch {
		case doing == "write":
			once.Do(func() {
				if err := n.Node(local.New("somebody else")).Reload(t.Context(), 20*time.Second); err != nil {
					t.Error(err)
				}
			})
		case strings.Contains(doing, "CROSSFADE_PORTS"):
			stop()
			return fault.New(fault.Interrupted, "stopped: %w", context.Canceled)
		}
		return nil
	}
	h.before.Store(&f)
	if err := r.Apply(ctx, l.route(0)); fault.CodeOf(err) != fault.Interrupted {
		t.Fatalf("%v, want it to be interrupted", err)
	}
	h.before.Store(nil)
	must(t, r, l.route(0))
}

// TestReloadsLoseNothing adds a side and takes it away again, which needs a reload each, under users who keep their connections.
func TestReloadsLoseNothing(t *testing.T) {
	n := start(t)
	r := router(t, n, n.Node(local.New("n1")))
	l := &lab{g1: generation(t, "g1"), g2: generation(t, "g2")}
	two, one := l.route(0), l.route(0)
	one.Sides = one.Sides[:1]
	must(t, r, one)
	users, err := load.New(load.Options{Entry: r.Entry(), Host: name, Rate: 500, Kinds: []load.Kind{
		{Name: "get", Path: "/"}, {Name: "order", Method: http.MethodPost, Path: "/", Body: `{"item":1}`},
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan load.Report)
	go func() { done <- users.Run(t.Context()) }()
	for range 10 {
		must(t, r, two)
		must(t, r, one)
	}
	users.Stop()
	report := <-done
	t.Logf("%d requests (%d over used connections) during 20 reloads, %d failed", report.Requests.Sent, report.Requests.Reused, report.Requests.Failed)
	if report.Requests.Failed != 0 || report.Requests.Reused < 500 {
		t.Errorf("%+v: %v", report.Requests, report.Failures)
	}
}

// TestClosing asks while clients are told to close their connections: they are answered as always, and told so.
func TestClosing(t *testing.T) {
	n := start(t)
	r := router(t, n, n.Node(local.New("n1")))
	l := &lab{g1: generation(t, "g1"), g2: generation(t, "g2")}
	must(t, r, l.route(0))
	for _, closing := range []bool{false, true} {
		if closing {
			dir := n.File("conf.d/crossfade-host-" + name + ".d/closing")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for i := range int64(3) {
				n.Write(t, fmt.Sprintf("conf.d/crossfade-host-%s.d/closing/%d", name, time.Now().Unix()/10+i), "")
			}
		}
		if body, closed := told(t, n); body != "POST /a%20b/..%2fc?x=1 "+name+":8080 body" || closed != closing {
			t.Errorf("closing %v: %s, the connection ends: %v", closing, body, closed)
		}
	}
}

// told is what a request is answered, and whether the client is told to close its connection.
func told(t *testing.T, n *nginxtest.Nginx) (string, bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.Address+"/a%20b/..%2fc?x=1", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = name + ":8080"
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), res.Close
}

// TestReloadKilled stops a reload while it waits for a client, which kills its script. Clients keep their connections again soon, though nobody sees to it.
func TestReloadKilled(t *testing.T) {
	n := start(t)
	r := router(t, n, n.Node(local.New("n1")))
	l := &lab{g1: generation(t, "g1"), g2: generation(t, "g2")}
	one := l.route(0)
	one.Sides = one.Sides[:1]
	must(t, r, one)
	idle, err := net.Dial("tcp", n.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	closing := n.File("conf.d/crossfade-host-" + name + ".d/closing")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Apply(ctx, l.route(0)) }()
	within(t, 20*time.Second, "clients are told to close", func() bool {
		_, err := os.Stat(closing)
		return err == nil && func() bool { _, closed := told(t, n); return closed }()
	})
	stop()
	if err := <-ended; fault.CodeOf(err) != fault.Interrupted {
		t.Fatalf("%v, want the reload to be interrupted", err)
	}
	if _, err := os.Stat(closing); err != nil {
		t.Fatalf("%v: the script was not killed", err)
	}
	if _, closed := told(t, n); !closed {
		t.Error("clients keep their connections at once: what is this test of?")
	}
	within(t, time.Minute, "clients keep their connections", func() bool { _, closed := told(t, n); return !closed })
	must(t, r, l.route(0))
	if _, err := os.Stat(closing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v: what was left behind is not swept away", err)
	}
}

func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
