package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.temporal.io/server/temporal"
)

const (
	lockWait  = 10 * time.Second // for the last engine of the directory to be gone
	stopLimit = 3 * time.Second  // every commit is on the disk, so a slow end may be cut short
)

// serve runs the engine in the directory until the context ends or nobody needs it any more.
func serve(ctx context.Context, d directory, quiet time.Duration) error {
	lock, err := d.lock(ctx, engineLock, lockWait)
	if err != nil {
		return err
	}
	defer lock.Close()
	id, err := loadIdentity(d)
	if err != nil {
		return err
	}
	if err := prepareDatabase(d); err != nil {
		return err
	}
	server, frontend, err := newServer(d, id) // takes the last engine's port if it can
	if err != nil {
		return err
	}
	// From here to the new address clients wait, instead of talking to whoever has the old one.
	if err := os.Remove(d.file(addressFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the old address: %w", err)
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("cannot start the server: %w", err)
	}
	if err := d.replace(addressFile, frontend+"\n"); err != nil {
		return errors.Join(err, stop(server))
	}
	watch, err := newIdleWatch(d, id, frontend)
	if err != nil {
		return errors.Join(err, stop(server))
	}
	defer watch.close()
	// When nobody needs it, the clients' lock stays taken until the process is gone: a client that comes now waits for that
	// and then starts a fresh engine, instead of talking to one that is ending.
	last, err := watch.wait(ctx, quiet)
	if last != nil {
		defer last.Close()
	}
	return errors.Join(err, stop(server))
}

// stop ends the server in an orderly way, within the limit.
func stop(server temporal.Server) error {
	done := make(chan error, 1)
	go func() { done <- server.Stop() }()
	select {
	case err := <-done:
		return err
	case <-time.After(stopLimit):
		fmt.Fprintln(os.Stderr, "crossfade-engine: ended without waiting for the server's last tasks; they are done at the next start")
		return nil
	}
}
