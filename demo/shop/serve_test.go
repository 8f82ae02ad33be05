package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// start serves the handler until the test or the returned function ends it; the channel carries what serve returned.
func start(t *testing.T, s *server, h http.Handler) (url string, end context.CancelFunc, ended <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx, ln, h) }()
	t.Cleanup(cancel)
	return "http://" + ln.Addr().String(), cancel, done
}

// waitDraining waits until the server has noticed that it was told to end.
func waitDraining(t *testing.T, s *server) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !s.draining.Load(); {
		if time.Now().After(deadline) {
			t.Fatal("the server did not begin to drain within 10 s")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestLeavesWithoutFailingARequest(t *testing.T) {
	s := testServer(settings{node: "gen-1", linger: 300 * time.Millisecond, bound: 20 * time.Second})
	mux := http.NewServeMux()
	s.probes(mux, nil)
	release := make(chan struct{})
	mux.HandleFunc("GET /long", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "begun")
		_ = http.NewResponseController(w).Flush()
		<-release
		fmt.Fprintln(w, "done")
	})
	url, end, ended := start(t, s, mux)

	long, err := http.Get(url + "/long")
	if err != nil {
		t.Fatal(err)
	}
	defer long.Body.Close()
	body := bufio.NewReader(long.Body)
	if line, err := body.ReadString('\n'); err != nil {
		t.Fatalf("first line %q: %v", line, err)
	}

	end()
	waitDraining(t, s)
	for path, want := range map[string]int{"/readyz": 503, "/livez": 200} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		status, _, _ := do(t, req) // a new connection, while it lingers
		if status != want {
			t.Errorf("GET %s while draining = %d, want %d", path, status, want)
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("the server ended under a request: %v", err)
	case <-time.After(2 * s.linger): // longer than it lingers: only the request holds it
	}
	close(release)
	rest, err := io.ReadAll(body)
	if err != nil || string(rest) != "done\n" {
		t.Errorf("the rest of the long answer = %q, %v; want done", rest, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("serve = %v, want nil", err)
	}
}

func TestDrainAsksForConnectionsBack(t *testing.T) {
	s := testServer(settings{linger: 10 * time.Second, bound: time.Second})
	mux := http.NewServeMux()
	s.probes(mux, nil)
	url, end, _ := start(t, s, mux)
	for _, draining := range []bool{false, true} {
		if draining {
			end()
			waitDraining(t, s)
		}
		resp, err := http.Get(url + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.Close != draining {
			t.Errorf("draining %t: the answer closes the connection: %t", draining, resp.Close)
		}
	}
}

func TestDrainIsBounded(t *testing.T) {
	s := testServer(settings{bound: 50 * time.Millisecond})
	begun := make(chan struct{})
	url, end, ended := start(t, s, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	}))
	gone := make(chan error, 1)
	go func() {
		_, err := http.Get(url)
		gone <- err
	}()
	<-begun
	end()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "requests were under way") {
		t.Errorf("serve = %v, want that requests were under way", err)
	}
	if err := <-gone; err == nil {
		t.Error("the request that held the server succeeded")
	}
}

func TestInFlightIsBounded(t *testing.T) {
	s := testServer(testSettings())
	s.slots = make(chan struct{}, 1)
	release, begun := make(chan struct{}), make(chan struct{}, 1)
	url, _, _ := start(t, s, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-release
	}))
	first := make(chan int, 1)
	go func() {
		resp, err := http.Get(url)
		if err != nil {
			first <- 0
			return
		}
		resp.Body.Close()
		first <- resp.StatusCode
	}()
	<-begun
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, _ := do(t, req); status != http.StatusServiceUnavailable {
		t.Errorf("beyond the bound = %d, want 503", status)
	}
	close(release)
	if got := <-first; got != http.StatusOK {
		t.Errorf("within the bound = %d, want 200", got)
	}
}

func TestServeReportsALostListener(t *testing.T) {
	s := testServer(testSettings())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := s.serve(t.Context(), ln, http.NotFoundHandler()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("serve = %v, want %v", err, net.ErrClosed)
	}
}
