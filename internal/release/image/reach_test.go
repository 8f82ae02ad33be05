package image_test

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	local "github.com/crossfade-dev/crossfade/internal/cluster/local/image"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/release/image"
	"github.com/crossfade-dev/crossfade/internal/release/image/registrytest"
)

// inside says that the process is the one that TestAddresses started in a network of its own.
const inside = "IMAGE_TEST_NETWORK"

// Which addresses are spoken to by plain HTTP without being told. The test runs itself in a network namespace, where it can have
// any address; nothing of it is left when it ends.
func TestAddresses(t *testing.T) {
	if os.Getenv(inside) != "" {
		testAddresses(t)
		return
	}
	t.Parallel()
	if testing.Short() {
		t.Skip("needs an image registry")
	}
	if os.Getuid() != 0 && os.Getenv("CI") == "" {
		t.Skip("needs root, to make a network namespace")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAddresses$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
}

func testAddresses(t *testing.T) {
	plainly := failure{fault.Failed, "speaks plain HTTP", "only to addresses on loopback and private networks"}
	tests := map[string]struct {
		reason, host string
		failure      failure
	}{
		"Loopback": {reason: "of this machine", host: "127.0.0.1"},
		"Ten":      {reason: "a private network", host: "10.96.0.10"},
		"Docker":   {reason: "a private network", host: "172.17.0.1"},
		"House":    {reason: "a private network", host: "192.168.1.10"},
		"Public":   {reason: "no credentials in clear text to an address of the world", host: "203.0.113.10", failure: plainly},
		"Nodes":    {reason: "nor to those of local clusters' nodes, whose registry is read by its name", host: "198.18.0.2", failure: plainly},
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if out, err := exec.Command("ip", "address", "replace", tc.host+"/32", "dev", "lo").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			r := registrytest.Start(t, registrytest.Options{Host: tc.host})
			tc.failure.check(t, tc.reason, errorOf(image.Client{}.Current(t.Context(), r.Address+"/shop/web", "v1")))
			if tc.failure.code != "" {
				return
			}
			digest := registrytest.Push(t, r.Address, "shop/web:v1")
			if err := (image.Client{}).Move(t.Context(), r.Address+"/shop/web", "latest", digest); err != nil {
				t.Error(err)
			}
			if got, err := (image.Client{}).Resolve(t.Context(), r.Address+"/shop/web", "latest"); err != nil || got.Digest != digest {
				t.Errorf("%s: got %v, want %s: %v", tc.reason, got, digest, err)
			}
		})
	}
}

// The registry of local clusters has a name that only their nodes know, and takes writes only at its socket.
func TestRegistryOfLocalClusters(t *testing.T) {
	t.Parallel()
	const host, web = "registry.crossfade.local", "registry.crossfade.local/shop/web"
	dir := t.TempDir()
	socket := filepath.Join(dir, "push")
	address, stop := startLocal(t, socket, dir)
	push := func(reference string) string {
		content, err := random.Image(64, 1)
		if err != nil {
			t.Fatal(err)
		}
		pushed, err := local.Registry{Socket: socket, Name: host}.Push(t.Context(), reference, content)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(pushed, web+"@")
	}
	old, newer := push("shop/web:v1"), push("shop/web:v2")
	client := image.Client{Sockets: map[string]string{host: socket}}
	if got, err := client.Resolve(t.Context(), web, "v1"); err != nil || got != (image.Version{Repository: web, Tag: "v1", Digest: old}) {
		t.Fatalf("got %v, want %s: %v", got, old, err)
	}
	for _, digest := range []string{old, newer, newer, old} {
		if err := client.Move(t.Context(), web, "latest", digest); err != nil {
			t.Fatal(err)
		}
		if got, err := client.Current(t.Context(), web, "latest"); err != nil || got != digest {
			t.Errorf("the tag names %s, want %s: %v", got, digest, err)
		}
	}
	failure{fault.Invalid, "no such tag", "the repository has v2, v1, latest"}.check(t, "not there", errorOf(client.Resolve(t.Context(), web, "v3")))
	failure{fault.Invalid, "cannot find " + absent, "the repository has v2, v1"}.check(t, "nor this", client.Move(t.Context(), web, "latest", absent))
	failure{fault.Unavailable, "the registry " + host + " does not answer", "curl -i"}.check(t, "by its name, nobody knows it",
		errorOf(image.Client{}.Resolve(t.Context(), web, "v1")))
	failure{fault.Failed, "refuses it (405 method not allowed", "read-only"}.check(t, "its address is for reading",
		image.Client{}.Move(t.Context(), address+"/shop/web", "latest", newer))
	stop()
	failure{fault.Unavailable, "the registry " + host + " does not answer: dial unix " + socket, "curl -i"}.check(t, "it is not up",
		errorOf(client.Resolve(t.Context(), web, "v1")))
	startLocal(t, socket, dir)
	if got, err := client.Current(t.Context(), web, "latest"); err != nil || got != old {
		t.Errorf("after its restart the tag names %s, want %s: %v", got, old, err)
	}
}

// No connection to a socket stays open after a call: the next one makes its own.
func TestSocketsAreClosed(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	changes := make(chan http.ConnState, 100)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Listener = listener
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) { changes <- state }
	server.Start()
	t.Cleanup(server.Close)
	client := image.Client{Sockets: map[string]string{"registry.example": socket}}
	failure{fault.Failed, "registry.example is no image registry", "curl -i"}.check(t, "something else", errorOf(client.Current(t.Context(), "registry.example/web", "v1")))
	deadline := time.After(10 * time.Second)
	for made, open := 0, 0; made < 2 || open > 0; { // one by TLS, in vain, then those that are used
		select {
		case state := <-changes:
			switch state {
			case http.StateNew:
				made, open = made+1, open+1
			case http.StateClosed:
				open--
			}
		case <-deadline:
			t.Fatalf("of %d connections %d are open", made, open)
		}
	}
}

// startLocal starts the registry of local clusters, until the test ends or stop is called, and returns where it is read.
func startLocal(t *testing.T, socket, dir string) (address string, stop func()) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs an image registry")
	}
	program, err := bundle.Program("registry")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = free.Addr().String()
	_ = free.Close()
	cmd := exec.Command(program, "--listen", address, "--socket", socket, "--dir", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(stop)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		if response, err := client.Get("http://" + address + "/v2/"); err == nil {
			_ = response.Body.Close()
			if conn, err := net.Dial("unix", socket); err == nil {
				_ = conn.Close()
				return address, stop
			}
		}
	}
	t.Fatal("the registry of local clusters does not answer")
	return "", nil
}
