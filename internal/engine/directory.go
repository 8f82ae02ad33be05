package engine

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/process"
)

// directory is where everything of the bundled engine is. The names of the files that crossfade-engine knows too are a
// contract with it.
type directory string

const (
	addressFile  = "address"      // host:port, written by crossfade-engine once it answers
	clientsLock  = "clients.lock" // held shared by every client; crossfade-engine ends when it can have it alone
	identityFile = "tls.pem"      // certificate and key, shared by crossfade-engine and its clients
	payloadFile  = "payload.key"  // the key of the payloads; crossfade-engine never reads it
	keysLock     = "keys.lock"    // held while a key is made
)

// serverName is what the certificate is made out to; both sides know it.
const serverName = "crossfade-engine"

func (d directory) file(name string) string { return filepath.Join(string(d), name) }

// prepare makes the engine's directory, for its owner alone.
func prepare(ctx context.Context, stateDir string) (directory, error) {
	if ctx.Err() != nil {
		return "", fault.New(fault.Interrupted, "cannot open the engine: %w", ctx.Err())
	}
	stateDir, err := filepath.Abs(stateDir)
	if err != nil {
		return "", fault.New(fault.Failed, "cannot find the state directory: %w", err)
	}
	d := directory(filepath.Join(stateDir, "engine"))
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return "", fault.New(fault.Failed, "cannot make the engine's directory: %w", err).
			WithHint("choose another state directory with --state DIR")
	}
	info, err := os.Stat(string(d))
	if err != nil {
		return "", fault.New(fault.Failed, "cannot look at the engine's directory: %w", err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return "", fault.New(fault.Failed, "cannot use %s: it belongs to another user", d).
			WithHint("choose another state directory with --state DIR")
	}
	if info.Mode().Perm() != 0o700 {
		if err := os.Chmod(string(d), 0o700); err != nil {
			return "", fault.New(fault.Failed, "cannot make the engine's directory private: %w", err)
		}
	}
	return d, nil
}

// join takes the shared clients' lock. While an engine is ending the lock is taken, until that engine is gone.
func (d directory) join(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(d.file(clientsLock), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot open the engine's lock: %w", err)
	}
	err = observe(ctx, func() (bool, error) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		f.Close()
		return nil, fault.New(fault.Unavailable, "cannot join the engine in %s: %w", d, err)
	}
	return f, nil
}

// observe asks until the condition holds, it fails, or the context ends.
func observe(ctx context.Context, holds func() (bool, error)) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func tryLock(name string) (*os.File, error) {
	lock, err := process.TryLock(name)
	if err != nil {
		return nil, fault.New(fault.Failed, "%w", err)
	}
	return lock, nil
}

// fileName makes a name that may hold any character into one that a file may have.
func fileName(name string) string { return url.PathEscape(name) }

// payloadKey returns the key that payloads are encrypted with, 32 bytes, made at the first call.
func (d directory) payloadKey(ctx context.Context) ([]byte, error) {
	return d.once(ctx, payloadFile, func() ([]byte, error) {
		key := make([]byte, 32)
		_, err := rand.Read(key)
		return key, err
	})
}

// identity returns the certificate and key that crossfade-engine and its clients share, made at the first call.
func (d directory) identity(ctx context.Context) (*tls.Config, error) {
	raw, err := d.once(ctx, identityFile, newIdentity)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(raw, raw)
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot read the engine's key %s: %w", d.file(identityFile), err).
			WithHint("remove that file while no crossfade process runs; a new one is made")
	}
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: serverName,
	}, nil
}

// once returns the content of the named file, which it makes when there is none: under a lock, and whole or not at all.
func (d directory) once(ctx context.Context, name string, create func() ([]byte, error)) ([]byte, error) {
	raw, err := os.ReadFile(d.file(name))
	if err == nil {
		return raw, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Failed, "cannot read the engine's key: %w", err)
	}
	lock, err := process.Lock(ctx, d.file(keysLock))
	if err != nil {
		return nil, fault.New(fault.Failed, "%w", err)
	}
	defer lock.Close()
	if raw, err := os.ReadFile(d.file(name)); err == nil { // another made it while we waited
		return raw, nil
	}
	raw, err = create()
	if err == nil {
		err = d.writeSynced(name, raw)
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot make the engine's key: %w", err).WithHint("%s", d.hint("see that the disk works"))
	}
	return raw, nil
}

// hint says what to do about an error of the engine's files: make room, if that is what is missing, else what is given.
func (d directory) hint(otherwise string) string {
	const scarce = 1 << 20 // bytes; the database alone has more
	var fs unix.Statfs_t
	if unix.Statfs(string(d), &fs) == nil && fs.Bavail*uint64(fs.Bsize) < scarce { //nolint:gosec // a block size is positive
		return "no space left on device: make room on the disk of " + string(d) + ", then run the same command again: it goes on where it stopped"
	}
	return otherwise
}

// writeSynced writes a file that is there in full, and on the disk, or not at all: a lost payload key would make every open
// run unreadable.
func (d directory) writeSynced(name string, content []byte) error {
	f, err := os.OpenFile(d.file(name+".new"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), d.file(name)); err != nil {
		return err
	}
	parent, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// newIdentity makes a key and a certificate that is its own authority, in PEM. It outlives any state directory: who can read
// the file is who may talk to the engine, so there is nothing that an expiry would protect.
func newIdentity() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280 section 4.1.2.5
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: certificate}, {Type: "PRIVATE KEY", Bytes: private}} {
		out.Write(pem.EncodeToMemory(block))
	}
	return []byte(out.String()), nil
}
