package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

func program(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func build(t *testing.T, content string, o Options) v1.Image {
	t.Helper()
	image, err := Build(program(t, content), o)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// files lists what is in an image's layers: mode and name.
func files(t *testing.T, image v1.Image) []string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		archive := tar.NewReader(content)
		for {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprintf("%04o %s %d", header.Mode, header.Name, header.Size))
		}
		content.Close()
	}
	return all
}

func TestBuild(t *testing.T) {
	image := build(t, "binary", Options{
		Path: "/usr/bin/web", Args: []string{"serve"}, Env: []string{"A=b"}, Ports: []string{"8080/tcp"},
		Files: map[string][]byte{"/etc/web/b": []byte("bb"), "/etc/web/a": []byte("a")},
	})
	want := []string{"0755 usr/ 0", "0755 usr/bin/ 0", "0755 usr/bin/web 6", "0755 etc/ 0", "0755 etc/web/ 0", "0644 etc/web/a 1", "0644 etc/web/b 2", "1777 tmp/ 0"}
	if diff := cmp.Diff(want, files(t, image)); diff != "" {
		t.Error(diff)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	wanted := v1.Config{
		Entrypoint: []string{"/usr/bin/web"}, Cmd: []string{"serve"}, Env: []string{"PATH=/", "A=b"},
		User: "65532:65532", WorkingDir: "/", ExposedPorts: map[string]struct{}{"8080/tcp": {}},
	}
	if diff := cmp.Diff(wanted, config.Config); diff != "" {
		t.Error(diff)
	}
}

func TestDigestIsOfTheContent(t *testing.T) {
	digest := func(content string, o Options) string {
		d, err := build(t, content, o).Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d.String()
	}
	first := digest("binary", Options{})
	if again := digest("binary", Options{}); again != first { // another file, made at another time
		t.Errorf("the same program has the digests %s and %s", first, again)
	}
	for name, other := range map[string]string{
		"another program":    digest("binarz", Options{}),
		"another argument":   digest("binary", Options{Args: []string{"x"}}),
		"another path":       digest("binary", Options{Path: "/other"}),
		"one file more":      digest("binary", Options{Files: map[string][]byte{"/x": nil}}),
		"another user of it": digest("binary", Options{User: "0:0"}),
	} {
		if other == first {
			t.Errorf("%s has the same digest", name)
		}
	}
}

func TestBuildWithoutProgram(t *testing.T) {
	if _, err := Build(filepath.Join(t.TempDir(), "none"), Options{}); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("got %v, want an error of code Invalid", err)
	}
}

func TestPush(t *testing.T) {
	r := Registry{Socket: filepath.Join(t.TempDir(), "s"), Name: "registry.example"}
	listener, err := net.Listen("unix", r.Socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })

	image := build(t, "binary", Options{})
	has := func(reference string) bool {
		there, err := r.Has(t.Context(), reference)
		if err != nil {
			t.Fatal(err)
		}
		return there
	}
	if has("shop/web:v1") {
		t.Error("an empty registry has the image")
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := r.Push(t.Context(), "shop/web:v1", image)
		if want := "registry.example/shop/web@" + digest.String(); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	if !has("shop/web:v1") || has("shop/web:v2") {
		t.Errorf("v1 is there: %v, and v2, which was not pushed: %v", has("shop/web:v1"), has("shop/web:v2"))
	}
	for _, bad := range []string{"", "shop/web", "shop/Web:v1", "shop/web:"} {
		if _, err := r.Push(t.Context(), bad, image); fault.CodeOf(err) != fault.Invalid || !strings.Contains(fault.HintOf(err), "shop/web:v1") {
			t.Errorf("pushing as %q: %v, want an error of code Invalid with a hint", bad, err)
		}
	}
	gone := Registry{Socket: r.Socket + "x", Name: r.Name}
	if _, err := gone.Push(t.Context(), "shop/web:v1", image); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("pushing to no registry: %v, want an error of code Unavailable", err)
	}
}
