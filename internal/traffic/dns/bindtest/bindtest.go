// Package bindtest runs BIND for tests: the one of Debian, several at a time, each with a directory of its own.
package bindtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

const (
	program      = "/usr/sbin/named"
	startTimeout = 30 * time.Second
)

// What every server has: a zone, the key crossfade that may update it as the documentation says, and the key reader that may not. They are for
// hmac-sha256.
const (
	Zone         = "example.com"
	Key          = "crossfade"
	Secret       = "c2VjcmV0LW9mLWNyb3NzZmFkZS0wMTIzNDU2Nzg5MDE="
	Reader       = "reader"
	ReaderSecret = "b3RoZXItc2VjcmV0LTAxMjM0NTY3ODkwMTIzNDU2Nzg="
)

// keys are those of the configuration.
const keys = `key "` + Key + `" { algorithm hmac-sha256; secret "` + Secret + `"; };
key "admin" { algorithm hmac-sha256; secret "` + Secret + `"; };
key "` + Reader + `" { algorithm hmac-sha256; secret "` + ReaderSecret + `"; };
`

// zoneFile is the zone as others have made it. Its negative answers are kept for a second.
const zoneFile = `$TTL 60
@      IN SOA ns1.example.com. admin.example.com. 1 60 60 3600 1
@      IN NS ns1.example.com.
ns1    IN A 127.0.0.1
www    IN A 10.9.9.9
mail   IN MX 10 www.example.com.
`

// Server is a BIND that runs for a test.
type Server struct {
	Address string // HOST:PORT
	root    string
	running *exec.Cmd
}

// Start starts a BIND with what a test adds to its zone. It skips the test with -short, and when BIND is not installed, except in CI, where
// that is an error.
func Start(t *testing.T, more string) *Server {
	t.Helper()
	b := New(t)
	b.Primary(t, more, nil)
	return b
}

// New returns a BIND that does not run yet.
func New(t *testing.T) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return &Server{Address: l.Addr().String(), root: t.TempDir()}
}

// Primary runs it as the primary of the zone, with records that a test adds to it. It tells a secondary of changes, if there is one.
func (b *Server) Primary(t *testing.T, more string, secondary *Server) {
	t.Helper()
	notify := ""
	if secondary != nil {
		notify = asBind(secondary.Address)
	}
	b.write(t, "example.com.zone", zoneFile+more)
	b.run(t, fmt.Sprintf(`zone "example.com" {
  type primary; file "example.com.zone"; update-policy { grant crossfade zonesub CNAME A AAAA TXT; grant admin zonesub ANY; }; allow-transfer { any; }; notify-delay 0; also-notify { %s };
};`, notify))
}

// Secondary runs it as a copy of another.
func (b *Server) Secondary(t *testing.T, primary *Server) {
	t.Helper()
	b.run(t, fmt.Sprintf(`zone "example.com" { type secondary; primaries { %s }; };`, asBind(primary.Address)))
}

// asBind is an address as BIND writes it.
func asBind(address string) string {
	ip, port, _ := net.SplitHostPort(address)
	return ip + " port " + port + ";"
}

// run starts BIND with some zones, and waits until it answers for ours.
func (b *Server) run(t *testing.T, zones string) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs BIND")
	}
	if _, err := os.Stat(program); err != nil && os.Getenv("CI") == "" {
		t.Skipf("needs Debian's bind9: %v", err)
	}
	ip, port, err := net.SplitHostPort(b.Address)
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
	t.Cleanup(b.Stop)
	t.Cleanup(func() {
		if t.Failed() {
			raw, _ := os.ReadFile(b.file("log"))
			t.Logf("%s", raw)
		}
	})
	if !Holds(startTimeout, func() bool {
		soa, err := b.Query(Zone, wire.TypeSOA)
		return err == nil && len(soa.Answer) == 1
	}) {
		t.Fatalf("BIND does not answer at %s", b.Address)
	}
}

// Stop ends it, if it runs.
func (b *Server) Stop() {
	if b.running == nil {
		return
	}
	_ = syscall.Kill(-b.running.Process.Pid, syscall.SIGKILL)
	_ = b.running.Wait() // it was killed
	b.running = nil
}

func (b *Server) file(name string) string { return filepath.Join(b.root, name) }

func (b *Server) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(b.file(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Query asks it, as anybody does.
func (b *Server) Query(name string, kind uint16) (*wire.Msg, error) {
	client := wire.Client{Timeout: time.Second}
	answer, _, err := client.Exchange(new(wire.Msg).SetQuestion(wire.Fqdn(name), kind), b.Address)
	return answer, err
}

// Serial is that of the zone, which changes with every update that has an effect.
func (b *Server) Serial(t *testing.T) uint32 {
	t.Helper()
	answer, err := b.Query(Zone, wire.TypeSOA)
	if err != nil || len(answer.Answer) != 1 {
		t.Fatalf("no SOA: %v %v", answer, err)
	}
	return answer.Answer[0].(*wire.SOA).Serial
}

// All are the records of the zone but its SOA, a line each.
func (b *Server) All(t *testing.T) []string {
	t.Helper()
	envelopes, err := new(wire.Transfer).In(new(wire.Msg).SetAxfr(wire.Fqdn(Zone)), b.Address)
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

// Change has somebody else change the zone: lines are records to add; those with the TTL 0 take sets of records away.
func (b *Server) Change(t testing.TB, lines ...string) {
	t.Helper()
	m := new(wire.Msg).SetUpdate(wire.Fqdn(Zone))
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
func (b *Server) send(t testing.TB, m *wire.Msg) {
	t.Helper()
	m.SetTsig("admin.", wire.HmacSHA256, 300, time.Now().Unix())
	client := wire.Client{Net: "tcp", TsigSecret: map[string]string{"admin.": Secret}}
	answer, _, err := client.Exchange(m, b.Address)
	if err != nil || answer.Rcode != wire.RcodeSuccess {
		t.Fatalf("cannot change the zone: %v %v", answer, err)
	}
}

// Remove has somebody else take one record out of the zone.
func (b *Server) Remove(t *testing.T, line string) {
	t.Helper()
	rr, err := wire.NewRR(line)
	if err != nil {
		t.Fatal(err)
	}
	m := new(wire.Msg).SetUpdate(wire.Fqdn(Zone))
	m.Remove([]wire.RR{rr})
	b.send(t, m)
}

// Leads returns where a name of the zone leads, all the way: names and addresses of IPv4, in order.
func (b *Server) Leads(t *testing.T, name string) string {
	t.Helper()
	if _, err := b.Query(name, wire.TypeA); err != nil {
		t.Fatal(err)
	}
	return b.Answers(name)
}

// Answers is Leads for other goroutines than a test's; "" where there is no answer.
func (b *Server) Answers(name string) string {
	answer, err := b.Query(name, wire.TypeA)
	if err != nil {
		return ""
	}
	var to []string
	for _, rr := range answer.Answer {
		switch rr := rr.(type) {
		case *wire.CNAME:
			to = append(to, strings.TrimSuffix(rr.Target, "."))
		case *wire.A:
			to = append(to, rr.A.String())
		}
	}
	slices.Sort(to)
	return strings.Join(to, " ")
}

// TTL is that of a name's first record, as the server has it.
func (b *Server) TTL(t *testing.T, name string) uint32 {
	t.Helper()
	answer, err := b.Query(name, wire.TypeA)
	if err != nil || len(answer.Answer) == 0 {
		t.Fatalf("%s: %v %v", name, answer, err)
	}
	return answer.Answer[0].Header().Ttl
}

// Source is the name of a zone whose records a server answers for another: that itself, or the wildcard below the closest name above it that is there, be
// it by names below it (RFC 4592 section 3.3.1). The names of the zone have a dot at their end.
func Source(names []string, name string) string {
	there := func(at string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return wire.IsSubDomain(at, n) })
	}
	above := name
	for above != "" && !there(above) {
		_, above, _ = strings.Cut(above, ".")
	}
	if above == name {
		return name
	}
	return "*." + above
}

// Pick is one of some at random, by their weights; the first one where all weights are 0. There is at least one.
func Pick[T any](all []T, weight func(T) int) T {
	total := 0
	for _, one := range all {
		total += weight(one)
	}
	if total == 0 {
		return all[0]
	}
	at := rand.IntN(total)
	return all[slices.IndexFunc(all, func(one T) bool { at -= weight(one); return at < 0 })]
}

// Holds waits for a condition, and reports whether it came to hold.
func Holds(limit time.Duration, condition func() bool) bool {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(limit); !condition(); <-again.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
