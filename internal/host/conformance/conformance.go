// Package conformance is what every provider of hosts must hold.
package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
)

// Run runs the suite on a host that sees the files of this machine.
func Run(t *testing.T, h host.Host) {
	for name, test := range map[string]func(*testing.T, host.Host){
		"results":                 testResults,
		"words":                   testWords,
		"stopped":                 testStopped,
		"stopped before":          testStoppedBefore,
		"files":                   testFiles,
		"modes":                   testModes,
		"files are whole":         testWhole,
		"what cannot be done":     testRefused,
		"many at once":            testMany,
		"closed and used again":   testClosed,
		"do wants it to succeed":  testDo,
		"programs of an operator": testPath,
	} {
		t.Run(name, func(t *testing.T) { test(t, h) })
	}
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func testResults(t *testing.T, h host.Host) {
	large := strings.Repeat("0123456789abcdef", 1<<14)
	for name, tc := range map[string]struct {
		script string
		want   host.Result
	}{
		"both outputs": {"echo out; echo err >&2", host.Result{Stdout: []byte("out\n"), Stderr: []byte("err\n")}},
		"status":       {"exit 3", host.Result{Status: 3}},
		"killed":       {"kill -9 $$", host.Result{Status: 137}},
		"empty input":  {"cat; echo end", host.Result{Stdout: []byte("end\n")}},
		"large output": {"cat " + file(t, large), host.Result{Stdout: []byte(large)}},
	} {
		got, err := h.Run(bounded(t), "sh", "-c", tc.script)
		if diff := cmp.Diff(tc.want, got, cmp.Transformer("", func(b []byte) string { return string(b) })); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got\n%.500s", name, err, diff)
		}
	}
	got, err := h.Run(bounded(t), "no-such-program-at-all")
	if err != nil || got.Status != 127 || !strings.Contains(got.Says(), "no-such-program-at-all") {
		t.Errorf("a program that is not there: %v, %d, %q", err, got.Status, got.Says())
	}
}

func testWords(t *testing.T, h host.Host) {
	words := []string{"", " ", "a b", "'", `"`, `\`, "$HOME", "`id`", "*", "a\nb", "é", "-n", ";", "!"}
	got, err := host.Do(bounded(t), h, "printf", append([]string{"<%s>"}, words...)...)
	if want := "<" + strings.Join(words, "><") + ">"; err != nil || string(got) != want {
		t.Errorf("arguments arrive as %q, want %q: %v", got, want, err)
	}
}

// testStopped ends the context of a program, which ends with all that it has started.
func testStopped(t *testing.T, h host.Host) {
	for name, tc := range map[string]struct {
		bound func() (context.Context, context.CancelFunc)
		code  fault.Code
	}{
		"cancelled": {func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, fault.Interrupted},
		"late":      {func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), time.Second) }, fault.Unavailable},
	} {
		ctx, cancel := tc.bound()
		defer cancel()
		begun := filepath.Join(t.TempDir(), "begun")
		done := make(chan error, 1)
		go func() {
			_, err := h.Run(ctx, "sh", "-c", `trap "" TERM HUP INT; sleep 600 & echo $$ $! >"$1.new"; mv "$1.new" "$1"; wait; sleep 600`, "sh", begun)
			done <- err
		}()
		var pids []byte
		await(t, "the program runs", func() bool {
			raw, err := os.ReadFile(begun)
			pids = raw
			return err == nil
		})
		if tc.code == fault.Interrupted {
			cancel()
		}
		if err := <-done; fault.CodeOf(err) != tc.code || !strings.Contains(err.Error(), h.Name()) {
			t.Errorf("%s: %v (%s), want an error of code %s that names the machine", name, err, fault.CodeOf(err), tc.code)
		}
		for _, pid := range strings.Fields(string(pids)) {
			await(t, "process "+pid+" is gone", func() bool { return !runs(pid) })
		}
	}
}

// runs reports whether a process is there that is not dead.
func runs(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

func testStoppedBefore(t *testing.T, h host.Host) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(t.TempDir(), "file")
	_, ran := h.Run(ctx, "touch", path)
	_, read := h.Read(ctx, "/dev/null")
	for what, err := range map[string]error{"run": ran, "read": read, "write": h.Write(ctx, path, nil)} {
		if fault.CodeOf(err) != fault.Interrupted {
			t.Errorf("%s: %v, want an error of code interrupted", what, err)
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("something was written after the context had ended")
	}
}

func testFiles(t *testing.T, h host.Host) {
	path := filepath.Join(t.TempDir(), "a 'file'")
	if _, err := h.Read(bounded(t), path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), h.Name()) {
		t.Errorf("reading what is not there: %v, want fs.ErrNotExist and the machine's name", err)
	}
	for _, content := range []string{"one\n", strings.Repeat("\x00two", 100_000), "", "three"} {
		if err := h.Write(bounded(t), path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := h.Read(bounded(t), path)
		if err != nil || string(got) != content {
			t.Errorf("read %d bytes after writing %d: %v", len(got), len(content), err)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("something is left beside the file: %v, %v", entries, err)
	}
}

func testModes(t *testing.T, h host.Host) {
	path := filepath.Join(t.TempDir(), "file")
	for _, mode := range []os.FileMode{0o644, 0o600, 0o640} {
		if mode != 0o644 {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Write(bounded(t), path, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("the mode is %v, want %v: %v", info.Mode(), mode, err)
		}
	}
}

// testWhole reads a file all the time while it is written.
func testWhole(t *testing.T, h host.Host) {
	path := filepath.Join(t.TempDir(), "file")
	content := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 64<<10) }
	if err := h.Write(bounded(t), path, content(0)); err != nil {
		t.Fatal(err)
	}
	var reads sync.WaitGroup
	stop := make(chan struct{})
	reads.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			got, err := os.ReadFile(path)
			if err != nil || len(got) != 64<<10 || !bytes.Equal(got, bytes.Repeat(got[:1], len(got))) {
				t.Errorf("a half written file was seen: %d bytes, %v", len(got), err)
				return
			}
		}
	})
	for i := range 20 {
		if err := h.Write(bounded(t), path, content(i)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	reads.Wait()
}

func testRefused(t *testing.T, h host.Host) {
	dir := t.TempDir()
	_, read := h.Read(bounded(t), dir)
	for what, err := range map[string]error{
		"no directory": h.Write(bounded(t), filepath.Join(dir, "none", "file"), nil), "over a directory": h.Write(bounded(t), dir, nil), "a directory": read,
	} {
		if fault.CodeOf(err) != fault.Failed || !strings.Contains(err.Error(), h.Name()) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want an error of code failed that names the machine and the path", what, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*")); len(left) != 0 {
		t.Errorf("left after a failure: %v", left)
	}
}

func testMany(t *testing.T, h host.Host) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 20 { // an SSH server opens ten sessions on a connection at most, unless told otherwise
		all.Go(func() {
			text, path := fmt.Sprint(i), filepath.Join(dir, fmt.Sprint(i))
			got, err := host.Do(bounded(t), h, "echo", text)
			if err != nil || string(got) != text+"\n" {
				t.Errorf("%d: %q, %v", i, got, err)
			}
			if err := h.Write(bounded(t), path, []byte(text)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func testClosed(t *testing.T, h host.Host) {
	for range 3 {
		if _, err := host.Do(bounded(t), h, "true"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func testDo(t *testing.T, h host.Host) {
	_, err := host.Do(bounded(t), h, "sh", "-c", "echo one >&2; echo two >&2; exit 4")
	if want := "cannot run sh on " + h.Name() + ": exit status 4: one; two"; fault.CodeOf(err) != fault.Failed || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func testPath(t *testing.T, h host.Host) {
	t.Setenv("PATH", "/usr/bin:/bin")
	if _, err := host.Do(bounded(t), h, "sh", "-c", "command -v ldconfig"); err != nil {
		t.Errorf("a program of /sbin is not found: %v", err)
	}
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to: %s", what)
		}
	}
}
