// Package kubetest runs real Kubernetes API servers for tests: etcd and kube-apiserver from the lab bundle on loopback,
// without nodes and controllers. That is enough for everything that reads and writes objects.
package kubetest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
)

// startTimeout is how long an API server may take until it is ready on a busy machine.
const startTimeout = 90 * time.Second

// Server is a running API server.
type Server struct {
	Access cluster.Access
	api    *exec.Cmd
	start  func() *exec.Cmd // starts the API server
	dir    string           // with its keys
}

// Start starts an API server that ends with the test, with a kubeconfig whose one context has the given name. It skips the
// test with -short, and when the lab bundle is not built, except in CI, where that is an error.
func Start(t *testing.T, name string) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Kubernetes API server")
	}
	dir := t.TempDir()
	etcdURL, peerURL := "http://"+freeAddress(t), "http://"+freeAddress(t)
	run(t, dir, program(t, "etcd"), "--name", name, "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL, "--listen-peer-urls", peerURL)
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	key, token := writeKey(t, dir), newToken()
	tokens := filepath.Join(dir, "tokens.csv")
	write(t, tokens, token+",admin,admin,system:masters\n")
	s := &Server{dir: dir, start: func() *exec.Cmd {
		return run(t, dir, program(t, "kube-apiserver"), "--etcd-servers", etcdURL,
			"--bind-address", "127.0.0.1", "--secure-port", port, "--cert-dir", filepath.Join(dir, "certs"),
			"--token-auth-file", tokens, "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.96.0.0/16",
			"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", key,
			"--service-account-signing-key-file", key)
	}}
	s.api = s.start()
	s.Access = cluster.Access{Kubeconfig: filepath.Join(dir, "kubeconfig"), Context: name}
	write(t, s.Access.Kubeconfig, fmt.Sprintf(kubeconfig, name, address, token))
	s.await(t, dir)
	return s
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
	s.signal(t, syscall.SIGKILL)
	_ = s.api.Wait() // it was killed
	s.api = s.start()
	s.await(t, t.TempDir())
}

// Freeze stops the API server from running until Thaw or the end of the test: it accepts connections and answers nothing.
func (s *Server) Freeze(t *testing.T) { s.signal(t, syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (s *Server) Thaw(t *testing.T) { s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := s.api.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// Manage starts the controllers of Kubernetes beside the API server, until the test ends: the kube-controller-manager as it
// is. It returns when they make what every namespace gets. There are still no nodes, so that no pod ever runs.
func (s *Server) Manage(t *testing.T) {
	t.Helper()
	run(t, s.dir, program(t, "kube-controller-manager"), "--kubeconfig", s.Access.Kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--service-account-private-key-file", filepath.Join(s.dir, "service-account.key"), "--root-ca-file", filepath.Join(s.dir, "certs", "apiserver.crt"),
		"--kube-api-qps=200", "--kube-api-burst=400")
	account := Objects(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: default}}")[0]
	deadline, c := time.Now().Add(startTimeout), s.Connect(t)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		if found, err := c.Get(t.Context(), account); err != nil || found != nil {
			tick.Stop()
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(s.dir, "kube-controller-manager.log"))
			t.Fatalf("the controllers do not work after %s\n%s", startTimeout, log[max(0, len(log)-4000):])
		}
	}
}

// await waits until the API server answers and has made its own objects.
func (s *Server) await(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	c := s.Connect(t)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := c.Healthy(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(dir, "kube-apiserver.log"))
			t.Fatalf("the API server is not ready after %s: %v\n%s", startTimeout, err, log[max(0, len(log)-4000):])
		case <-ticker.C:
		}
	}
}

const kubeconfig = `apiVersion: v1
kind: Config
current-context: %[1]s
contexts: [{name: %[1]s, context: {cluster: %[1]s, user: %[1]s}}]
clusters: [{name: %[1]s, cluster: {server: "https://%[2]s", insecure-skip-tls-verify: true}}]
users: [{name: %[1]s, user: {token: %[3]s}}]
`

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := bundle.Program(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

// run starts a program in the background and kills it at the end of the test, or when the test is killed.
func run(t *testing.T, dir, program string, args ...string) *exec.Cmd {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, filepath.Base(program)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // also ends a frozen one
		_ = cmd.Wait()
		_ = log.Close()
	})
	return cmd
}

func writeKey(t *testing.T, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "service-account.key")
	write(t, file, text.String())
	return file
}

func newToken() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	return hex.EncodeToString(raw)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
