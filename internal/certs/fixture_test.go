package certs

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/certs/pebbletest"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
	}
	// Pebble's validator has no end.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

// edge is a router that answers by itself, and 404 what it was not told to.
type edge struct {
	server *httptest.Server
	mu     gosync.Mutex
	texts  map[string]string // by host and path
}

func startEdge(t *testing.T) *edge {
	t.Helper()
	e := &edge{texts: map[string]string{}}
	e.server = httptest.NewServer(e)
	t.Cleanup(e.server.Close)
	return e
}

func (e *edge) port() string {
	_, port, _ := net.SplitHostPort(e.server.Listener.Addr().String())
	return port
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	switch r.Method { // of a remote
	case http.MethodPut:
		text, _ := io.ReadAll(r.Body)
		_ = e.Answer(r.Context(), host, r.URL.Path, string(text))
		return
	case http.MethodDelete:
		_ = e.Silence(r.Context(), host)
		return
	}
	e.mu.Lock()
	text, known := e.texts[host+r.URL.Path]
	e.mu.Unlock()
	if !known {
		w.Header().Set("Server", "somebody-else")
		http.NotFound(w, r)
		return
	}
	fmt.Fprint(w, text)
}

func (e *edge) Answer(_ context.Context, host, path, text string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.texts[host+path] = text
	return nil
}

func (e *edge) Silence(_ context.Context, host string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for at := range e.texts {
		if strings.HasPrefix(at, host+"/") {
			delete(e.texts, at)
		}
	}
	return nil
}

// proof proves names by the edge; every name leads to an address.
func (e *edge) proof(address string) *HTTP {
	p := NewHTTP(e, "edge")
	p.Client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	return p
}

// identity makes a file with an age key.
func identity(t *testing.T) string {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	ok(t, err)
	file := filepath.Join(t.TempDir(), "backup.key")
	ok(t, os.WriteFile(file, []byte("# created: today\n"+key.String()+"\n"), 0o600))
	return file
}

// scene is a CA, a router, and a backup.
type scene struct {
	ca    *pebbletest.CA
	edge  *edge
	dir   string
	key   string
	now   time.Time
	mu    gosync.Mutex
	heard []string
}

func newScene(t *testing.T, o pebbletest.Options) *scene {
	t.Helper()
	s := &scene{edge: startEdge(t), dir: filepath.Join(t.TempDir(), "backup"), key: identity(t)}
	o.HTTPPort = s.edge.port()
	s.ca = pebbletest.Start(t, o)
	return s
}

// request asks for a certificate for names.
func (s *scene) request(t *testing.T, names ...string) *Request {
	t.Helper()
	b, err := OpenBackup(s.dir, s.key)
	ok(t, err)
	return &Request{
		Of: spec.Certificate{
			Name: "shop", Names: names, HTTP01: "edge",
			Issuer: spec.Issuer{Directory: s.ca.Directory, CAFile: s.ca.RootsFile, Email: "ops@example.com"},
		},
		Backup: b, Prover: s.edge.proof(s.edge.server.Listener.Addr().String()),
		Now: func() time.Time {
			if s.now.IsZero() {
				return time.Now()
			}
			return s.now
		},
		Say: func(format string, args ...any) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.heard = append(s.heard, fmt.Sprintf(format, args...))
		},
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
}

// refused wants an error of a code, of one line, with a hint, that says something.
func refused(t *testing.T, reason string, err error, code fault.Code, says ...string) {
	t.Helper()
	text := fmt.Sprint(err)
	if fault.CodeOf(err) != code || fault.HintOf(err) == "" || strings.Contains(text, "\n") {
		t.Errorf("%s: got %v (%s, hint %q), want one line of code %s, with a hint", reason, err, fault.CodeOf(err), fault.HintOf(err), code)
	}
	for _, part := range says {
		if !strings.Contains(text, part) {
			t.Errorf("%s: got %v, want it to say %q", reason, err, part)
		}
	}
}

// asked compares what the CA was asked for with what it should have been.
func (s *scene) asked(t *testing.T, reason string, orders, finalized int) {
	t.Helper()
	if o, f := s.ca.Asked(pebbletest.NewOrder), s.ca.Asked(pebbletest.Finalize); o != orders || f != finalized {
		t.Errorf("%s: %d orders and %d certificates were requested, want %d and %d", reason, o, f, orders, finalized)
	}
}

// silent proves nothing to the CA, though its probe succeeds.
type silent struct{ *HTTP }

func (s *silent) Present(context.Context, acme.Challenge) error { return nil }

// external is an account at a CA, with its key in a file.
func external(t *testing.T, id, key string) *spec.ExternalAccount {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hmac")
	ok(t, os.WriteFile(file, []byte(key+"\n"), 0o600))
	return &spec.ExternalAccount{KeyID: id, KeyFile: file}
}
