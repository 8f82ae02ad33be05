package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

const (
	// heldConnections are upgraded ones that stay for the whole of a test.
	heldConnections = 10
	// stepTime is how long each share stays while users are moved.
	stepTime = 1500 * time.Millisecond
	// drainTime is how long a side that lost its users may go on with a download.
	drainTime = 35 * time.Second
)

// testAllKinds adds a side, and moves users there in steps, back, and there again, under 500 requests a second: over kept connections, new ones
// and HTTP/2, with downloads of 30 s, and websockets. None of them may notice.
func testAllKinds(t *testing.T, p Peer) {
	g1, g2 := newBackend(t, p, "g1"), newBackend(t, p, "g2")
	shift := func(weight int) {
		r := route(side("g1", 100-weight, g1), side("g2", weight, g2))
		r.Drain = drainTime
		apply(t, p.Router, r)
	}
	alone := traffic.Route{Host: Host, Sides: []traffic.Side{side("g1", 100, g1)}, Drain: drainTime}
	apply(t, p.Router, alone)
	broken, end := hold(t, p.Router)
	begun := time.Now()
	report := run(t, p.Router, load.Options{Rate: 500, HTTP2: p.HTTP2, Timeout: time.Minute, Kinds: []load.Kind{
		{Name: "get", Path: "/", Share: 170},
		{Name: "order", Method: http.MethodPost, Path: "/", Body: `{"item":1}`, Share: 170},
		{Name: "new", Path: "/", Share: 20, NewConnection: true},
		{Name: "get over HTTP/2", Path: "/", Share: 69, HTTP2: true},
		{Name: "order over HTTP/2", Method: http.MethodPost, Path: "/", Body: `{"item":1}`, Share: 69, HTTP2: true},
		{Name: "download", Path: "/download", Share: 1, Stream: true, Check: checkDownload},
		{Name: "download over HTTP/2", Path: "/download", Share: 1, Stream: true, Check: checkDownload, HTTP2: true},
	}}, func(*load.Generator) {
		for _, weight := range []int{0, 5, 25, 50, 100, 50, 0, 25, 50, 100} {
			shift(weight)
			pause(t, stepTime)
		}
	})
	failed := end()
	t.Logf("%d requests in %v, %d failed, p50 %.1f ms, p99 %.1f ms, %v; %d websockets, %d broken", report.Requests.Sent, time.Since(begun).Round(time.Second),
		report.Requests.Failed, report.Latency["all"].P50, report.Latency["all"].P99, report.Requests.ByGeneration, heldConnections, failed)
	if report.Requests.Failed != 0 || failed != 0 {
		t.Errorf("%d of %d requests failed, %d websockets broke: %v %v", report.Requests.Failed, report.Requests.Sent, failed, report.Failures, broken())
	}
	if by := report.Requests.ByGeneration; by["g1"] == 0 || by["g2"] == 0 {
		t.Errorf("answered by %v, want both", by)
	}
}

// testUpload moves all users while one of them still sends the body of a request. It is under way on the side that lost its users, which hears of it
// at once, and is answered there.
func testUpload(t *testing.T, p Peer) {
	g1, g2 := newBackend(t, p, "g1"), newBackend(t, p, "g2")
	apply(t, p.Router, route(side("g1", 100, g1), side("g2", 0, g2)))
	c := dial(t, p.Router)
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 12\r\n\r\nuntil ", Host)
	until(t, 5*time.Second, "the upload reaches its endpoint", func() bool { return g1.got.Load() == 1 })
	apply(t, p.Router, route(side("g1", 0, g1), side("g2", 100, g2)))
	if n := observe(t, p.Router).Counts["g1"].InFlight; n != 1 && !p.Uncounted {
		t.Errorf("%d requests of g1 are in flight, want the upload", n)
	}
	fmt.Fprint(c, "now..\n")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || string(body) != "g1 until now..\n" {
		t.Errorf("the upload is answered %s %q %v, want it to arrive at g1", res.Status, body, err)
	}
	until(t, 5*time.Second, "none is in flight", func() bool { return observe(t, p.Router).Counts["g1"].InFlight == 0 })
}

// pause lets users go on for a while.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// upgrade makes a connection that sends back what it gets.
func upgrade(t *testing.T, r traffic.Router) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := dial(t, r)
	fmt.Fprintf(c, "GET /upgrade HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", Host)
	reader := bufio.NewReader(c)
	res, err := http.ReadResponse(reader, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("cannot upgrade: %v %v", res, err)
	}
	res.Body.Close()
	return c, reader
}

// hold keeps upgraded connections in use until end, which says how many broke; broken says how.
func hold(t *testing.T, r traffic.Router) (broken func() []error, end func() int) {
	t.Helper()
	stop, results := make(chan struct{}), make(chan error, heldConnections)
	for range heldConnections {
		c, reader := upgrade(t, r)
		go func() { results <- ping(c, reader, stop) }()
	}
	var all []error
	return func() []error { return all }, func() int {
		close(stop)
		for range heldConnections {
			if err := <-results; err != nil {
				all = append(all, err)
			}
		}
		return len(all)
	}
}

// ping sends a line each 200 ms, and wants it back.
func ping(c net.Conn, reader *bufio.Reader, stop chan struct{}) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "ping %d\n", i)
		if line, err := reader.ReadString('\n'); err != nil || line != fmt.Sprintf("ping %d\n", i) {
			return fmt.Errorf("after %d lines: %q %w", i, line, err)
		}
		select {
		case <-tick.C:
		case <-stop:
			return nil
		}
	}
}
