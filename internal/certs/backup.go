package certs

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/process"
)

// Backup is a directory with a file NAME.age for each certificate: its chain and its private key in PEM, which
// "age -d -i IDENTITYFILE NAME.age" shows. What is under way stands beside them in the directory .state: accounts and orders, encrypted,
// and what was requested when. Files are replaced as wholes; any number of processes may use one backup, on any machines that see
// the same directory and its locks.
type Backup struct {
	dir        string
	identity   string // the file
	identities []age.Identity
	recipient  age.Recipient
}

// OpenBackup reads the keys of a backup; the first one encrypts, all of them are tried to decrypt. It makes nothing. Keys that cannot be
// used are an error of code fault.Invalid.
func OpenBackup(dir, identityFile string) (*Backup, error) {
	problem := func(err error) (*Backup, error) {
		return nil, fault.New(fault.Invalid, "cannot use the age key %s of the backup %s: %w", identityFile, dir, err).
			WithHint("make one with: age-keygen -o %s", identityFile)
	}
	f, err := os.Open(identityFile)
	if err != nil {
		return problem(err)
	}
	defer f.Close()
	b := &Backup{dir: dir, identity: identityFile}
	if b.identities, err = age.ParseIdentities(f); err != nil {
		return problem(errors.New("it is not a file of age identities, of which each begins with AGE-SECRET-KEY-1")) //nolint:err113 // the parser's words may quote the key
	}
	switch first := b.identities[0].(type) {
	case *age.X25519Identity:
		b.recipient = first.Recipient()
	case *age.HybridIdentity:
		b.recipient = first.Recipient()
	default:
		return problem(errors.New("its first identity is of no kind that encrypts"))
	}
	return b, nil
}

// File is where a certificate is kept.
func (b *Backup) File(name string) string { return filepath.Join(b.dir, name+".age") }

// state is where something under way is kept.
func (b *Backup) state(name string) string { return filepath.Join(b.dir, ".state", name) }

// Get returns a certificate; nil when there is none. A file that no key opens, or that does not hold a certificate with its key, is an
// error of code fault.Invalid.
func (b *Backup) Get(name string) (*Pair, error) {
	raw, err := b.open(b.File(name))
	if err != nil || raw == nil {
		return nil, err
	}
	var chain, key []byte
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, pem.EncodeToMemory(block)...)
		} else {
			key = pem.EncodeToMemory(block)
		}
	}
	p, err := NewPair(chain, key)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot use the certificate %s in %s: %w", name, b.File(name), err).
			WithHint("bring the file back from a copy, or remove it and have another certificate requested")
	}
	return p, nil
}

// Put keeps a certificate in place of the one before.
func (b *Backup) Put(name string, p *Pair) error {
	return b.seal(b.File(name), bytes.Join([][]byte{p.Chain, p.Key}, []byte("\n"))) // the chain need not end its last line
}

// Adopt keeps a certificate that somebody else has requested, unless the one that is kept serves the names as well and for as long. It
// returns the one that is kept then. It waits for a request that is under way.
func (b *Backup) Adopt(ctx context.Context, name string, p *Pair, better func(kept *Pair) bool, wait func()) (*Pair, error) {
	lock, err := b.lock(ctx, wait)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	kept, err := b.Get(name)
	if err != nil || !better(kept) {
		return kept, err
	}
	return p, b.Put(name, p)
}

// lock takes the one lock of the backup, and waits for it until ctx ends. Closing it releases it, and so does the end of the process.
func (b *Backup) lock(ctx context.Context, wait func()) (io.Closer, error) {
	file := b.state("lock")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, b.failure("write to", err)
	}
	lock, err := process.TryLock(file)
	if err == nil && lock == nil {
		wait()
		lock, err = process.Lock(ctx, file)
	}
	if err != nil {
		return nil, fault.New(fault.Locked, "cannot request certificates into %s: %w", b.dir, err).WithHint("another process does; wait for it")
	}
	return lock, nil
}

// open decrypts a file; nil where there is none.
func (b *Backup) open(file string) ([]byte, error) {
	sealed, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, b.failure("read", err)
	}
	defer sealed.Close()
	plain, err := age.Decrypt(sealed, b.identities...)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return nil, fault.New(fault.Invalid, "cannot decrypt %s: it was encrypted for another key than those in %s", file, b.identity).
			WithHint("name the file with the key that it was made with: certificateBackup.identityFile")
	}
	if err == nil {
		var raw []byte
		if raw, err = io.ReadAll(plain); err == nil {
			return raw, nil
		}
	}
	return nil, fault.New(fault.Invalid, "cannot decrypt %s: it is damaged, or was not made by age: %w", file, err).
		WithHint("bring the file back from a copy, or remove it and have another certificate requested")
}

// seal encrypts into a file.
func (b *Backup) seal(file string, plain []byte) error {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, b.recipient)
	if err != nil {
		return b.failure("encrypt for", err)
	}
	if _, err := w.Write(plain); err != nil {
		return b.failure("encrypt for", err)
	}
	if err := w.Close(); err != nil {
		return b.failure("encrypt for", err)
	}
	return b.write(file, sealed.Bytes())
}

// write replaces a file as a whole; it is on the disk when write returns.
func (b *Backup) write(file string, content []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return b.failure("write to", err)
	}
	f, err := os.CreateTemp(dir, "."+strings.TrimPrefix(filepath.Base(file), ".")+".new-*") // mode 0600
	if err != nil {
		return b.failure("write to", err)
	}
	defer os.Remove(f.Name()) // not there any more once it is renamed
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err == nil {
		err = flush(dir)
	}
	if err != nil {
		return b.failure("write to", err)
	}
	return nil
}

// flush has a directory's entries on the disk.
func flush(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// remove takes a file away, if it is there.
func (b *Backup) remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return b.failure("write to", err)
	}
	return nil
}

func (b *Backup) failure(act string, err error) error {
	return fault.New(fault.Failed, "cannot %s the backup of certificates %s: %w", act, b.dir, err).WithHint("see its rights and the space on its disk")
}
