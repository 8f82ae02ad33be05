package record

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestBlobsAreSealed puts a secret into the record and looks for it in every file of it.
func TestBlobsAreSealed(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), filepath.Join(dir, "record.db"))
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("password: correct-horse-battery-staple")
	digest, err := s.PutBlob(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Blob(t.Context(), digest); err != nil || !bytes.Equal(got, secret) {
		t.Fatalf("Blob: %q, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 2 {
		t.Fatalf("want the record and its key, got %v, %v", files, err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte("battery-staple")) {
			t.Errorf("%s has the secret in the clear", f.Name())
		}
		if info, err := f.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

// TestOneKey makes the key from many goroutines at once: all get the same.
func TestOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.key")
	var all sync.WaitGroup
	sealed := make([][]byte, 16)
	for i := range sealed {
		all.Go(func() {
			s, err := newSealer(path)
			if err != nil {
				t.Error(err)
				return
			}
			sealed[i] = s.seal([]byte("x"))
		})
	}
	all.Wait()
	last, err := newSealer(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		if _, err := last.open(sealed[i]); err != nil {
			t.Error(err)
		}
	}
	other, err := newSealer(path + "2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.open(sealed[0]); err == nil {
		t.Error("another key opened it")
	}
}
