package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// directory is where everything of one engine is. The names of its files are a contract with the client in internal/engine.
type directory string

// The files of an engine's directory that both sides know.
const (
	addressFile  = "address"      // host:port of the frontend, written once it answers
	engineLock   = "engine.lock"  // held exclusively by the engine for as long as it lives
	clientsLock  = "clients.lock" // held shared by every client
	identityFile = "tls.pem"      // certificate and key, made by the client
)

// The engine's own files.
const (
	database      = "engine.db"
	databaseDraft = "engine.db.draft" // a schema being set up; worthless after a crash
	databaseReady = "engine.db.ready" // a copy of a complete draft, about to be renamed
)

func (d directory) file(name string) string { return filepath.Join(string(d), name) }

// lock takes the exclusive lock on the named file, waiting for at most the given time. It is released by the end of the process.
func (d directory) lock(ctx context.Context, name string, limit time.Duration) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		f, err := d.tryLock(name)
		if f != nil || err != nil {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot lock %s: another engine holds it", d.file(name))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tryLock is lock without waiting: it returns nil and no error when another process holds the lock in any mode.
func (d directory) tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(d.file(name), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock file: %w", err)
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		f.Close()
		return nil, nil //nolint:nilnil // nil means: held by another, and that is documented
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", d.file(name), err)
	}
	return f, nil
}

// replace writes a small file so that a reader sees the old content or the new one, never a part.
func (d directory) replace(name, content string) error {
	draft := d.file(name + ".new")
	if err := os.WriteFile(draft, []byte(content), 0o600); err != nil {
		return fmt.Errorf("cannot write %s: %w", d.file(name), err)
	}
	if err := os.Rename(draft, d.file(name)); err != nil {
		return fmt.Errorf("cannot write %s: %w", d.file(name), err)
	}
	return nil
}
