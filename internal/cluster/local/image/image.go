// Package image makes container images out of programs, without a container engine, and pushes them to a registry.
package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path"
	"runtime"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Options says what an image is like besides its program.
type Options struct {
	Path string   // of the program in the image; "/app" when empty
	Args []string // default arguments
	Env  []string // KEY=VALUE
	User string   // "65532:65532" when empty: nobody in particular, and not root
	// Ports that the program listens on, for people: "8080/tcp".
	Ports []string
	// Files are further files of the image, path to content.
	Files map[string][]byte
}

// Build makes an image with one static program and nothing else. The same program and options make the same digest, on any
// machine at any time.
func Build(program string, o Options) (v1.Image, error) {
	if o.Path == "" {
		o.Path = "/app"
	}
	if o.User == "" {
		o.User = "65532:65532"
	}
	layer, err := layerOf(program, o)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1), layer)
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot make an image of %s: %w", program, err)
	}
	config := &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH,
		Created: v1.Time{Time: time.Unix(0, 0).UTC()}, // not now: the digest must not depend on it
		Config:  v1.Config{Entrypoint: []string{o.Path}, Cmd: o.Args, Env: append([]string{"PATH=/"}, o.Env...), User: o.User, WorkingDir: "/"},
	}
	if len(o.Ports) > 0 {
		config.Config.ExposedPorts = map[string]struct{}{}
		for _, port := range o.Ports {
			config.Config.ExposedPorts[port] = struct{}{}
		}
	}
	now, err := image.ConfigFile()
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot make an image of %s: %w", program, err)
	}
	config.RootFS, config.History = now.RootFS, nil
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, fault.New(fault.Failed, "cannot make an image of %s: %w", program, err)
	}
	return image, nil
}

// layerOf packs the program and the files into one layer.
func layerOf(program string, o Options) (v1.Layer, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot read the program %s: %w", program, err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	made := map[string]bool{"/": true, ".": true}
	add := func(file string, mode int64, content []byte) error {
		if err := addParents(w, path.Dir(path.Clean(file)), made); err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: tarName(file), Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	err = add(o.Path, 0o755, content)
	for _, file := range slices.Sorted(maps.Keys(o.Files)) {
		err = errors.Join(err, add(file, 0o644, o.Files[file]))
	}
	// Programs expect a place for temporary files.
	err = errors.Join(err, w.WriteHeader(&tar.Header{Name: "tmp/", Mode: 0o1777, Typeflag: tar.TypeDir, Format: tar.FormatPAX}), w.Close())
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot pack the program %s: %w", program, err)
	}
	packed := archive.Bytes()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(1))
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot pack the program %s: %w", program, err)
	}
	return layer, nil
}

// addParents adds the directories above a file, once each.
func addParents(w *tar.Writer, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := addParents(w, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	return w.WriteHeader(&tar.Header{Name: tarName(dir) + "/", Mode: 0o755, Typeflag: tar.TypeDir, Format: tar.FormatPAX})
}

func tarName(file string) string { return path.Clean("/" + file)[1:] }

// Registry is an image registry to push to, through a Unix socket.
type Registry struct {
	Socket string // its path
	Name   string // host name under which clusters know it
}

// tag reads a reference "repository:tag" and returns it with options to reach the registry.
func (r Registry) tag(ctx context.Context, reference string) (name.Tag, []remote.Option, error) {
	tag, err := name.NewTag(r.Name+"/"+reference, name.Insecure, name.StrictValidation)
	if err != nil {
		return tag, nil, fault.New(fault.Invalid, "cannot use the image name %s: %w", reference, err).WithHint("name images like shop/web:v1, without a registry")
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", r.Socket)
		},
		DisableKeepAlives: true, // nobody would close the connections
	}
	return tag, []remote.Option{remote.WithContext(ctx), remote.WithTransport(transport)}, nil
}

// Push pushes an image as the reference "repository:tag" (without a host) and returns the reference by digest under which
// clusters pull it. Pushing the same again changes nothing.
func (r Registry) Push(ctx context.Context, reference string, image v1.Image) (string, error) {
	tag, options, err := r.tag(ctx, reference)
	if err != nil {
		return "", err
	}
	digest, err := image.Digest()
	if err != nil {
		return "", fault.New(fault.Failed, "cannot tell the digest of the image %s: %w", reference, err)
	}
	if err := remote.Write(tag, image, options...); err != nil {
		return "", fault.New(fault.Unavailable, "cannot push the image %s: %w", reference, err)
	}
	return fmt.Sprintf("%s/%s@%s", r.Name, tag.RepositoryStr(), digest), nil
}

// Has reports whether the registry has an image of the reference "repository:tag".
func (r Registry) Has(ctx context.Context, reference string) (bool, error) {
	tag, options, err := r.tag(ctx, reference)
	if err != nil {
		return false, err
	}
	_, err = remote.Head(tag, options...)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return false, nil
	} else if err != nil {
		return false, fault.New(fault.Unavailable, "cannot look for the image %s: %w", reference, err)
	}
	return true, nil
}
