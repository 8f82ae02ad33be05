// Package process starts, finds again and ends the programs that Crossfade runs beside itself: the engine, the edge, the
// components of local clusters. They outlive the command that started them, so nothing about them is kept in memory:
// a daemon is found by its pid file and recognised by a tag in its environment, also after a crash or a re-used pid.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tagVariable marks a daemon's environment with the path of its pid file.
const tagVariable = "CROSSFADE_DAEMON"

// startScript writes the shell's own pid, lets go of the lock (file 3) and becomes the daemon, under the same pid. The lock
// is held by the starting process and by the shell, so that a second starter can never come between.
const startScript = `echo $$ >"$0.new" && mv "$0.new" "$0" && exec 3>&- && exec "$@"`

// Daemon describes one program that runs in the background.
type Daemon struct {
	Name    string   // unique in Dir; also the names of its files: NAME.pid, NAME.lock, NAME.log
	Dir     string   // where its files are; must exist
	Command []string // the program's path and its arguments
	Env     []string // added to the environment of the starter, KEY=VALUE
	WorkDir string   // "" for Dir
	// Cgroups are cgroup directories whose cgroup.procs the daemon joins before it starts.
	Cgroups []string
}

// Find returns the pid of the running daemon, or 0 when it does not run. It may be called by anybody who may read /proc.
func (d Daemon) Find() int {
	raw, err := os.ReadFile(d.file("pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid <= 1 || !d.owns(pid) {
		return 0
	}
	return pid
}

// PIDFile returns where the daemon's pid is written. Its time is that of the daemon's start.
func (d Daemon) PIDFile() string { return d.file("pid") }

// LogFile returns where the daemon's output goes.
func (d Daemon) LogFile() string { return d.file("log") }

func (d Daemon) file(extension string) string { return filepath.Join(d.Dir, d.Name+"."+extension) }

func (d Daemon) tag() string { return tagVariable + "=" + d.file("pid") }

// owns reports whether pid is this daemon and not dead: its environment carries our tag.
func (d Daemon) owns(pid int) bool {
	for _, v := range bytes.Split(environment(pid), []byte{0}) {
		if string(v) == d.tag() {
			return true
		}
	}
	return false
}

// execLooks bounds how often a process that has a program and no environment is looked at again. To become another program
// takes it microseconds, and a second when the machine has no time for it; some programs really have no environment.
const execLooks = 2000

// environment returns the environment of a process; nothing when it is dead or a thread of the kernel, which have no program.
// In the middle of execve a process has a program and no environment yet, and is looked at again.
func environment(pid int) []byte {
	file := fmt.Sprintf("/proc/%d/environ", pid)
	for range execLooks {
		environ, err := readAtOnce(file)
		if err != nil || len(environ) > 0 {
			return environ
		}
		if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil {
			return nil
		}
		time.Sleep(500 * time.Microsecond)
	}
	return nil
}

// readAtOnce reads a file in one go: in several, the memory that a process's environment is read from may go between two of them,
// and what was read by then would pass for the whole.
func readAtOnce(name string) ([]byte, error) {
	for size := 64 << 10; ; size *= 2 {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		buf := make([]byte, size)
		n, err := f.Read(buf)
		f.Close()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil || n < size {
			return buf[:n], err
		}
	}
}

// Start starts the daemon unless it runs, and returns its pid. It does not wait until the daemon is ready. Calling it any
// number of times, from any number of processes, leaves one daemon.
func (d Daemon) Start(ctx context.Context) (int, error) {
	lock, err := Lock(ctx, d.file("lock"))
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if pid := d.Find(); pid != 0 {
		return pid, nil
	}
	log, err := os.OpenFile(d.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("cannot open the log of %s: %w", d.Name, err)
	}
	defer log.Close()
	script := startScript
	for _, dir := range d.Cgroups {
		script = fmt.Sprintf("echo $$ >%q && ", filepath.Join(dir, "cgroup.procs")) + script
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, d.file("pid")}, d.Command...)...)
	cmd.Env = append(append(os.Environ(), d.Env...), d.tag())
	cmd.Dir = d.Dir
	if d.WorkDir != "" {
		cmd.Dir = d.WorkDir
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("cannot start %s: %w", d.Name, err)
	}
	go func() { _ = cmd.Wait() }() // reaps it when it ends before we do
	return cmd.Process.Pid, nil
}

// Stop ends the daemon: SIGTERM, then SIGKILL after the grace period. It returns once the process is gone. Stopping a daemon
// that does not run is not an error. Its log is kept. When ctx ends first, the daemon was asked to end and is not killed.
func (d Daemon) Stop(ctx context.Context, grace time.Duration) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cannot end %s: %w", d.Name, err)
	}
	lock, err := Lock(ctx, d.file("lock")) // a start under way has not written the pid yet
	if errors.Is(err, os.ErrNotExist) {
		return nil // nor has there been one: the directory is missing
	} else if err != nil {
		return err
	}
	defer lock.Close()
	pid := d.Find()
	if pid == 0 {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	} else if err != nil {
		return fmt.Errorf("cannot watch %s (pid %d): %w", d.Name, pid, err)
	}
	defer unix.Close(fd)
	if !d.owns(pid) { // it ended, and its pid was given away, before we held it
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot end %s (pid %d): %w", d.Name, pid, err)
	}
	if waitExit(ctx, fd, grace) {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("cannot wait for the end of %s (pid %d): %w", d.Name, pid, ctx.Err())
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot kill %s (pid %d): %w", d.Name, pid, err)
	}
	if !waitExit(ctx, fd, 10*time.Second) {
		return fmt.Errorf("%s (pid %d) is still there 10 s after SIGKILL", d.Name, pid)
	}
	return nil
}

// waitExit waits until the process behind the pidfd has ended, for at most the given time, and says whether it has.
func waitExit(ctx context.Context, fd int, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for ctx.Err() == nil {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		// The slice of 100 ms is only to notice a cancelled context.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(min(left, 100*time.Millisecond).Milliseconds())+1)
		if n > 0 && err == nil {
			return true
		}
	}
	return false
}

// Lock takes the exclusive lock on the named file, making the file if need be, and waits for it until ctx ends. Closing the
// file releases it, and so does the end of the process, however it ends.
func Lock(ctx context.Context, name string) (*os.File, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		f, err := TryLock(name)
		if err != nil || f != nil {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot lock %s: %w", name, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// TryLock is Lock without waiting: it returns nil and no error when somebody else holds the lock.
func TryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock file %s: %w", name, err)
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		f.Close()
		return nil, nil //nolint:nilnil // nil means: held by another, and that is documented
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", name, err)
	}
	return f, nil
}
