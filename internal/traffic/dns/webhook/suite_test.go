package webhook

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/suite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSuite runs the suite of all backends on external-dns's own provider for RFC 2136, behind external-dns's own webhook server, which changes
// a real BIND.
func TestSuite(t *testing.T) {
	suite.Run(t, suite.Peer{Start: func(t *testing.T, more string) *suite.Zone {
		t.Helper()
		b := bindtest.Start(t, more)
		return &suite.Zone{Backend: open(t, provider(t, b)), Server: b, All: b.All, Writes: b.Serial}
	}})
}

// open makes a backend.
func open(t *testing.T, url string) *Backend {
	t.Helper()
	backend, err := New(Options{Zone: bindtest.Zone, URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return backend
}

// provider runs external-dns's provider until the test ends, and returns its URL. Without it the test is skipped, except in CI, where that is an
// error.
func provider(t *testing.T, b *bindtest.Server) string {
	t.Helper()
	program, err := bundle.Program("crossfade-externaldns")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ip, port, err := net.SplitHostPort(b.Address)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "externaldns.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "ADDRESS="+address, "DNS_HOST="+ip, "DNS_PORT="+port, "ZONE="+bindtest.Zone, "KEY="+bindtest.Key, "SECRET="+bindtest.Secret)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
		if t.Failed() {
			raw, _ := os.ReadFile(log.Name())
			t.Logf("external-dns said:\n%s", raw[max(0, len(raw)-5000):])
		}
	})
	if !bindtest.Holds(30*time.Second, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}) {
		t.Fatal("external-dns does not listen")
	}
	return "http://" + address
}
