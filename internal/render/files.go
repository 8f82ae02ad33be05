package render

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// fileObjects reads one file, or every manifest in a directory and those below it.
func fileObjects(path string) ([]*unstructured.Unstructured, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if !info.IsDir() {
		return readFile(path)
	}
	var objs []*unstructured.Unstructured
	found := false
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return unreadable(name, err)
		}
		if entry.IsDir() || !isManifest(name) {
			return nil
		}
		more, err := readFile(name)
		found, objs = true, append(objs, more...)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fault.New(fault.Invalid, "cannot read manifests: no .yaml, .yml or .json file is in %s", path).
			WithHint("name the directory that holds the manifests")
	}
	return objs, nil
}

func readFile(path string) ([]*unstructured.Unstructured, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return parse(path, raw)
}

func isManifest(name string) bool {
	base := filepath.Base(name)
	if strings.HasPrefix(base, ".") || slices.Contains(kustomizationNames, base) {
		return false
	}
	return slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(base))
}

func unreadable(path string, err error) error {
	return fault.New(fault.Invalid, "cannot read manifests from %s: %w", path, err).
		WithHint("paths are relative to the directory of the document that names them")
}
