// Package lockdir locks directories that come and go: the lock is a file in the directory, and the directory may be removed
// by the one who holds it while others wait.
package lockdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crossfade-dev/crossfade/internal/process"
)

// name of the lock file.
const name = "lock"

// Lock is an exclusive lock on a directory.
type Lock struct {
	dir  string
	file *os.File
}

// Take makes the directory if need be and locks it, waiting until ctx ends for whoever holds it. The lock goes with the
// process, however it ends.
func Take(ctx context.Context, dir string, mode fs.FileMode) (*Lock, error) {
	for {
		err := os.MkdirAll(dir, mode)
		if vanished := errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist); vanished && ctx.Err() == nil { // while it was made
			continue
		} else if err != nil {
			return nil, fmt.Errorf("cannot make the directory %s: %w", dir, err)
		}
		file, err := process.Lock(ctx, filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil { // removed since it was made
			continue
		} else if err != nil {
			return nil, err
		}
		if sameFile(file, filepath.Join(dir, name)) {
			return &Lock{dir: dir, file: file}, nil
		}
		file.Close() // the holder before us removed the directory, and with it the file that we waited for
	}
}

// Share locks a directory that is not ours, without putting a file into it. Its lock is not the one of Take, and must not be
// removed.
func Share(ctx context.Context, dir string) (*Lock, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the directory %s: %w", dir, err)
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return &Lock{dir: dir, file: file}, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			file.Close()
			return nil, fmt.Errorf("cannot lock the directory %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("cannot lock the directory %s: %w", dir, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// File returns the open file whose lock it is. A process that inherits it holds the lock too, until it ends.
func (l *Lock) File() *os.File { return l.file }

// Release gives the lock back and leaves the directory.
func (l *Lock) Release() { l.file.Close() }

// Remove removes the directory with everything in it, and gives the lock back. The lock file goes last, so that a removal
// that is cut off leaves a directory that can be locked and removed again.
func (l *Lock) Remove() error {
	defer l.file.Close()
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("cannot remove the directory %s: %w", l.dir, err)
	}
	for _, e := range entries {
		if e.Name() == name {
			continue
		}
		if err := os.RemoveAll(filepath.Join(l.dir, e.Name())); err != nil {
			return fmt.Errorf("cannot remove the directory %s: %w", l.dir, err)
		}
	}
	if err := os.Remove(filepath.Join(l.dir, name)); err != nil {
		return fmt.Errorf("cannot remove the directory %s: %w", l.dir, err)
	}
	// From here on the directory may be somebody else's, who has made a new lock file in it: then it stays.
	if err := os.Remove(l.dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the directory %s: %w", l.dir, err)
	}
	return nil
}

func sameFile(open *os.File, path string) bool {
	now, err := os.Stat(path)
	if err != nil {
		return false
	}
	held, err := open.Stat()
	return err == nil && os.SameFile(held, now)
}
