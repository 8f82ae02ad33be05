// Package kubetest runs API servers for tests: real ones (package apiserver), and canned ones for what real ones seldom show.
package kubetest

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/apiserver"
)

// startTimeout is how long something may take to show in an API server on a busy machine.
const startTimeout = 90 * time.Second

// Server is a running API server.
type Server struct {
	Access cluster.Access
	real   *apiserver.Server
}

// Start starts an API server that ends with the test, with a kubeconfig whose one context has the given name. It skips the
// test with -short, and when the lab bundle is not built, except in CI, where that is an error.
func Start(t *testing.T, name string) *Server {
	t.Helper()
	return StartIn(t, t.TempDir(), name)
}

// StartIn is Start that keeps everything in a directory, the data of etcd in its directory etcd.
func StartIn(t *testing.T, dir, name string) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Kubernetes API server")
	}
	if _, err := bundle.Program("kube-apiserver"); err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	real, err := apiserver.Start(t.Context(), dir, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(real.Stop)
	return &Server{Access: real.Access, real: real}
}

// Connect returns a connection to the server.
func (s *Server) Connect(t *testing.T) *kube.Cluster {
	t.Helper()
	c, err := kube.Connect(s.Access)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Restart kills the API server and starts it again. It returns when the server answers.
func (s *Server) Restart(t *testing.T) {
	t.Helper()
	if err := s.real.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Freeze stops the API server from running until Thaw or the end of the test: it accepts connections and answers nothing.
func (s *Server) Freeze(t *testing.T) { s.signal(t, syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (s *Server) Thaw(t *testing.T) { s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := s.real.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// Manage starts the controllers of Kubernetes beside the API server, until the test ends: the kube-controller-manager as it
// is. It returns when they make what every namespace gets. There are still no nodes, so that no pod ever runs.
func (s *Server) Manage(t *testing.T) {
	t.Helper()
	s.Revive(t, apiserver.Controllers)
	account := Objects(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: default}}")[0]
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline, c := time.Now().Add(startTimeout), s.Connect(t); ; <-tick.C {
		if found, err := c.Get(t.Context(), account); err != nil {
			t.Fatal(err)
		} else if found != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the controllers do not work after %s\n%s", startTimeout, s.real.Log(apiserver.Controllers))
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
