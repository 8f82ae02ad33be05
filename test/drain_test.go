package test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	corev1 "k8s.io/api/core/v1"

	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/image"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// pushWithCat pushes a version of the shop whose image has a cat.
func (w *world) pushWithCat(t *testing.T, tag string) {
	t.Helper()
	cat := filepath.Join(t.TempDir(), "cat")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", cat, "./testdata/cat")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build cat: %v\n%s", err, out)
	}
	shop, err := image.Build("../bin/shop", image.Options{Path: "/shop", Env: []string{"PATH=/bin", "TAG=" + tag}})
	if err == nil {
		shop, err = withProgram(shop, "bin/cat", cat)
	}
	if err == nil {
		_, err = local.New(local.Options{StateDir: w.state}).Push(t.Context(), "shop/shop:"+tag, shop)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// withProgram is an image with a program more.
func withProgram(base v1.Image, name, file string) (v1.Image, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	out := tar.NewWriter(&layer)
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := out.Write(content); err != nil {
		return nil, err
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	more, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(base, more)
}

// address is where the Kubernetes Service web answers from outside of the cluster.
func (w *world) address(t *testing.T) string {
	t.Helper()
	generation := w.live()
	kubectl := func(into any, args ...string) {
		t.Helper()
		command := append([]string{"--kubeconfig", filepath.Join(w.state, "local", generation, "kubeconfig"), "-o", "json"}, args...)
		out, err := exec.CommandContext(t.Context(), "../bin/lab/kubectl", command...).Output()
		if err != nil {
			t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
		}
		if err := json.Unmarshal(out, into); err != nil {
			t.Fatal(err)
		}
	}
	var service corev1.Service
	kubectl(&service, "get", "service", "-n", "shop-web", "web")
	var nodes corev1.NodeList
	kubectl(&nodes, "get", "nodes")
	return net.JoinHostPort(nodes.Items[0].Status.Addresses[0].Address, fmt.Sprint(service.Spec.Ports[0].NodePort))
}

// TestDrain holds a connection to the version before: it is neither cut off while it is there, nor waited for when it is gone.
func TestDrain(t *testing.T) {
	t.Parallel() // it waits, most of its time
	w := newWorld(t, blueGreenWeb, edit{"services.yaml", "drain: 8s", "drain: 5m"}, edit{"production.yaml", "      health: /healthz\n", ""})
	for _, tag := range []string{"v1", "v2"} {
		w.pushWithCat(t, tag)
	}
	w.must("rollover", environment)

	connection, err := net.Dial("tcp", w.address(t))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	answers := bufio.NewReader(connection)
	ask := func() error {
		if _, err := fmt.Fprintf(connection, "GET /livez HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"); err != nil {
			return err
		}
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan finished, 1)
	go func() { ended <- w.run("deploy", "web@v2", environment) }()
	w.wait(func() bool { return w.said("drain", "connections are left, 1 at first") || len(ended) > 0 })
	if err := ask(); err != nil || !w.said("drain", "connections are left, 1 at first") {
		t.Errorf("while a connection is held: %v, and it was not counted: %v", err, w.toldOf("drain"))
	}
	released := time.Now()
	connection.Close()
	if o := <-ended; o.status != 0 || !w.said("drain", "no connection is left") {
		t.Errorf("exit %d\n%s%s", o.status, o.stdout, o.stderr)
	}
	if took := time.Since(released); took > 90*time.Second {
		t.Errorf("the connection was gone, and the deployment ended %v later", took)
	}
}

// toldOf is what the newest run has told of a step.
func (w *world) toldOf(step string) []record.Event {
	w.t.Helper()
	events, err := w.store().Events(w.t.Context(), w.runs()[0].ID, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	var told []record.Event
	for _, e := range events {
		if e.Step == step {
			told = append(told, e)
		}
	}
	return told
}

// said reports whether the newest run has said something of a step.
func (w *world) said(step, what string) bool {
	for _, e := range w.toldOf(step) {
		if e.Message == what {
			return true
		}
	}
	return false
}
