package dns

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	wire "github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	program      = "/usr/sbin/named"
	startTimeout = 30 * time.Second
	zone         = "example.com"
	host         = "shop.example.com"
	preLiveHost  = "next.shop.example.com"
	secret       = "c2VjcmV0LW9mLWNyb3NzZmFkZS0wMTIzNDU2Nzg5MDE="
	otherSecret  = "b3RoZXItc2VjcmV0LTAxMjM0NTY3ODkwMTIzNDU2Nzg="
)

// keys are the one that may update the zone, and one that may not.
const keys = `key "crossfade" { algorithm hmac-sha256; secret "` + secret + `"; };
key "reader" { algorithm hmac-sha256; secret "` + otherSecret + `"; };
`

// zoneFile is the zone as others have made it. Its negative answers are kept for a second.
const zoneFile = `$TTL 60
@      IN SOA ns1.example.com. admin.example.com. 1 60 60 3600 1
@      IN NS ns1.example.com.
ns1    IN A 127.0.0.1
www    IN A 10.9.9.9
mail   IN MX 10 www.example.com.
`

// bind is a BIND that runs for a test.
type bind struct {
	address string // HOST:PORT
	root    string
	running *exec.Cmd
}

// startBind starts a BIND with what a test adds to its zone. It skips the test with -short, and when BIND is not installed, except in CI, where
// that is an error.
func startBind(t *testing.T, more string) *bind {
	t.Helper()
	b := &bind{address: freeAddress(t), root: t.TempDir()}
	b.primary(t, more, "")
	return b
}

// primary runs it as the primary of the zone; notify is a server that it tells of changes, as BIND writes it.
func (b *bind) primary(t *testing.T, more, notify string) {
	t.Helper()
	b.write(t, "example.com.zone", zoneFile+more)
	b.run(t, fmt.Sprintf(`zone "example.com" {
  type primary; file "example.com.zone"; allow-update { key crossfade; }; allow-transfer { any; }; notify-delay 0; also-notify { %s };
};`, notify))
}

// secondary runs it as a copy of another.
func (b *bind) secondary(t *testing.T, of *bind) {
	t.Helper()
	b.run(t, fmt.Sprintf(`zone "example.com" { type secondary; primaries { %s }; };`, asBind(of.address)))
}

// asBind is an address as BIND writes it.
func asBind(address string) string {
	ip, port, _ := net.SplitHostPort(address)
	return ip + " port " + port + ";"
}

// run starts BIND with some zones, and waits until it answers for ours.
func (b *bind) run(t *testing.T, zones string) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs BIND")
	}
	if _, err := os.Stat(program); err != nil && os.Getenv("CI") == "" {
		t.Skipf("needs Debian's bind9: %v", err)
	}
	ip, port, err := net.SplitHostPort(b.address)
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, "named.conf", keys+fmt.Sprintf(`options {
  directory "%[1]s"; pid-file "%[1]s/named.pid"; session-keyfile "%[1]s/session.key";
  listen-on port %[3]s { %[2]s; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; notify explicit; max-journal-size 1M;
};
controls { };
%[4]s
`, b.root, ip, port, zones))
	log, err := os.Create(b.file("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	b.running = exec.Command(program, "-g", "-n", "1", "-c", b.file("named.conf"))
	b.running.Stdout, b.running.Stderr = log, log
	b.running.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.running.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	t.Cleanup(func() {
		if t.Failed() {
			raw, _ := os.ReadFile(b.file("log"))
			t.Logf("%s", raw)
		}
	})
	until(t, startTimeout, "BIND answers", func() bool {
		soa, err := b.query(zone, wire.TypeSOA)
		return err == nil && len(soa.Answer) == 1
	})
}

// stop ends it, if it runs.
func (b *bind) stop() {
	if b.running == nil {
		return
	}
	_ = syscall.Kill(-b.running.Process.Pid, syscall.SIGKILL)
	_ = b.running.Wait() // it was killed
	b.running = nil
}

func (b *bind) file(name string) string { return filepath.Join(b.root, name) }

func (b *bind) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(b.file(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// query asks it, as anybody does.
func (b *bind) query(name string, kind uint16) (*wire.Msg, error) {
	client := wire.Client{Timeout: time.Second}
	answer, _, err := client.Exchange(new(wire.Msg).SetQuestion(wire.Fqdn(name), kind), b.address)
	return answer, err
}

// serial is that of the zone, which changes with every update that has an effect.
func (b *bind) serial(t *testing.T) uint32 {
	t.Helper()
	answer, err := b.query(zone, wire.TypeSOA)
	if err != nil || len(answer.Answer) != 1 {
		t.Fatalf("no SOA: %v %v", answer, err)
	}
	return answer.Answer[0].(*wire.SOA).Serial
}

// all are the records of the zone but its SOA, a line each.
func (b *bind) all(t *testing.T) []string {
	t.Helper()
	envelopes, err := new(wire.Transfer).In(new(wire.Msg).SetAxfr(wire.Fqdn(zone)), b.address)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for e := range envelopes {
		if e.Error != nil {
			t.Fatal(e.Error)
		}
		for _, rr := range e.RR {
			if rr.Header().Rrtype != wire.TypeSOA {
				lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// change has somebody else change the zone: text is records to add, those with the TTL 0 take sets of records away.
func (b *bind) change(t testing.TB, lines ...string) {
	t.Helper()
	m := new(wire.Msg).SetUpdate(wire.Fqdn(zone))
	for _, line := range lines {
		rr, err := wire.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		if rr.Header().Ttl == 0 {
			m.RemoveRRset([]wire.RR{rr})
		} else {
			m.Insert([]wire.RR{rr})
		}
	}
	b.send(t, m)
}

// send sends an update.
func (b *bind) send(t testing.TB, m *wire.Msg) {
	t.Helper()
	m.SetTsig("crossfade.", wire.HmacSHA256, 300, time.Now().Unix())
	client := wire.Client{Net: "tcp", TsigSecret: map[string]string{"crossfade.": secret}}
	answer, _, err := client.Exchange(m, b.address)
	if err != nil || answer.Rcode != wire.RcodeSuccess {
		t.Fatalf("cannot change the zone: %v %v", answer, err)
	}
}

// remove has somebody else take one record out of the zone.
func (b *bind) remove(t *testing.T, line string) {
	t.Helper()
	rr, err := wire.NewRR(line)
	if err != nil {
		t.Fatal(err)
	}
	m := new(wire.Msg).SetUpdate(wire.Fqdn(zone))
	m.Remove([]wire.RR{rr})
	b.send(t, m)
}

// options are those of a router that leads by a BIND, with the shortest TTL there is.
func (b *bind) options() Options {
	return Options{
		Zone: zone, Server: b.address, Owner: "crossfade-shop", Key: Key{Name: "crossfade", Algorithm: "hmac-sha256", Secret: secret},
		TTL: time.Second, Wait: 10 * time.Second, Authorities: []string{b.address},
	}
}

// router makes a router; what it waits for goes to the test's log.
func router(t *testing.T, o Options) *Router {
	t.Helper()
	r, err := New(o)
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

func apply(t *testing.T, r *Router, route traffic.Route) {
	t.Helper()
	if err := r.Apply(t.Context(), route); err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
}

func observe(t *testing.T, r *Router) *traffic.Observed {
	t.Helper()
	seen, err := r.Observe(t.Context(), host)
	if err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
	return seen
}

// leads returns where a name of the zone leads, all the way: names and addresses.
func (b *bind) leads(t *testing.T, name string) string {
	t.Helper()
	if _, err := b.query(name, wire.TypeA); err != nil {
		t.Fatal(err)
	}
	return b.answers(name)
}

// answers is leads for other goroutines than a test's; "" where there is no answer.
func (b *bind) answers(name string) string {
	answer, err := b.query(name, wire.TypeA)
	if err != nil {
		return ""
	}
	var to []string
	for _, rr := range answer.Answer {
		to = append(to, plain(target(rr)))
	}
	slices.Sort(to)
	return strings.Join(to, " ")
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
func until(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	if !holds(limit, condition) {
		t.Fatalf("not within %v: %s", limit, what)
	}
}

// holds waits for a condition, and reports whether it came to hold.
func holds(limit time.Duration, condition func() bool) bool {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(limit); !condition(); <-again.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
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

// between stands between a router and a BIND, and lets a test see every message, and cut the connection.
type between struct {
	address string
	mu      sync.Mutex
	// seen is called with each message to the server, and again with its answer, which is nil before. It cuts the connection by false.
	seen func(m, answer *wire.Msg) bool
}

func startBetween(t *testing.T, b *bind) *between {
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
			all.Go(func() { x.carry(c, b.address) })
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
