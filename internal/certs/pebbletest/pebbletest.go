// Package pebbletest runs Pebble, the ACME server for tests by Let's Encrypt, within a test: with a real signer, real validation over the
// loopback, and nonces of which it refuses a part.
package pebbletest

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// The paths below which Pebble takes what a client asks for.
const (
	NewOrder    = "/order-plz"
	Order       = "/my-order/"
	Authorize   = "/authZ/"
	Challenge   = "/chalZ/"
	Finalize    = "/finalize-order/"
	Download    = "/certZ/"
	RenewalInfo = "/draft-ietf-acme-ari-03/renewalInfo/"
)

// Options say how a Pebble differs from a plain one.
type Options struct {
	HTTPPort string            // at which it asks names by HTTP
	DNS      string            // the server that it asks for names; one that has every name at 127.0.0.1 unless set
	Validity uint64            // of certificates, in seconds; 90 days unless set
	Accounts map[string]string // the HMAC keys, in base64url, of the external accounts that it asks for; nobody is asked unless set
	Nonces   int               // how many nonces in a hundred it refuses; 5 unless set
}

// CA is a Pebble that runs for a test.
type CA struct {
	Directory string // the URL
	RootsFile string // the certificates that sign its server's

	mu      sync.Mutex
	counts  map[string]int
	before  func(http.ResponseWriter, *http.Request) bool
	after   func(*http.Request)
	handler http.Handler
	manage  http.Handler
	options Options
	port    int
}

// Start starts a Pebble.
func Start(t *testing.T, o Options) *CA {
	t.Helper()
	if o.DNS == "" {
		o.DNS = names(t)
	}
	port, err := strconv.Atoi(o.HTTPPort)
	if err != nil && o.HTTPPort != "" {
		t.Fatal(err)
	}
	c := &CA{counts: map[string]int{}, RootsFile: filepath.Join(t.TempDir(), "roots.pem"), options: o, port: port}
	c.Forget(t)
	server := httptest.NewTLSServer(c)
	t.Cleanup(server.Close)
	c.Directory = server.URL + wfe.DirectoryPath
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(c.RootsFile, roots, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// Forget has it know nothing of what it did, its accounts and orders included, and sign by another CA.
func (c *CA) Forget(t *testing.T) {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	for id, key := range c.options.Accounts {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			t.Fatal(err)
		}
	}
	defer c.environment(t)()
	signer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: c.options.Validity}})
	front := wfe.New(quiet, store, va.New(quiet, c.port, 0, true, c.options.DNS, store), signer, []string{"pebble.test"}, true, len(c.options.Accounts) > 0, 0, 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handler, c.manage = front.Handler(), front.ManagementHandler()
}

// settings is held while a Pebble is made: what it does is set by the environment alone, and tests run side by side.
var settings sync.Mutex

// environment sets what a new Pebble reads, until the function that it returns is called.
func (c *CA) environment(t *testing.T) (restore func()) {
	t.Helper()
	settings.Lock()
	values := map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"}
	if c.options.Nonces > 0 {
		values["PEBBLE_WFE_NONCEREJECT"] = strconv.Itoa(c.options.Nonces)
	}
	for name, value := range values {
		if err := os.Setenv(name, value); err != nil { //nolint:usetesting // it refuses tests that run side by side
			t.Error(err)
		}
	}
	return func() {
		for name := range values {
			_ = os.Unsetenv(name) // fails for no name
		}
		settings.Unlock()
	}
}

// RenewNow has it suggest (RFC 9773) that a certificate, in PEM, is renewed at once.
func (c *CA) RenewNow(t *testing.T, certificate []byte) {
	t.Helper()
	window, err := json.Marshal(map[string]any{"suggestedWindow": map[string]time.Time{
		"start": time.Now().Add(-2 * time.Hour).UTC(), "end": time.Now().Add(-time.Hour).UTC(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{"Certificate": string(certificate), "ARIResponse": string(window)})
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodPost, "/set-renewal-info/", bytes.NewReader(body))
	request.Header.Set("User-Agent", "crossfade")
	c.manage.ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		t.Fatalf("the CA does not suggest it: %s", answer.Body)
	}
}

// names runs a DNS server that has every name at 127.0.0.1.
func names(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	server, err := challtestsrv.New(challtestsrv.Config{DNSAddrs: []string{address}, Log: log.New(io.Discard, "", 0)})
	if err != nil {
		t.Fatal(err)
	}
	server.SetDefaultDNSIPv4("127.0.0.1")
	server.SetDefaultDNSIPv6("")
	server.Run()
	t.Cleanup(server.Shutdown)
	return address
}

// ServeHTTP counts what is asked for, and lets a test step in.
func (c *CA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	before, after, handler := c.before, c.after, c.handler
	c.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	recorded := &recorder{ResponseWriter: w, status: http.StatusOK}
	if after != nil {
		recorded.ResponseWriter = httptest.NewRecorder()
	}
	handler.ServeHTTP(recorded, r)
	c.mu.Lock()
	if recorded.status < http.StatusBadRequest { // those with a nonce that it did not like are not counted
		c.counts[r.URL.Path]++
	}
	c.mu.Unlock()
	if after == nil {
		return
	}
	if recorded.status < http.StatusBadRequest {
		after(r)
	}
	kept := recorded.ResponseWriter.(*httptest.ResponseRecorder) //nolint:errcheck,forcetypeassert // made above
	for name, values := range kept.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(kept.Code)
	_, _ = w.Write(kept.Body.Bytes()) // the client may be gone
}

// recorder notes the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Asked is how often it was asked for what is below a path, and did not refuse.
func (c *CA) Asked(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for at, count := range c.counts {
		if strings.HasPrefix(at, path) {
			n += count
		}
	}
	return n
}

// Before sets what sees every request, and answers it where it returns true.
func (c *CA) Before(see func(http.ResponseWriter, *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = see
}

// After sets what sees every request that it did what was asked for, before the client has the answer.
func (c *CA) After(see func(*http.Request)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after = see
}
