// Package ssh is a machine that is reached over SSH. The key of the machine is always checked. One connection carries everything, and is
// made again when it was lost.
package ssh

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
)

// Options say how a machine is reached.
type Options struct {
	Name       string // what people call it
	Address    string // host or host:port; the port is 22 unless given
	User       string // who to log in as; the user that the program runs as when empty
	KeyFile    string // a private key without a passphrase; the keys of the SSH agent (SSH_AUTH_SOCK) when empty
	KnownHosts string // a file in the format of known_hosts that has the machine's key; ~/.ssh/known_hosts when empty
}

// Host is a machine that is reached over SSH.
type Host struct {
	options Options

	lock       sync.Mutex
	connection *ssh.Client // nil while there is none
}

// New returns a machine, which is not connected to yet.
func New(o Options) *Host { return &Host{options: o} }

// Name is what people call it.
func (h *Host) Name() string { return h.options.Name }

// Close ends the connection.
func (h *Host) Close() error {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.connection == nil {
		return nil
	}
	err := h.connection.Close()
	h.connection = nil
	return err
}

// endWithin is how long a program may take to end after its context has, before the connection is given up.
const endWithin = 3 * time.Second

// guard runs a program on the machine such that it ends with the connection, and when we close its standard input: servers pass signals
// on only to users without privileges.
//
//go:embed guard.sh
var guard string

// Run runs a program.
func (h *Host) Run(ctx context.Context, program string, args ...string) (host.Result, error) {
	var result host.Result
	err := h.with(ctx, "run "+program, endWithin, func(c *ssh.Client) error {
		session, err := opened(ctx, c.NewSession)
		if err != nil {
			return err
		}
		defer session.Close()
		var stdout, stderr bytes.Buffer
		session.Stdout, session.Stderr = &stdout, &stderr
		stdin, err := session.StdinPipe()
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { stdin.Close() })()
		err = session.Run(quote(append([]string{"sh", "-c", host.Path + guard, "sh", program}, args...)...))
		result = host.Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
		if ended, ok := errors.AsType[*ssh.ExitError](err); ok {
			result.Status = ended.ExitStatus()
			return nil
		}
		if err != nil {
			return fault.New(fault.Unavailable, "%w", err) // it may have run, or not
		}
		return nil
	})
	return result, err
}

// quote writes words for the shell of whoever logs in.
func quote(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// Read returns the content of a file.
func (h *Host) Read(ctx context.Context, path string) ([]byte, error) {
	var content bytes.Buffer
	err := h.transfer(ctx, "read "+path, func(files *sftp.Client) error {
		f, err := files.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteTo(&content)
		return err
	})
	return content.Bytes(), err
}

// Write gives a file its content by way of one beside it that takes its place.
func (h *Host) Write(ctx context.Context, path string, content []byte) error {
	return h.transfer(ctx, "write "+path, func(files *sftp.Client) error {
		mode := os.FileMode(host.NewMode)
		if info, err := files.Stat(path); err == nil {
			mode = info.Mode().Perm()
		}
		beside := host.Beside(path)
		f, err := files.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		err = errors.Join(err, f.Chmod(mode), synced(f), f.Close())
		if err == nil {
			err = files.PosixRename(beside, path)
		}
		if err != nil {
			_ = files.Remove(beside) // the failure is what counts
		}
		return err
	})
}

// synced has a file on the disk of the machine, where its server can do that.
func synced(f *sftp.File) error {
	err := f.Sync()
	if status, ok := errors.AsType[*sftp.StatusError](err); ok && status.FxCode() == sftp.ErrSSHFxOpUnsupported {
		return nil
	}
	return err
}

// transfer does something with the files of the machine.
func (h *Host) transfer(ctx context.Context, what string, do func(*sftp.Client) error) error {
	return h.with(ctx, what, 0, func(c *ssh.Client) error {
		files, err := opened(ctx, func() (*sftp.Client, error) { return sftp.NewClient(c) })
		if err != nil {
			return err
		}
		defer files.Close()
		return do(files)
	})
}

const (
	// crowdedLimit is how long a server may have as many sessions as it allows; crowdedPause is the time between two questions.
	crowdedLimit = 10 * time.Second
	crowdedPause = 50 * time.Millisecond
)

// opened opens a session. While the server has as many on the connection as it allows (MaxSessions of sshd_config), of which some may have
// ended just now, it is asked again.
func opened[T any](ctx context.Context, open func() (T, error)) (T, error) {
	limit := time.NewTimer(crowdedLimit)
	defer limit.Stop()
	again := time.NewTicker(crowdedPause)
	defer again.Stop()
	for {
		session, err := open()
		refused, answered := errors.AsType[*ssh.OpenChannelError](err)
		switch {
		case err == nil:
			return session, nil
		case strings.Contains(err.Error(), "subsystem request failed"):
			return session, fault.New(fault.Failed, "its SSH server does not transfer files: %w", err).WithHint("have its sshd_config say: Subsystem sftp internal-sftp")
		case !answered:
			return session, lost(err)
		case refused.Reason == ssh.ConnectionFailed:
			select {
			case <-again.C:
				continue
			case <-limit.C:
			case <-ctx.Done():
			}
		}
		return session, fault.New(fault.Failed, "its SSH server opens no session: %w", err).WithHint("see MaxSessions in its sshd_config, and what the user may do")
	}
}

// lost is the error of a connection that turns out to be gone before anything was begun on it.
func lost(err error) error { return &lostError{err} }

type lostError struct{ error }

// Unwrap returns the error that the connection met.
func (e *lostError) Unwrap() error { return e.error }

// with does something over the connection. One that was made earlier and is lost is made again, once. When ctx ends, the connection is given up
// after a while, and do returns.
func (h *Host) with(ctx context.Context, what string, grace time.Duration, do func(*ssh.Client) error) error {
	for {
		if ctx.Err() != nil {
			return host.Stopped(ctx, what, h.options.Name)
		}
		c, reused, err := h.connect(ctx)
		if ctx.Err() != nil {
			return host.Stopped(ctx, what, h.options.Name)
		}
		if err != nil {
			return err
		}
		ended := make(chan struct{})
		release := context.AfterFunc(ctx, func() {
			select {
			case <-ended:
			case <-time.After(grace):
				h.drop(c)
			}
		})
		err = do(c)
		close(ended)
		release()
		_, gone := errors.AsType[*lostError](err)
		switch {
		case ctx.Err() != nil:
			return host.Stopped(ctx, what, h.options.Name)
		case gone && reused:
			h.drop(c)
			continue
		case err == nil:
			return nil
		}
		return h.failed(c, what, err)
	}
}

// failed says what could not be done, and forgets a connection that is lost.
func (h *Host) failed(c *ssh.Client, what string, err error) error {
	code := fault.CodeOf(err)
	if _, gone := errors.AsType[*lostError](err); gone || errors.Is(err, sftp.ErrSSHFxConnectionLost) {
		code = fault.Unavailable
	}
	failed := fault.New(code, "cannot %s on %s: %w", what, h.options.Name, err)
	if code == fault.Unavailable {
		h.drop(c)
		return failed.WithHint("see whether %s is up, and its network", h.options.Name)
	}
	if errors.Is(err, os.ErrPermission) {
		return failed.WithHint("give the user %s that right on %s", c.User(), h.options.Name)
	}
	return failed
}

// drop gives up a connection.
func (h *Host) drop(c *ssh.Client) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.connection == c {
		h.connection = nil
	}
	c.Close()
}
