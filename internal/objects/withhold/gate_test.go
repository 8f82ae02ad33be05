package withhold

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// gate stands between a program and the API servers that it changes: it kills the program at a change, as seen from there. The
// change is made, its answer is not given, and nothing passes any more.
type gate struct {
	lock   sync.Mutex
	left   int // changes that pass; negative for all
	closed bool
	made   int                   // changes made since it was opened
	after  func(r *http.Request) // is called after each change
}

// open lets the next n changes pass; all for a negative n.
func (g *gate) open(n int) {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.left, g.closed, g.made = n, false, 0
}

// changes is how many changes were made since the gate was opened.
func (g *gate) changes() int {
	g.lock.Lock()
	defer g.lock.Unlock()
	return g.made
}

// serve passes requests on, one change at a time.
func (g *gate) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	if r.Method == http.MethodGet {
		g.lock.Lock()
		closed := g.closed
		g.lock.Unlock()
		if closed {
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
		return
	}
	g.lock.Lock()
	defer g.lock.Unlock()
	if g.closed {
		panic(http.ErrAbortHandler)
	}
	answer := httptest.NewRecorder()
	forward.ServeHTTP(answer, r)
	g.made++
	if g.after != nil {
		g.after(r)
	}
	if g.left--; g.left == 0 {
		g.closed = true
		panic(http.ErrAbortHandler)
	}
	for key, values := range answer.Header() {
		w.Header()[key] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // the client went away
}

// through returns a connection to an API server that goes through the gate.
func (g *gate) through(t *testing.T, s *kubetest.Server) *kube.Cluster {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Access.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Authorization", "Bearer "+config.BearerToken)
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // a test's own server
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, proxy) }))
	t.Cleanup(server.Close)
	access := cluster.Access{Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), Context: s.Access.Context}
	text := fmt.Sprintf("{apiVersion: v1, kind: Config, contexts: [{name: %[1]s, context: {cluster: c, user: u}}], clusters: [{name: c, cluster: {server: %[2]q}}], users: [{name: u, user: {}}]}",
		access.Context, server.URL)
	if err := os.WriteFile(access.Kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := kube.Connect(access)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
