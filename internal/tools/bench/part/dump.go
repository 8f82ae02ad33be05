package part

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/clean"
)

// Files are what a dump is in, one object a line: what other objects need, and the rest. kubectl reads them too. Beside each there is a
// file with the paths to create the objects at.
var Files = []string{"first.json", "rest.json"}

const pathsSuffix = ".paths"

// Dump writes the objects that a copy has made in a cluster into a directory, as the copy has written them, and returns how many
// there are.
func Dump(ctx context.Context, access cluster.Access, dir string) (count int, err error) {
	c, err := kube.Connect(access)
	if err != nil {
		return 0, err
	}
	resources, _, err := c.Resources(ctx)
	if err != nil {
		return 0, err
	}
	var parts [2]dump
	for i := range parts {
		if err := parts[i].open(filepath.Join(dir, Files[i])); err != nil {
			return 0, err
		}
		defer parts[i].close()
	}
	for _, r := range resources {
		part := &parts[1]
		if r.Kind == "Namespace" || r.Kind == "CustomResourceDefinition" {
			part = &parts[0]
		}
		for obj, err := range c.List(ctx, r.GroupVersionResource, kube.Query{Labels: manager.CopiedLabel}) {
			if err != nil {
				return count, err
			}
			if err := part.add(r, obj); err != nil {
				return count, err
			}
			count++
		}
	}
	for i := range parts {
		if err := parts[i].close(); err != nil {
			return count, err
		}
	}
	return count, nil
}

// dump is one file of a dump, and that of its paths.
type dump struct{ objects, paths *file }

func (d *dump) open(name string) (err error) {
	if d.objects, err = create(name); err != nil {
		return err
	}
	d.paths, err = create(name + pathsSuffix)
	return err
}

func (d *dump) close() error {
	if err := d.objects.close(); err != nil {
		return err
	}
	return d.paths.close()
}

// add writes an object without what the cluster has added, but with what the copy has.
func (d *dump) add(r kube.Resource, obj *unstructured.Unstructured) error {
	written := clean.Object(obj)
	written.SetLabels(obj.GetLabels())
	if owners := obj.GetOwnerReferences(); len(owners) > 0 {
		written.SetOwnerReferences(owners)
	}
	path := "/apis/" + r.Group + "/" + r.Version
	if r.Group == "" {
		path = "/api/" + r.Version
	}
	if r.Namespaced {
		path += "/namespaces/" + obj.GetNamespace()
	}
	if _, err := fmt.Fprintln(d.paths, path+"/"+r.Resource); err != nil {
		return err
	}
	return json.NewEncoder(d.objects).Encode(written.Object)
}

// load reads a file of a dump as requests to a server.
func load(name, host string) ([]request, error) {
	bodies, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	paths, err := os.ReadFile(name + pathsSuffix)
	if err != nil {
		return nil, err
	}
	objects, urls := bytes.Split(bytes.TrimSpace(bodies), []byte("\n")), bytes.Fields(paths)
	if len(objects) != len(urls) {
		return nil, fmt.Errorf("%s has %d objects and %d paths", name, len(objects), len(urls))
	}
	requests := make([]request, len(urls))
	for i, body := range objects {
		requests[i] = request{url: host + string(urls[i]), body: body}
	}
	return requests, nil
}

// file is written through a buffer.
type file struct {
	*bufio.Writer
	under *os.File
}

func create(name string) (*file, error) {
	under, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return &file{Writer: bufio.NewWriterSize(under, 1<<20), under: under}, nil
}

// close writes what is left. It may be called again.
func (f *file) close() error {
	if f.under == nil {
		return nil
	}
	defer func() { f.under = nil }()
	if err := f.Flush(); err != nil {
		return err
	}
	return f.under.Close()
}
