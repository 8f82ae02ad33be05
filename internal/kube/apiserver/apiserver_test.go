package apiserver_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/apiserver"
)

func TestServer(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a Kubernetes API server")
	}
	if _, err := bundle.Program("kube-apiserver"); err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	server, err := apiserver.Start(t.Context(), t.TempDir(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	c, err := kube.Connect(server.Access)
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "shop"}}}
	if _, err := c.Create(t.Context(), obj); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found, err := c.Get(t.Context(), obj); err != nil || found == nil {
		t.Errorf("after a restart the namespace is %v, %v", found, err)
	}
	server.Stop()
	server.Stop() // a second time is no harm
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.Healthy(ctx); err == nil {
		t.Error("it answers after it was stopped")
	}
}

func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho cannot do it >&2\nexec sleep 100\n"
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		reason, bundles, want string
	}{
		"no programs":  {"What is missing is named.", t.TempDir(), "cannot find etcd"},
		"never serves": {"What the API server has to say is in the error.", dir, "cannot do it"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv(bundle.DirVariable, tc.bundles)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if _, err := apiserver.Start(ctx, t.TempDir(), "a"); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s want an error with %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
