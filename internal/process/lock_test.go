package process

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.lock")
	first, err := Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := TryLock(name); second != nil || err != nil {
		t.Fatalf("TryLock() of a held lock = %v, %v; want neither", second, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Lock(short, name); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), name) {
		t.Errorf("Lock() of a held lock = %v", err)
	}
	got := make(chan error, 1)
	go func() {
		second, err := Lock(t.Context(), name)
		if err == nil {
			err = second.Close()
		}
		got <- err
	}()
	first.Close()
	if err := <-got; err != nil {
		t.Errorf("Lock() of a lock that was let go = %v", err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if _, err := Lock(t.Context(), filepath.Join(t.TempDir(), "missing", "a.lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Lock() in no directory = %v", err)
	}
}

// TestLockOfTheDead takes a lock whose holder was killed.
func TestLockOfTheDead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.lock")
	holder := helper(t, "lock", name)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held <nil>\n" {
		t.Fatalf("the holder says %q, %v", line, err)
	}
	if lock, err := TryLock(name); lock != nil || err != nil {
		t.Fatalf("TryLock() of another process's lock = %v, %v", lock, err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	lock, err := TryLock(name)
	if lock == nil || err != nil {
		t.Fatalf("TryLock() of a dead process's lock = %v, %v", lock, err)
	}
	lock.Close()
}
