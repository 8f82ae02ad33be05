package hold

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// server is one of a row of servers on an address.
func server(t *testing.T, address, name string) (*http.Server, net.Addr) {
	t.Helper()
	l, err := Listen(t.Context(), net.ListenConfig{}, address)
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: protocols, ConnState: ConnState, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", name)
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == "/slow" {
			_ = http.NewResponseController(w).Flush()
			<-time.After(200 * time.Millisecond)
		}
		fmt.Fprintf(w, "%d", len(body))
	})}
	go func() { _ = s.Serve(l) }()
	until(t, "the server accepts", l.newest)
	return s, l.Addr()
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
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

// user is a raw client with one connection.
type user struct {
	net.Conn
	reader *bufio.Reader
}

func dial(t *testing.T, address string) *user {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &user{c, bufio.NewReader(c)}
}

func (u *user) send(path, body string) error {
	_, err := fmt.Fprintf(u, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	return err
}

// receive returns the name of the server that answered, and whether it will close the connection.
func (u *user) receive(body string) (string, bool, error) {
	if err := u.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", false, err
	}
	res, err := http.ReadResponse(u.reader, nil)
	if err != nil {
		return "", false, err
	}
	got, err := io.ReadAll(res.Body)
	if err == nil && string(got) != fmt.Sprint(len(body)) {
		err = fmt.Errorf("body %q", got)
	}
	return res.Header.Get("Server"), res.Close, err
}

func (u *user) ask(t *testing.T, want string) {
	t.Helper()
	if err := u.send("/", "order"); err != nil {
		t.Fatal(err)
	}
	if got, _, err := u.receive("order"); err != nil || got != want {
		t.Fatalf("%s answered (%v), want %s", got, err, want)
	}
}

func TestIdleConnectionsMove(t *testing.T) {
	address := freeAddress(t)
	first, _ := server(t, address, "first")
	used, fresh, partial := dial(t, address), dial(t, address), dial(t, address)
	used.ask(t, "first")
	partial.ask(t, "first")
	fmt.Fprint(partial, "POST / HT") // half a request is with the first server

	second, _ := server(t, address, "second")
	used.ask(t, "second") // before the first one is even told to go
	if err := first.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	used.ask(t, "second")
	fresh.ask(t, "second")
	fmt.Fprint(partial, "TP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
	if _, _, err := partial.receive("x"); err != nil {
		t.Errorf("the request sent in two halves: %v", err)
	}

	// A configuration that fails after its server has begun: everything goes back.
	third, _ := server(t, address, "third")
	used.ask(t, "third")
	third.Close()
	until(t, "the second server has it back", func() bool {
		u := dial(t, address)
		if err := u.send("/", "order"); err != nil {
			t.Fatal(err)
		}
		got, _, err := u.receive("order")
		return err == nil && got == "second"
	})
	if err := second.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("the socket is open without a listener")
	}
	hubsMu.Lock()
	defer hubsMu.Unlock()
	if len(hubs) != 0 {
		t.Errorf("%d sockets are left", len(hubs))
	}
}

func TestRequestsUnderWayEndWhereTheyBegan(t *testing.T) {
	address := freeAddress(t)
	first, _ := server(t, address, "first")
	slow := dial(t, address)
	if err := slow.send("/slow", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := slow.reader.Peek(1); err != nil { // the head is there
		t.Fatal(err)
	}
	second, _ := server(t, address, "second")
	t.Cleanup(func() { second.Close() })
	if err := first.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _, err := slow.receive(""); err != nil || got != "first" {
		t.Errorf("%s answered (%v), want first", got, err)
	}
	slow.ask(t, "second") // its head did not say that the connection would be closed, so it is not
}

func TestConnectionsEnd(t *testing.T) {
	address := freeAddress(t)
	first, _ := server(t, address, "first")
	second, _ := server(t, address, "second")
	t.Cleanup(func() { second.Close() })
	_ = first.Shutdown(t.Context())
	for name, request := range map[string]string{
		"aborted": "GET /abort HTTP/1.1\r\nHost: a\r\n\r\n",
		"close":   "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"broken":  "nonsense of some length\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			u := dial(t, address)
			fmt.Fprint(u, request)
			_ = u.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.Copy(io.Discard, u); err != nil {
				t.Errorf("the server does not close the connection: %v", err)
			}
		})
	}
	idle := dial(t, address)
	idle.ask(t, "second")
	_ = second.Shutdown(t.Context())
	if _, err := idle.reader.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("%v; want the last server to close its idle connections", err)
	}
}

func TestHijackedConnectionsAreTheirOwners(t *testing.T) {
	address := freeAddress(t)
	l, err := Listen(t.Context(), net.ListenConfig{}, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ConnState: ConnState, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		line, _ := rw.ReadString('\n')
		fmt.Fprint(c, line)
	})}
	go func() { _ = s.Serve(l) }()
	u := dial(t, address)
	fmt.Fprint(u, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if line, err := u.reader.ReadString('\n'); err != nil || !strings.Contains(line, "101") {
		t.Fatal(line, err)
	}
	second, _ := server(t, address, "second")
	t.Cleanup(func() { second.Close() })
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(u, "echo\n")
	if rest, err := io.ReadAll(u.reader); err != nil || !strings.HasSuffix(string(rest), "echo\n") {
		t.Errorf("got %q, %v; want the echo and then the end", rest, err)
	}
}

// TestNothingIsLost replaces the server again and again under users who send at any moment.
func TestNothingIsLost(t *testing.T) {
	const users, replacements = 16, 1000
	address := freeAddress(t)
	current, _ := server(t, address, "0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	var sent, dialled atomic.Int64
	for i := range users {
		all.Go(func() {
			var u *user
			body := strings.Repeat("x", i*1000)
			for ctx.Err() == nil {
				if u == nil || i == 0 { // the first one dials every time
					u = dial(t, address)
					dialled.Add(1)
				}
				sent.Add(1)
				if err := u.send("/", body); err != nil {
					t.Errorf("user %d: %v", i, err)
					return
				}
				_, ends, err := u.receive(body)
				if err != nil {
					t.Errorf("user %d: %v", i, err)
					return
				}
				if ends {
					u.Close()
					u = nil
				}
				<-time.After(time.Duration(sent.Load()%7) * time.Millisecond)
			}
		})
	}
	for n := 1; n <= replacements; n++ {
		next, _ := server(t, address, fmt.Sprint(n))
		if err := current.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		current = next
	}
	cancel()
	all.Wait()
	current.Close()
	t.Logf("%d requests over %d connections during %d replacements", sent.Load(), dialled.Load(), replacements)
}

// TestHTTP2 replaces servers again and again under requests over HTTP/2, also while a connection has none: its server tells the user to
// go, and nothing is handed to a server that knows nothing of it.
func TestHTTP2(t *testing.T) {
	const servers = 8
	address := freeAddress(t)
	now, _ := server(t, address, "0")
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	order := func(wait time.Duration) error {
		body := strings.NewReader("order")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address, body)
		if err != nil {
			return err
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if err == nil && (string(got) != "5" || res.ProtoMajor != 2) {
			err = fmt.Errorf("%s %q", res.Proto, got)
		}
		<-time.After(wait)
		return err
	}
	stop, failed := make(chan struct{}), make(chan error, 1)
	var sent atomic.Int64
	var users sync.WaitGroup
	for _, wait := range []time.Duration{0, 3 * time.Millisecond, 50 * time.Millisecond} {
		users.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := order(wait); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
				sent.Add(1)
			}
		})
	}
	for i := range servers {
		next, _ := server(t, address, fmt.Sprint(i+1))
		before := sent.Load()
		until(t, "users go on", func() bool { return sent.Load() > before+20 })
		if err := now.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		now = next
	}
	close(stop)
	users.Wait()
	select {
	case err := <-failed:
		t.Errorf("of %d requests one failed: %v", sent.Load(), err)
	default:
	}
	now.Close()
}
