// Package registrytest runs image registries for tests: the docker-registry of Debian, on a directory of the test's.
package registrytest

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// startTimeout is how long a registry may take until it answers on a busy machine.
const startTimeout = 30 * time.Second

// Options says what a registry is like.
type Options struct {
	Host     string            // an address of the machine to listen on; "127.0.0.1" when empty
	Users    map[string]string // their passwords; anybody may read and write when there are none
	ReadOnly bool              // takes no writes, as during maintenance
}

// Registry is a registry that runs.
type Registry struct {
	Address string // HOST:PORT, by plain HTTP
	dir     string
	running *exec.Cmd
}

// Start starts an empty registry that ends with the test. It skips the test with -short, and when docker-registry is not
// installed, except in CI, where that is an error.
func Start(t testing.TB, o Options) *Registry {
	t.Helper()
	if testing.Short() {
		t.Skip("needs an image registry")
	}
	if _, err := exec.LookPath("docker-registry"); err != nil && os.Getenv("CI") == "" {
		t.Skipf("needs Debian's docker-registry: %v", err)
	}
	r := &Registry{dir: t.TempDir()}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	r.Address = freeAddress(t, o.Host)
	r.Configure(t, o)
	t.Cleanup(func() { r.Stop(t) })
	r.Run(t)
	return r
}

// Configure gives the registry other options, from its next Run on. Where it listens stays.
func (r *Registry) Configure(t testing.TB, o Options) {
	t.Helper()
	auth := ""
	if len(o.Users) > 0 {
		auth = fmt.Sprintf("auth: {htpasswd: {realm: test, path: %q}}\n", r.file("users"))
	}
	var users strings.Builder
	for user, password := range o.Users {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&users, "%s:%s\n", user, hash)
	}
	write(t, r.file("users"), users.String())
	write(t, r.file("config.yml"), fmt.Sprintf(config, r.file("images"), o.ReadOnly, r.Address, auth))
}

const config = `version: 0.1
log: {accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
  maintenance: {uploadpurging: {enabled: false}, readonly: {enabled: %t}}
http: {addr: %q, relativeurls: true}
%s`

// Run starts the registry again after Stop, and returns when it answers.
func (r *Registry) Run(t testing.TB) {
	t.Helper()
	output, err := os.OpenFile(r.file("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cmd := exec.Command("docker-registry", "serve", r.file("config.yml"))
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.running = cmd
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(startTimeout); ; <-tick.C {
		response, err := client.Get("http://" + r.Address + "/v2/")
		if err == nil {
			_ = response.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(r.file("log"))
			t.Fatalf("the registry does not answer after %s: %v\n%s", startTimeout, err, text)
		}
	}
}

// Stop kills the registry, in the middle of whatever it does. What it took by then is there when it runs again.
func (r *Registry) Stop(t testing.TB) {
	t.Helper()
	if r.running == nil {
		return
	}
	if err := r.running.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = r.running.Wait() // it says that it was killed
	r.running = nil
}

// Freeze stops the registry from running until Thaw or Stop: it accepts connections and answers nothing.
func (r *Registry) Freeze(t testing.TB) { r.signal(t, syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (r *Registry) Thaw(t testing.TB) { r.signal(t, syscall.SIGCONT) }

func (r *Registry) signal(t testing.TB, signal os.Signal) {
	t.Helper()
	if err := r.running.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// WipeTags removes every tag of a repository from the registry's directory, and leaves its images.
func (r *Registry) WipeTags(t testing.TB, repository string) {
	t.Helper()
	if _, err := os.Stat(r.tags(repository)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.tags(repository)); err != nil {
		t.Fatal(err)
	}
}

// BreakTag leaves a tag as it is when the registry's machine dies while it is written: empty.
func (r *Registry) BreakTag(t testing.TB, repository, tag string) {
	t.Helper()
	if err := os.Truncate(filepath.Join(r.tags(repository), tag, "current/link"), 0); err != nil {
		t.Fatal(err)
	}
}

func (r *Registry) tags(repository string) string {
	return filepath.Join(r.file("images"), "docker/registry/v2/repositories", repository, "_manifests/tags")
}

// CollectGarbage removes every image that no tag names, as operators of registries do. The registry must be stopped.
func (r *Registry) CollectGarbage(t testing.TB) {
	t.Helper()
	out, err := exec.Command("docker-registry", "garbage-collect", "--delete-untagged", r.file("config.yml")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// Behind returns an address at which the registry is reached through a handler, which is given what passes a request on.
func (r *Registry) Behind(t testing.TB, handler func(pass http.Handler) http.Handler) string {
	t.Helper()
	pass := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.Address})
	pass.Transport = &http.Transport{DisableKeepAlives: true}
	pass.ErrorLog = log.New(io.Discard, "", 0) // who asks gets the error
	front := httptest.NewServer(handler(pass))
	t.Cleanup(front.Close)
	return front.Listener.Addr().String()
}

func (r *Registry) file(name string) string { return filepath.Join(r.dir, name) }

// freeAddress returns an address on which nothing listens.
func freeAddress(t testing.TB, host string) string {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
