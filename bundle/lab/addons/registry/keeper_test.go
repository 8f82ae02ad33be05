package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// start starts a registry on a directory, and returns where it is.
func start(t *testing.T, dir string) string {
	t.Helper()
	handler := registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(dir)), registry.Logger(log.New(io.Discard, "", 0)))
	kept, err := newKeeper(handler, filepath.Join(dir, "manifests"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(kept)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func tag(t *testing.T, address, rest string) name.Tag {
	t.Helper()
	ref, err := name.NewTag(address+"/"+rest, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func digest(t *testing.T, of interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	d, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func TestImagesSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	address := start(t, dir)
	image, err := random.Image(100, 2)
	if err != nil {
		t.Fatal(err)
	}
	index, err := random.Index(100, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	gone, err := mutate.Config(image, v1.Config{User: "other"})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		remote.Write(tag(t, address, "shop/web:v1"), image), remote.Write(tag(t, address, "shop/web:v1"), image),
		remote.WriteIndex(tag(t, address, "a/index:v1"), index),
		remote.Write(tag(t, address, "shop/web:gone"), gone), remote.Delete(tag(t, address, "shop/web:gone")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "manifests", "x.new"), []byte("cut off"), 0o600); err != nil {
		t.Fatal(err)
	}
	address = start(t, dir)
	got, err := remote.Image(tag(t, address, "shop/web:v1"))
	if err != nil || digest(t, got) != digest(t, image) {
		t.Fatalf("the image after the restart: %v", err)
	}
	if layers, err := got.Layers(); err != nil || len(layers) != 2 {
		t.Errorf("its layers: %v, %v", layers, err)
	}
	gotIndex, err := remote.Index(tag(t, address, "a/index:v1"))
	if err != nil || digest(t, gotIndex) != digest(t, index) {
		t.Errorf("the index after the restart: %v", err)
	}
	if _, err := remote.Head(tag(t, address, "shop/web:gone")); err == nil {
		t.Error("a deleted tag is back after the restart")
	}
}

func TestSpoiledManifestIsNotPassedOver(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "m"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newKeeper(http.NotFoundHandler(), dir); err == nil || !strings.Contains(err.Error(), "cannot read the manifest m") {
		t.Errorf("got %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method) })
	for method, want := range map[string]int{
		http.MethodGet: 200, http.MethodHead: 200, http.MethodPut: 405, http.MethodPost: 405, http.MethodPatch: 405, http.MethodDelete: 405,
	} {
		answer := httptest.NewRecorder()
		readOnly(next).ServeHTTP(answer, httptest.NewRequest(method, "/v2/x/manifests/y", nil))
		if answer.Code != want {
			t.Errorf("%s: %d, want %d", method, answer.Code, want)
		}
	}
}
