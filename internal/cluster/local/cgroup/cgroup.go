// Package cgroup keeps the processes of a local cluster together: every one of them, and every one that it starts, is in
// a control group below the cluster's, so that all can be ended and none is missed, also after a crash.
//
// Version 1, version 2 and the hybrid of both are treated alike: a group is a path, and has a directory in each hierarchy
// that is mounted on the machine.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tracking are the version 1 hierarchies that processes join. The others need settings before they can be joined, and are
// left to the container runtime.
var tracking = []string{"pids", "freezer", "name=systemd"}

// Machine is the hierarchies of a machine.
type Machine struct {
	all  []string // mount points
	join []string // those of all that processes join
}

// Detect finds the mounted hierarchies.
func Detect() Machine {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Machine{}
	}
	return parse(string(raw))
}

// Usable reports whether there is a hierarchy that keeps processes together.
func (m Machine) Usable() bool { return len(m.join) > 0 }

// parse reads hierarchies from the text of a mountinfo file (proc_pid_mountinfo(5)).
func parse(mountinfo string) Machine {
	var m Machine
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(strings.TrimSpace(line), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !found || len(left) < 5 || len(right) < 3 || !strings.HasPrefix(right[0], "cgroup") {
			continue
		}
		options := strings.Split(right[2], ",")
		m.all = append(m.all, left[4])
		if right[0] == "cgroup2" || slices.ContainsFunc(tracking, func(t string) bool { return slices.Contains(options, t) }) {
			m.join = append(m.join, left[4])
		}
	}
	return m
}

// Make makes the group and returns its directories, to be joined by writing a pid to the file cgroup.procs of each.
func (m Machine) Make(group string) ([]string, error) {
	var dirs []string
	for _, mount := range m.join {
		dir := filepath.Join(mount, group)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("cannot make the control group %s: %w", group, err)
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// Delegate makes the group in every hierarchy, with every controller that the machine has, for a program that makes groups of
// its own below.
func (m Machine) Delegate(group string) error {
	for _, mount := range m.all {
		dir := filepath.Join(mount, group)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make the control group %s: %w", group, err)
		}
		if err := enableControllers(mount, group); err != nil {
			return err
		}
	}
	return nil
}

// enableControllers passes all controllers of a version 2 hierarchy down to the group. In version 1 there is nothing to do.
func enableControllers(mount, group string) error {
	raw, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // version 1
	} else if err != nil {
		return fmt.Errorf("cannot read the controllers of %s: %w", mount, err)
	}
	dir := mount
	for _, part := range strings.Split(group, "/") {
		for _, controller := range strings.Fields(string(raw)) {
			// One by one: a controller that cannot be passed on, such as cpu while a realtime process runs, must not take
			// the others along. Whoever needs it says so.
			_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0)
		}
		dir = filepath.Join(dir, part)
	}
	return nil
}

// Exists reports whether the group has a directory in any hierarchy.
func (m Machine) Exists(group string) bool {
	return slices.ContainsFunc(m.all, func(mount string) bool {
		_, err := os.Stat(filepath.Join(mount, group))
		return err == nil
	})
}

// Remove ends every process in the group and in the groups below it with SIGKILL, and removes the groups. It returns when
// all are gone, or with an error when ctx ends. A group that does not exist is not an error. Parents are removed as well when
// the group was the last in them.
func (m Machine) Remove(ctx context.Context, group string) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		left := 0
		for _, mount := range m.all {
			left += kill(filepath.Join(mount, group))
		}
		if left == 0 && m.removeDirs(group) {
			m.removeParents(group)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot end the processes of the control group %s, %d are left: %w", group, left, ctx.Err())
		case <-time.After(wait): // the kernel does not tell of the end of processes that are not our children
		}
	}
}

// Prune removes the groups below a group that no process is in, and the group itself if nothing is left in it.
func (m Machine) Prune(group string) { m.removeDirs(group) }

// Processes returns the pids in the group and below, in order.
func (m Machine) Processes(group string) []int {
	var pids []int
	for _, mount := range m.all {
		for _, dir := range below(filepath.Join(mount, group)) {
			pids = append(pids, members(dir)...)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// kill sends SIGKILL to all processes in dir and below and returns how many there were.
func kill(dir string) int {
	dirs := below(dir)
	if len(dirs) == 0 {
		return 0
	}
	// Version 2 ends a whole tree at once, with what is being forked. Older kernels do not have the file.
	_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
	count := 0
	for _, d := range dirs {
		pids := members(d)
		count += len(pids)
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // gone already, or the next round tries again
		}
	}
	return count
}

// members returns the processes directly in one group.
func members(dir string) []int {
	raw, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for _, field := range strings.Fields(string(raw)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 { // 0 is a process of another pid namespace
			pids = append(pids, pid)
		}
	}
	return pids
}

// below returns dir and the directories below it, parents first; nothing when there is none.
func below(dir string) []string {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // groups vanish while we look
	})
	return dirs
}

// removeDirs removes the group's directories and reports whether none is left.
func (m Machine) removeDirs(group string) bool {
	for _, mount := range m.all {
		dirs := below(filepath.Join(mount, group))
		for _, dir := range slices.Backward(dirs) {
			_ = os.Remove(dir)
		}
	}
	return !m.Exists(group)
}

// removeParents removes the groups above that are empty now.
func (m Machine) removeParents(group string) {
	for parent := filepath.Dir(group); parent != "." && parent != "/"; parent = filepath.Dir(parent) {
		for _, mount := range m.all {
			_ = os.Remove(filepath.Join(mount, parent)) // fails while another is in it
		}
	}
}
