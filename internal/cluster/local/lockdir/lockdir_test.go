package lockdir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func take(t *testing.T, dir string) *Lock {
	t.Helper()
	lock, err := Take(t.Context(), dir, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func TestSecondWaits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	first := take(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Take(ctx, dir, 0o700); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second lock: %v, want it to wait until its context ends", err)
	}
	first.Release()
	take(t, dir).Release()
}

func TestRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	lock := take(t, dir)
	if err := os.MkdirAll(filepath.Join(dir, "deep", "er"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := lock.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is there: %v", err)
	}
}

// TestRemovedUnderWaiters checks that never two hold the lock, when each holder removes the directory under the others.
func TestRemovedUnderWaiters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	var holders, rounds atomic.Int32
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			for range 20 {
				lock, err := Take(t.Context(), dir, 0o700)
				if err != nil {
					return err
				}
				if holders.Add(1) != 1 {
					return errors.New("two hold the lock")
				}
				if rounds.Add(1)%3 == 0 {
					holders.Add(-1)
					lock.Release()
					continue
				}
				holders.Add(-1)
				if err := lock.Remove(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestShareLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	first, err := Share(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Share(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second lock: %v, want it to wait until its context ends", err)
	}
	first.Release()
	second, err := Share(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	second.Release()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("in the directory are %v, %v", entries, err)
	}
	if _, err := Share(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}
