package nginx_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/host/local"
	"github.com/crossfade-dev/crossfade/internal/nginxctl/nginxtest"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// TestNoEndpoints has a route none of whose sides has endpoints, as before the first generation has come.
func TestNoEndpoints(t *testing.T) {
	n := start(t)
	r := router(t, n, n.Node(local.New("n1")))
	l := &lab{g1: generation(t, "g1"), g2: generation(t, "g2")}
	none := traffic.Route{Host: name, PreLiveHost: "next." + name, PreLive: "g1", Sides: []traffic.Side{{Generation: "g1"}}}
	const unavailable = "503 Service Temporarily Unavailable"
	must(t, r, none)
	if got := asks(t, n); got != unavailable {
		t.Errorf("without endpoints: %s", got)
	}
	must(t, r, l.route(0))
	if got := asks(t, n); got != "g1" {
		t.Errorf("with endpoints: %s", got)
	}
	must(t, r, none)
	if got := asks(t, n); got != unavailable {
		t.Errorf("without endpoints again: %s", got)
	}
}

// TestSentAgain has one of two endpoints break each connection once it has read a head, or take none. The other one gets what can be repeated, unless a
// part of it was still to come.
func TestSentAgain(t *testing.T) {
	const broke = "502 Bad Gateway"
	for _, tc := range []struct {
		method, first, second string
		listens               bool
		want                  string // of the request that comes to the broken endpoint
	}{
		{"GET", "", "", true, "200 OK"}, {"PUT", "body", "", true, "200 OK"}, {"PUT", "bo", "dy", true, broke}, {"POST", "body", "", true, broke}, {"POST", "bo", "dy", false, "200 OK"},
	} {
		n := start(t)
		r := router(t, n, n.Node(local.New("n1")))
		broken := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
		t.Cleanup(broken.Close)
		must(t, r, traffic.Route{Host: name, Sides: []traffic.Side{
			{Generation: "g1", Endpoints: []string{strings.TrimPrefix(broken.URL, "http://"), generation(t, "g1")}, Weight: 100},
		}})
		if !tc.listens {
			broken.Close()
		}
		got := []string{send(t, n, tc.method, tc.first, tc.second), send(t, n, tc.method, tc.first, tc.second)} // they take turns
		slices.Sort(got)
		if diff := cmp.Diff([]string{"200 OK", tc.want}, got); diff != "" {
			t.Errorf("%s %s, then %q: -want +got\n%s", tc.method, tc.first, tc.second, diff)
		}
	}
}

// send sends a request whose body comes in two parts, and returns the status of the answer.
func send(t *testing.T, n *nginxtest.Nginx, method, first, second string) string {
	t.Helper()
	c, err := net.Dial("tcp", n.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%s / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", method, name, len(first+second), first)
	if second != "" {
		time.Sleep(200 * time.Millisecond) // the first part is passed on by then
		fmt.Fprint(c, second)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if want := method + " / " + name + " " + first + second; res.StatusCode == http.StatusOK && string(body) != want {
		t.Errorf("the endpoint got %q, want %q", body, want)
	}
	return res.Status
}

// TestGRPC calls as gRPC does: over HTTP/2 to the endpoint, with trailers.
func TestGRPC(t *testing.T) {
	n := start(t)
	r := router(t, n, n.Node(local.New("n1")))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = io.Copy(w, r.Body)
		w.Header().Set("Grpc-Status", "0")
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	must(t, r, traffic.Route{Host: name, Sides: []traffic.Side{{Generation: "g1", Endpoints: []string{strings.TrimPrefix(s.URL, "http://")}, Weight: 100}}})
	client := &http.Transport{Protocols: new(http.Protocols)}
	client.Protocols.SetUnencryptedHTTP2(true)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+second(n)+"/shop.Orders/Place", strings.NewReader("message"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = name
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	res, err := client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != "message" || res.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("%s %q, trailers %v: %v", res.Status, body, res.Trailer, err)
	}
}
