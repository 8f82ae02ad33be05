package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// TestCluster uses a server as --temporal would: by its address and Temporal's own environment variables, from a state directory
// of its own.
func TestCluster(t *testing.T) {
	dir := t.TempDir()
	bundledEngine := open(t, dir)
	address, err := os.ReadFile(bundledEngine.dir.file(addressFile))
	if err != nil {
		t.Fatal(err)
	}
	identity := bundledEngine.dir.file(identityFile)
	for name, value := range map[string]string{
		caVariable: identity, certVariable: identity, keyVariable: identity, serverNameVariable: serverName,
	} {
		t.Setenv(name, value)
	}
	e, err := Open(t.Context(), Options{StateDir: t.TempDir(), TemporalAddress: strings.TrimSpace(string(address))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	stop := work(t, e)
	defer stop()
	var result string
	file := filepath.Join(t.TempDir(), "notes")
	if err := e.Wait(t.Context(), start(t, e, "diary", "notes", order{File: file, Count: 2, Text: "done"}), &result); err != nil || result != "done" {
		t.Errorf("Wait() = %q, %v", result, err)
	}
	if err := ensureNamespace(t.Context(), e.client, "another"); err != nil {
		t.Errorf("a missing namespace: %v", err)
	}
	if err := ensureNamespace(t.Context(), e.client, "another"); err != nil {
		t.Errorf("a namespace that is there: %v", err)
	}
}

func TestClusterTLS(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		env    map[string]string
		want   bool // whether TLS is used
		fault  fault.Code
	}{
		"nothing":           {reason: "a cluster without TLS needs no settings", env: nil, want: false},
		"asked for":         {reason: "the machine's own authorities", env: map[string]string{tlsVariable: "true"}, want: true},
		"key":               {reason: "an API key never goes out in the clear", env: map[string]string{apiKeyVariable: "x"}, want: true},
		"missing authority": {reason: "a file that is not there", env: map[string]string{caVariable: "/nowhere/ca.pem"}, fault: fault.Invalid},
		"empty authority":   {reason: "a file without a certificate", env: map[string]string{caVariable: empty}, fault: fault.Invalid},
		"missing key":       {reason: "a certificate without its key", env: map[string]string{certVariable: empty}, fault: fault.Invalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := clusterTLS(func(name string) string { return c.env[name] })
			if diff := cmp.Diff(c.fault, fault.CodeOf(err)); diff != "" {
				t.Errorf("%s: -want +got, %v:\n%s", c.reason, err, diff)
			}
			if (got != nil) != c.want {
				t.Errorf("%s: TLS %v, want %v", c.reason, got != nil, c.want)
			}
		})
	}
}

func TestClusterAbsent(t *testing.T) {
	_, err := Open(t.Context(), Options{StateDir: t.TempDir(), TemporalAddress: "127.0.0.1:1"})
	if fault.CodeOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "cannot reach Temporal at 127.0.0.1:1") || fault.HintOf(err) == "" {
		t.Errorf("Open() = %v, hint %q", err, fault.HintOf(err))
	}
}
