package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/server/common/primitives"
)

func TestPrepareDatabase(t *testing.T) {
	d := directory(t.TempDir())
	for _, left := range []string{databaseDraft, databaseDraft + "-journal", databaseReady} { // of an engine that was killed
		if err := os.WriteFile(d.file(left), []byte("half a database"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := prepareDatabase(d); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(d.file(database))
	if err != nil || !bytes.HasPrefix(made, []byte("SQLite format 3\x00")) || !bytes.Contains(made, []byte(namespace)) {
		t.Errorf("the database: %d bytes, %v", len(made), err)
	}
	entries, err := os.ReadDir(string(d))
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
	if err := os.WriteFile(d.file(database), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := prepareDatabase(d); err != nil {
		t.Fatal(err)
	}
	if kept, err := os.ReadFile(d.file(database)); err != nil || string(kept) != "precious" {
		t.Errorf("a database that was there: %q, %v", kept, err)
	}
	if err := prepareDatabase(directory(filepath.Join(string(d), "absent"))); err == nil {
		t.Error("prepareDatabase() without a directory said nothing")
	}
}

// TestIdleWatch needs the engine by turns, and sees the watch wait until nobody does.
func TestIdleWatch(t *testing.T) {
	const quiet = 100 * time.Millisecond
	cases := map[string]struct {
		reason string
		client bool
		open   func() (bool, error)
		ends   bool
	}{
		"nobody":      {reason: "it ends", open: func() (bool, error) { return false, nil }, ends: true},
		"a client":    {reason: "a client needs it", client: true, open: func() (bool, error) { return false, nil }},
		"a workflow":  {reason: "an open workflow needs it", open: func() (bool, error) { return true, nil }},
		"not to tell": {reason: "when it cannot tell it is needed", open: func() (bool, error) { return false, errors.New("busy") }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := directory(t.TempDir())
			if c.client {
				defer share(t, d).Close()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*quiet)
			defer cancel()
			watch := idleWatch{dir: d, open: func(context.Context) (bool, error) { return c.open() }}
			began := time.Now()
			lock, err := watch.wait(ctx, quiet)
			if err != nil || (lock != nil) != c.ends {
				t.Fatalf("%s: wait() = %v, %v", c.reason, lock, err)
			}
			if lock == nil {
				return
			}
			if took := time.Since(began); took < quiet {
				t.Errorf("it ended after %v instead of %v", took, quiet)
			}
			f, err := os.Open(d.file(clientsLock))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
				t.Errorf("a client got in while the engine was ending: %v", err)
			}
			lock.Close()
		})
	}
}

// share does what a client does.
func share(t *testing.T, d directory) *os.File {
	t.Helper()
	f, err := os.OpenFile(d.file(clientsLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestChoosePorts(t *testing.T) {
	d := directory(t.TempDir())
	if port := previousPort(d); port != 0 {
		t.Errorf("previousPort() of a fresh directory = %d", port)
	}
	ports, err := choosePorts(0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, port := range ports {
		seen[port] = true
	}
	if len(seen) != len(services) || seen[0] {
		t.Errorf("choosePorts() = %v", ports)
	}
	frontend := ports[primitives.FrontendService]
	if err := d.replace(addressFile, address(frontend)+"\n"); err != nil {
		t.Fatal(err)
	}
	again, err := choosePorts(previousPort(d))
	if err != nil || again[primitives.FrontendService] != frontend {
		t.Errorf("the frontend's port %d, then %d, %v", frontend, again[primitives.FrontendService], err)
	}
	l, err := net.Listen("tcp4", address(frontend))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other, err := choosePorts(previousPort(d))
	if err != nil || other[primitives.FrontendService] == frontend {
		t.Errorf("the frontend's port while another has it: %d, %v", other[primitives.FrontendService], err)
	}
}

func TestSecondEngineWaits(t *testing.T) {
	d := directory(t.TempDir())
	first, err := d.lock(t.Context(), engineLock, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.lock(t.Context(), engineLock, 50*time.Millisecond); err == nil {
		t.Error("two engines have the lock")
	}
	first.Close()
	second, err := d.lock(t.Context(), engineLock, time.Second)
	if err != nil {
		t.Errorf("the lock after the first engine's end: %v", err)
	}
	second.Close()
}

func TestRun(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		status int
		says   string
	}{
		"nothing":  {"a directory is needed", nil, 2, "usage:"},
		"unknown":  {"unknown flags are refused", []string{"--port", "1"}, 2, "not defined"},
		"surplus":  {"nothing but flags", []string{"--dir", "x", "y"}, 2, "usage:"},
		"no key":   {"the client makes the key first", []string{"--dir", t.TempDir()}, 1, "cannot load the engine's key"},
		"no place": {"the client makes the directory first", []string{"--dir", "/nowhere/engine"}, 1, "cannot open the lock file"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if status := run(c.args, &stderr); status != c.status || !strings.Contains(stderr.String(), c.says) {
				t.Errorf("%s: run(%q) = %d, says %q", c.reason, c.args, status, stderr.String())
			}
		})
	}
}
