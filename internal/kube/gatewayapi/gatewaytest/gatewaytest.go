// Package gatewaytest runs the Gateway API for tests: its definitions, and Traefik as the controller and proxy of Gateways.
package gatewaytest

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// Definitions are the CustomResourceDefinitions of the Gateway API that Traefik asks for, from the module that it is built with.
func Definitions(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	var text strings.Builder
	for _, file := range DefinitionFiles(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString("---\n")
		text.Write(raw)
	}
	return kubetest.Objects(t, text.String())
}

// DefinitionFiles are the files of Definitions.
func DefinitionFiles(t *testing.T) []string {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "sigs.k8s.io/gateway-api")
	cmd.Dir = filepath.Join(bundle.Root(wd), "bundle", "traefik")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cannot find the Gateway API: %v", err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(module.Dir, "config", "crd", "standard", "gateway.networking.k8s.io_[^v]*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no definitions: %v", module.Dir, err)
	}
	return files
}

// Program is the path of Traefik. Without it the test is skipped, except in CI, where that is an error.
func Program(t *testing.T) string {
	t.Helper()
	program, err := bundle.Program("crossfade-traefik")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// Start runs Traefik beside a cluster until the test ends, with some options more. It serves the listeners of Gateways at a port of loopback, whose number is theirs.
func Start(t *testing.T, kubeconfig, port string, options ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "traefik.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(Program(t), append([]string{
		"--providers.kubernetesgateway", "--providers.kubernetesgateway.statusaddress.ip=127.0.0.1",
		"--entrypoints.web.address=127.0.0.1:" + port, "--global.checknewversion=false",
	}, options...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
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
			t.Logf("Traefik said:\n%s", raw[max(0, len(raw)-5000):])
		}
	})
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Traefik does not listen: %v", err)
		}
	}
}

// Address is one of this machine that is not loopback, at which an endpoint may be.
func Address(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() && ip.IP.To4() != nil {
			return ip.IP.String()
		}
	}
	t.Fatal("this machine has no address but those of loopback")
	return ""
}
