package record

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

func TestPrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "state", "record.db")
	run(t, open(t, path), "r", "production", 1)
	for _, file := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}

func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.db")
	s := open(t, path)
	run(t, s, "r", "production", 1)
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	next := len(names) + 1
	files := func(script string) fstest.MapFS {
		all := fstest.MapFS{fmt.Sprintf("migrations/%04d_notes.sql", next): {Data: []byte(script)}}
		for _, name := range names {
			known, err := migrationFiles.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = &fstest.MapFile{Data: known}
		}
		return all
	}
	// One that breaks in its middle leaves nothing of itself.
	err = s.migrate(t.Context(), files("CREATE TABLE notes (id TEXT); CREATE TABLE runs (id TEXT);"))
	if fault.CodeOf(err) != fault.Failed {
		t.Fatalf("migrate() with a broken migration = %v", err)
	}
	for range 2 { // the second time does nothing
		if err := s.migrate(t.Context(), files("CREATE TABLE notes (id TEXT);")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Run(t.Context(), "r"); err != nil {
		t.Errorf("the run after the migration: %v", err)
	}
	// This program knows only those before.
	if _, err := Open(t.Context(), path); fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), fmt.Sprintf("version %d", next)) || fault.HintOf(err) == "" {
		t.Errorf("Open() of a newer record = %v", err)
	}
	gap := fstest.MapFS{"migrations/0003_gap.sql": {}}
	if err := s.migrate(t.Context(), gap); fault.CodeOf(err) != fault.Failed {
		t.Errorf("migrate() with a gap = %v", err)
	}
}

// TestMigrateRows opens a record of the first version with what it had: runs were about environments, releases were asked for by no tag.
func TestMigrateRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.db")
	first, err := migrationFiles.ReadFile("migrations/0001_start.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := openSQLite(path)
	if err != nil {
		t.Fatal(err)
	}
	old := &Store{path: path, db: db}
	if err := old.migrate(t.Context(), fstest.MapFS{"migrations/0001_start.sql": {Data: first}}); err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), `INSERT INTO runs (id, operation, environment, generation, previous, who, state, reason, plan, started, ended)
		VALUES ('r', 'rollover', 'production', 'new', 'old', 'ann@desk', 'done', '', '{"steps":3}', 1, 2);
		INSERT INTO releases (environment, generation, service, version, manifests, good, run, released)
		VALUES ('production', 'new', 'web', '1.4', 'sha256:0', TRUE, 'r', 3)`)
	if err := errors.Join(err, old.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to migrate
		s := open(t, path)
		ended := time.Unix(0, 2).UTC()
		want := Run{
			ID: "r", Operation: "rollover", Environment: "production", Generation: "new", Previous: "old", By: "ann@desk", State: Done,
			Plan: []byte(`{"steps":3}`), Started: time.Unix(0, 1).UTC(), Ended: &ended,
		}
		got, err := s.Run(t.Context(), "r")
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("Run() -want +got, %v:\n%s", err, diff)
		}
		release := Release{
			Environment: "production", Generation: "new", Service: "web", Version: "1.4", Manifests: "sha256:0", Good: true, Run: "r", At: time.Unix(0, 3).UTC(),
			Verified: time.Unix(0, 3).UTC(), // as far as was recorded
		}
		good, err := s.Good(t.Context(), "production")
		if diff := cmp.Diff(map[string]Release{"web": release}, good); diff != "" || err != nil {
			t.Errorf("Good() -want +got, %v:\n%s", err, diff)
		}
	}
}

func TestTroubledFiles(t *testing.T) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged.db")
	if err := os.WriteFile(damaged, bytes.Repeat([]byte("not a database"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, want string }{
		"damaged":           {damaged, "the file is damaged"},
		"a directory":       {dir, "cannot open the record"},
		"below a file":      {filepath.Join(damaged, "record.db"), "cannot open the record"},
		"not for a program": {"/proc/record.db", "cannot open the record"},
	} {
		_, err := Open(t.Context(), c.path)
		if fault.CodeOf(err) != fault.Failed || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Open() = %v", name, err)
		}
	}
}

// TestFullDisk fills a small file system under the record: the error says so, and once there is room everything goes on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); errors.Is(err, unix.EPERM) {
		t.Skip("needs root to mount a small file system")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := open(t, filepath.Join(dir, "record.db"))
	run(t, s, "r", "production", 1)
	ballast := filepath.Join(dir, "ballast")
	_ = os.WriteFile(ballast, make([]byte, 1<<20), 0o600) // as much as there is room for
	var err error
	for i := 0; err == nil && i < 100; i++ {
		_, err = s.Append(t.Context(), Event{Run: "r", Key: fmt.Sprint(i), Message: strings.Repeat("x", 4096), At: day})
	}
	if fault.CodeOf(err) != fault.Failed || !strings.Contains(err.Error(), "no space left on device") || fault.HintOf(err) == "" {
		t.Fatalf("Append() on a full disk = %v, hint %q", err, fault.HintOf(err))
	}
	t.Log(err)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if isNew, err := s.Append(t.Context(), Event{Run: "r", Key: "after", At: day}); err != nil || !isNew {
		t.Errorf("Append() with room again = %v, %v", isNew, err)
	}
}
