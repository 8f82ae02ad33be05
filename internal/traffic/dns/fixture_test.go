package dns_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/rfc2136"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	zone        = bindtest.Zone
	host        = "shop.example.com"
	preLiveHost = "next.shop.example.com"
	secret      = bindtest.Secret
	otherSecret = bindtest.ReaderSecret
)

// settings are those of a router and of the zone that it leads by.
type settings struct {
	dns.Options
	Server string
	Key    rfc2136.Key
}

// options are those of a router that leads by a BIND, with the shortest TTL there is.
func options(b *bindtest.Server) settings {
	return settings{
		Options: dns.Options{Zone: zone, Owner: "crossfade-shop", TTL: time.Second, Wait: 10 * time.Second, Authorities: []string{b.Address}},
		Server:  b.Address, Key: rfc2136.Key{Name: "crossfade", Algorithm: "hmac-sha256", Secret: secret},
	}
}

// make makes a router.
func (s settings) make() (*dns.Router, error) {
	backend, err := rfc2136.New(rfc2136.Options{Zone: s.Zone, Server: s.Server, Key: s.Key})
	if err != nil {
		return nil, err
	}
	return dns.New(s.Options, backend)
}

// router makes a router; what it waits for goes to the test's log.
func router(t *testing.T, s settings) *dns.Router {
	t.Helper()
	r, err := s.make()
	if err != nil {
		t.Fatal(err)
	}
	r.Tell(t.Logf)
	return r
}

// side makes a side whose endpoints have the port 80.
func side(generation string, weight int, addresses ...string) traffic.Side {
	s := traffic.Side{Generation: generation, Weight: weight}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, net.JoinHostPort(a, "80"))
	}
	return s
}

// route makes a route of sides, of which the last one is the pre-live one.
func route(sides ...traffic.Side) traffic.Route {
	return traffic.Route{Host: host, PreLiveHost: preLiveHost, PreLive: sides[len(sides)-1].Generation, Sides: sides, Drain: time.Second}
}

// two is a route of two generations, one of which has the users.
func two(live string) traffic.Route {
	weight := map[string]int{live: 100}
	return route(side("g1", weight["g1"], "10.0.1.1", "10.0.1.2"), side("g2", weight["g2"], "10.0.2.1"))
}

func apply(t *testing.T, r *dns.Router, route traffic.Route) {
	t.Helper()
	if err := r.Apply(t.Context(), route); err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
}

func observe(t *testing.T, r *dns.Router) *traffic.Observed {
	t.Helper()
	seen, err := r.Observe(t.Context(), host)
	if err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
	return seen
}

// refused wants an error of a code, of one line, with a hint, that says something and no secret.
func refused(t *testing.T, reason string, err error, code fault.Code, says ...string) {
	t.Helper()
	if fault.CodeOf(err) != code || fault.HintOf(err) == "" || strings.Contains(fmt.Sprint(err), "\n") {
		t.Errorf("%s: got %v (%s, hint %q), want one line of code %s, with a hint", reason, err, fault.CodeOf(err), fault.HintOf(err), code)
	}
	for _, part := range says {
		if !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("%s: got %v, want it to say %q", reason, err, part)
		}
	}
	for _, s := range []string{secret, otherSecret} {
		if strings.Contains(fmt.Sprint(err)+fault.HintOf(err), s) {
			t.Errorf("%s: the secret is in %v", reason, err)
		}
	}
}

// until waits for a condition to hold.
func until(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	if !bindtest.Holds(limit, condition) {
		t.Fatalf("not within %v: %s", limit, what)
	}
}

// between stands between a router and a BIND, and lets a test see every message, and cut the connection.
type between struct {
	address string
	mu      sync.Mutex
	// seen is called with each message to the server, and again with its answer, which is nil before. It cuts the connection by false.
	seen func(m, answer *wire.Msg) bool
}

func startBetween(t *testing.T, b *bindtest.Server) *between {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &between{address: l.Addr().String()}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { x.carry(c, b.Address) })
		}
	})
	return x
}

// carry hands the messages of a connection on, one after the other.
func (x *between) carry(client net.Conn, to string) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	for {
		raw, err := readMessage(client)
		m := new(wire.Msg)
		if err != nil || m.Unpack(raw[2:]) != nil || !x.see(m, nil) {
			return
		}
		if _, err := server.Write(raw); err != nil {
			return
		}
		raw, err = readMessage(server)
		answer := new(wire.Msg)
		if err != nil || answer.Unpack(raw[2:]) != nil || !x.see(m, answer) {
			return
		}
		if _, err := client.Write(raw); err != nil {
			return
		}
	}
}

func (x *between) see(m, answer *wire.Msg) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen == nil || x.seen(m, answer)
}

// watch sets what sees every message from now on.
func (x *between) watch(seen func(m, answer *wire.Msg) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen = seen
}

// readMessage reads a message with its length before it (RFC 1035 section 4.2.2).
func readMessage(c net.Conn) ([]byte, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, err
	}
	body := make([]byte, int(head[0])<<8|int(head[1]))
	_, err := io.ReadFull(c, body)
	return append(head, body...), err
}
