package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	cases := map[string]struct{ mountinfo, want string }{
		"version 2": {
			"24 23 0:21 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			"all [/sys/fs/cgroup] join [/sys/fs/cgroup]",
		},
		"hybrid": {
			`24 23 0:21 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
25 24 0:22 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw
26 24 0:23 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
27 24 0:24 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
28 24 0:25 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
`,
			"all [/sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup/cpu,cpuacct /sys/fs/cgroup/pids] join [/sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup/pids]",
		},
		"none": {"1 0 254:0 / / rw - ext4 /dev/vda rw\n\nnonsense\n", "all [] join []"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m := parse(tc.mountinfo)
			if diff := cmp.Diff(tc.want, fmt.Sprintf("all %v join %v", m.all, m.join)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// testGroup returns a group of this test in every hierarchy of the machine.
func testGroup(t *testing.T) (Machine, string) {
	t.Helper()
	m := Detect()
	if os.Geteuid() != 0 || !m.Usable() {
		if os.Getenv("CI") != "" {
			t.Fatal("control groups need root")
		}
		t.Skip("control groups need root")
	}
	group := fmt.Sprintf("crossfade-test-%d/one", os.Getpid())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Remove(ctx, group); err != nil {
			t.Error(err)
		}
	})
	return m, group
}

// sleeper starts a process in the group, with a child that goes on when it dies, and returns when both run.
func sleeper(t *testing.T, m Machine, group string) {
	t.Helper()
	dirs, err := m.Make(group)
	if err != nil {
		t.Fatal(err)
	}
	script := ""
	for _, dir := range dirs {
		script += fmt.Sprintf("echo $$ >%s/cgroup.procs; ", dir)
	}
	before := len(m.Processes(group))
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script+"sleep 300 & sleep 300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait() }()
	for deadline := time.Now().Add(10 * time.Second); len(m.Processes(group)) < before+3; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in the group are %v", m.Processes(group))
		}
	}
}

func TestRemoveEndsEverything(t *testing.T) {
	m, group := testGroup(t)
	sleeper(t, m, group)
	sleeper(t, m, group+"/below/deeper")
	if err := m.Remove(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if left := m.Processes(group); len(left) > 0 || m.Exists(group) {
		t.Errorf("left are the processes %v, and the group: %v", left, m.Exists(group))
	}
	if parent := filepath.Dir(group); m.Exists(parent) {
		t.Errorf("the empty parent %s is left", parent)
	}
	if err := m.Remove(t.Context(), group); err != nil {
		t.Errorf("removing it again: %v", err)
	}
}

func TestRemoveLeavesOthers(t *testing.T) {
	m, group := testGroup(t)
	other := filepath.Dir(group) + "/other"
	sleeper(t, m, group)
	sleeper(t, m, other)
	if err := m.Remove(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if got := len(m.Processes(other)); got != 3 {
		t.Errorf("%d of 3 processes are left in the other group", got)
	}
	if err := m.Remove(t.Context(), other); err != nil {
		t.Fatal(err)
	}
}

func TestRemoveStopsWithItsContext(t *testing.T) {
	m, group := testGroup(t)
	sleeper(t, m, group)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Ended processes take a moment to leave; a cancelled removal does not wait for it, or there was nothing to wait for.
	if err := m.Remove(ctx, group); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestPruneLeavesProcesses(t *testing.T) {
	m, group := testGroup(t)
	sleeper(t, m, group+"/busy")
	if err := m.Delegate(group + "/idle"); err != nil {
		t.Fatal(err)
	}
	m.Prune(group)
	if !m.Exists(group+"/busy") || m.Exists(group+"/idle") {
		t.Errorf("the group with processes exists: %v, the one without: %v", m.Exists(group+"/busy"), m.Exists(group+"/idle"))
	}
}

// TestDelegate checks that each hierarchy has the group, with what can be passed on to it.
func TestDelegate(t *testing.T) {
	m, group := testGroup(t)
	for range 2 { // again changes nothing
		if err := m.Delegate(group); err != nil {
			t.Fatal(err)
		}
	}
	for _, mount := range m.all {
		if _, err := os.Stat(filepath.Join(mount, group)); err != nil {
			t.Error(err)
		}
	}
}

// TestEnableControllers checks what is written on a machine with version 2, which this one need not be.
func TestEnableControllers(t *testing.T) {
	mount := t.TempDir()
	for _, file := range []string{"cgroup.controllers", "cgroup.subtree_control", "a/cgroup.subtree_control", "a/b/cgroup.subtree_control"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(mount, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		content := ""
		if file == "cgroup.controllers" {
			content = "cpu memory pids\n"
		}
		if err := os.WriteFile(filepath.Join(mount, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := enableControllers(mount, "a/b"); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, dir := range []string{".", "a", "a/b"} {
		raw, err := os.ReadFile(filepath.Join(mount, dir, "cgroup.subtree_control"))
		if err != nil {
			t.Fatal(err)
		}
		got[dir] = string(raw)
	}
	// A plain file keeps the last of the writes; the group itself decides for its own children.
	if diff := cmp.Diff(map[string]string{".": "+pids", "a": "+pids", "a/b": ""}, got); diff != "" {
		t.Error(diff)
	}
}
