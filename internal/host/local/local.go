// Package local is the machine that the program runs on.
package local

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
)

// Host is this machine.
type Host struct{ name string }

// New returns this machine by the name that people call it.
func New(name string) *Host { return &Host{name: name} }

// Name is what people call it.
func (h *Host) Name() string { return h.name }

// Close does nothing: there is no connection.
func (h *Host) Close() error { return nil }

// Run runs a program, in a process group of its own.
func (h *Host) Run(ctx context.Context, program string, args ...string) (host.Result, error) {
	if ctx.Err() != nil {
		return host.Result{}, host.Stopped(ctx, "run "+program, h.name)
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", host.Path + `exec "$@"`, "sh", program}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	if ctx.Err() != nil {
		return host.Result{}, host.Stopped(ctx, "run "+program, h.name)
	}
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		return host.Result{}, fault.New(fault.Failed, "cannot run %s on %s: %w", program, h.name, err)
	}
	return host.Result{Status: status(cmd.ProcessState), Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}, nil
}

// status is the exit status as a shell gives it.
func status(state *os.ProcessState) int {
	if ended, ok := state.Sys().(syscall.WaitStatus); ok && ended.Signaled() {
		return 128 + int(ended.Signal())
	}
	return state.ExitCode()
}

// Read returns the content of a file.
func (h *Host) Read(ctx context.Context, path string) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, host.Stopped(ctx, "read "+path, h.name)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot read %s on %s: %w", path, h.name, err)
	}
	return content, nil
}

// Write gives a file its content by way of one beside it that takes its place.
func (h *Host) Write(ctx context.Context, path string, content []byte) error {
	if ctx.Err() != nil {
		return host.Stopped(ctx, "write "+path, h.name)
	}
	if err := replace(path, content); err != nil {
		return fault.New(fault.Failed, "cannot write %s on %s: %w", path, h.name, err)
	}
	return nil
}

func replace(path string, content []byte) error {
	mode := os.FileMode(host.NewMode)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	beside := host.Beside(path)
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(beside, path)
	}
	if err != nil {
		_ = os.Remove(beside) // the failure is what counts
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
