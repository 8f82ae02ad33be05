package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// keySize is that of AES-256, in bytes.
const keySize = 32

// sealer encrypts blobs with AES-256-GCM (NIST SP 800-38D): rendered manifests may hold Secrets, and the record has none in
// the clear. The key is in a file beside the record, made once and readable by its owner alone.
type sealer struct{ aead cipher.AEAD }

// newSealer reads the key, or makes it. Any number of processes may call it at once: they get the same key. Errors are those
// of the file system, or faults.
func newSealer(path string) (sealer, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKey(path); err == nil {
			key, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return sealer{}, fmt.Errorf("the key of the record: %w", err)
	}
	if len(key) != keySize {
		return sealer{}, fault.New(fault.Failed, "cannot use the key %s: it has %d bytes instead of %d", path, len(key), keySize).
			WithHint("restore it from a backup; without it the manifests of earlier runs cannot be read")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, fault.New(fault.Failed, "cannot use the key of the record: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

// makeKey puts a new key at the path, whole and on the disk, unless somebody else was faster.
func makeKey(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func (s sealer) seal(plain []byte) []byte { return s.aead.Seal(nil, nil, plain, nil) }

func (s sealer) open(sealed []byte) ([]byte, error) {
	plain, err := s.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot decrypt a blob of the record: it was made with another key")
	}
	return plain, nil
}
