// Package files stores objects as files: a directory holds buckets, a bucket its objects by their keys. It is an object store as
// Velero's plugins are (ObjectStore of its package plugin/velero), and imports nothing of it.
package files

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// directoryKey is the only key of the configuration that counts.
const directoryKey = "directory"

// Store is one directory. Init comes before everything else; after that many goroutines and processes may use it at once.
type Store struct{ root *os.Root }

// Init opens the directory, which must exist. Keys that reach outside of it are errors from here on.
func (s *Store) Init(config map[string]string) error {
	root, err := os.OpenRoot(config[directoryKey])
	if err != nil {
		return fmt.Errorf("cannot open the %s of the store: %w", directoryKey, err)
	}
	s.root = root
	return nil
}

// PutObject writes an object, which appears as a whole or not at all, in place of one of the same key.
func (s *Store) PutObject(bucket, key string, body io.Reader) error {
	name := path.Join(bucket, key)
	if err := s.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return fmt.Errorf("cannot store %s: %w", name, err)
	}
	partial := ".partial-" + rand.Text() // in no bucket
	err := s.write(partial, body)
	if err == nil {
		err = s.root.Rename(partial, name)
	}
	if err != nil {
		_ = s.root.Remove(partial) // it may not be there
		return fmt.Errorf("cannot store %s: %w", name, err)
	}
	return nil
}

func (s *Store) write(name string, body io.Reader) error {
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body)
	return errors.Join(err, f.Close())
}

// ObjectExists reports whether there is an object.
func (s *Store) ObjectExists(bucket, key string) (bool, error) {
	info, err := s.root.Stat(path.Join(bucket, key))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular(), err
}

// GetObject opens an object. The caller closes it.
func (s *Store) GetObject(bucket, key string) (io.ReadCloser, error) {
	return s.root.Open(path.Join(bucket, key))
}

// ListCommonPrefixes returns what the keys with a prefix begin with up to the next delimiter, that included, in order.
func (s *Store) ListCommonPrefixes(bucket, prefix, delimiter string) ([]string, error) {
	keys, err := s.ListObjects(bucket, prefix)
	if err != nil {
		return nil, err
	}
	var prefixes []string
	for _, key := range keys {
		if before, _, found := strings.Cut(key[len(prefix):], delimiter); found {
			prefixes = append(prefixes, prefix+before+delimiter)
		}
	}
	slices.Sort(prefixes)
	return slices.Compact(prefixes), nil
}

// ListObjects returns the keys with a prefix, none for a bucket that nothing was put into.
func (s *Store) ListObjects(bucket, prefix string) ([]string, error) {
	var keys []string
	err := fs.WalkDir(s.root.FS(), bucket, func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the bucket, or what somebody has deleted just now
		}
		if err != nil || entry.IsDir() {
			return err
		}
		if key := strings.TrimPrefix(name, bucket+"/"); strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
		return nil
	})
	return keys, err
}

// DeleteObject removes an object. One that is not there is no error.
func (s *Store) DeleteObject(bucket, key string) error {
	if err := s.root.Remove(path.Join(bucket, key)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// CreateSignedURL is an error: nothing serves the files.
func (s *Store) CreateSignedURL(_, _ string, _ time.Duration) (string, error) {
	return "", fmt.Errorf("cannot make URLs of files: %w", errors.ErrUnsupported)
}
