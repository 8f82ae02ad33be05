package ssh_test

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
	"github.com/crossfade-dev/crossfade/internal/host/conformance"
	"github.com/crossfade-dev/crossfade/internal/host/ssh"
	"github.com/crossfade-dev/crossfade/internal/host/sshdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(s *sshdtest.Server) ssh.Options {
	return ssh.Options{Name: "n1", Address: s.Address, User: s.User, KeyFile: s.KeyFile, KnownHosts: s.KnownHosts}
}

func connect(t *testing.T, o ssh.Options) *ssh.Host {
	t.Helper()
	h := ssh.New(o)
	t.Cleanup(func() { h.Close() })
	return h
}

func TestConformance(t *testing.T) { conformance.Run(t, connect(t, options(sshdtest.Start(t)))) }

// asked runs something on a host, within a bound.
func asked(t *testing.T, h host.Host, bound time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	_, err := host.Do(ctx, h, "true")
	return err
}

func TestRefused(t *testing.T) {
	s := sshdtest.Start(t)
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	write(t, empty, "")
	sshdtest.Key(t, filepath.Join(dir, "stranger"))
	locked := filepath.Join(dir, "locked")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", locked).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	for name, tc := range map[string]struct {
		edit       func(*ssh.Options)
		code       fault.Code
		says, hint string
	}{
		"unknown":    {func(o *ssh.Options) { o.KnownHosts = empty }, fault.Failed, "has no key of " + s.Address, empty},
		"no file":    {func(o *ssh.Options) { o.KnownHosts = filepath.Join(dir, "none") }, fault.Failed, "cannot check the key of n1", "knownHosts"},
		"no such":    {func(o *ssh.Options) { o.KeyFile = filepath.Join(dir, "none") }, fault.Failed, "no such file", "private key"},
		"passphrase": {func(o *ssh.Options) { o.KeyFile = locked }, fault.Failed, "has a passphrase", "agent"},
		"not a key":  {func(o *ssh.Options) { o.KeyFile = s.KnownHosts }, fault.Failed, "not a private key", "private key"},
		"stranger":   {func(o *ssh.Options) { o.KeyFile = filepath.Join(dir, "stranger") }, fault.Failed, "cannot log in to n1 as " + s.User, "authorized_keys"},
		"no agent":   {func(o *ssh.Options) { o.KeyFile = "" }, fault.Failed, "no SSH agent runs", "ssh-add"},
		"nobody":     {func(o *ssh.Options) { o.Address = "127.0.0.1:1" }, fault.Unavailable, "cannot reach n1", "is up"},
	} {
		o := options(s)
		tc.edit(&o)
		err := asked(t, connect(t, o), 20*time.Second)
		if fault.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.says) || !strings.Contains(fault.HintOf(err), tc.hint) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v (%s, hint %q), want %s, %q, and a hint about %q", name, err, fault.CodeOf(err), fault.HintOf(err), tc.code, tc.says, tc.hint)
		}
	}
}

// TestAgent logs in with the keys of an agent.
func TestAgent(t *testing.T) {
	s := sshdtest.Start(t)
	socket := filepath.Join(t.TempDir(), "agent")
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Process.Kill(); _ = agent.Wait() })
	await(t, "the agent listens", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	t.Setenv("SSH_AUTH_SOCK", socket)
	o := options(s)
	o.KeyFile = ""
	h := connect(t, o)
	if err := asked(t, h, 20*time.Second); fault.CodeOf(err) != fault.Failed || !strings.Contains(err.Error(), "cannot log in") {
		t.Errorf("an agent without the key: %v", err)
	}
	if out, err := exec.Command("ssh-add", "-q", s.KeyFile).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := asked(t, h, 20*time.Second); err != nil {
		t.Error(err)
	}
}

// TestRekeyed meets a server that has another key than before.
func TestRekeyed(t *testing.T) {
	s := sshdtest.Start(t)
	known, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	s.Stop(t)
	s.Rekey(t)
	s.Run(t)
	write(t, s.KnownHosts, string(known))
	err = asked(t, connect(t, options(s)), 20*time.Second)
	if fault.CodeOf(err) != fault.Failed || !strings.Contains(err.Error(), "its key is not the one in") || !strings.Contains(fault.HintOf(err), "in between") {
		t.Errorf("%v (hint %q), want that the key is another one", err, fault.HintOf(err))
	}
}

// TestNoTransfer meets a server that runs programs and transfers no files.
func TestNoTransfer(t *testing.T) {
	s := sshdtest.Start(t, "AllowStreamLocalForwarding no")
	config := filepath.Join(filepath.Dir(s.KeyFile), "config")
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, strings.ReplaceAll(string(raw), "Subsystem", "#"))
	s.Stop(t)
	s.Run(t)
	h := connect(t, options(s))
	if err := asked(t, h, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Read(t.Context(), "/dev/null"); fault.CodeOf(err) != fault.Failed || !strings.Contains(fault.HintOf(err), "Subsystem sftp") {
		t.Errorf("%v (hint %q), want how to configure it", err, fault.HintOf(err))
	}
}

// wire is a way to a server that can be cut and frozen.
type wire struct {
	address string
	lock    sync.Mutex
	frozen  bool
	conns   []net.Conn
	made    int // connections so far
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{address: l.Addr().String()}
	var ended sync.WaitGroup
	t.Cleanup(func() { l.Close(); w.cut(); ended.Wait() })
	ended.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			w.lock.Lock()
			w.made++
			w.conns = append(w.conns, in, out)
			w.lock.Unlock()
			ended.Go(func() { _, _ = io.Copy(out, w.through(in)); out.Close() })
			ended.Go(func() { _, _ = io.Copy(in, w.through(out)); in.Close() })
		}
	})
	return w
}

// through reads what comes in, and loses it while the wire is frozen.
func (w *wire) through(conn net.Conn) io.Reader { return &lossy{conn, w} }

type lossy struct {
	net.Conn
	w *wire
}

func (l *lossy) Read(p []byte) (int, error) {
	for {
		n, err := l.Conn.Read(p)
		l.w.lock.Lock()
		frozen := l.w.frozen
		l.w.lock.Unlock()
		if !frozen || err != nil {
			return n, err
		}
	}
}

func (w *wire) freeze() { w.lock.Lock(); defer w.lock.Unlock(); w.frozen = true }

// cut ends the connections that there are. New ones can be made.
func (w *wire) cut() {
	w.lock.Lock()
	defer w.lock.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns, w.frozen = nil, false
}

// TestConnection looks that there is one connection, that it is made again when it was lost, and given up when nothing comes any more.
func TestConnection(t *testing.T) {
	s := sshdtest.Start(t)
	w := newWire(t, s.Address)
	o := options(s)
	known, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	o.Address, o.KnownHosts = w.address, filepath.Join(t.TempDir(), "known_hosts")
	_, port, _ := net.SplitHostPort(w.address)
	_, was, _ := net.SplitHostPort(s.Address)
	write(t, o.KnownHosts, strings.Replace(string(known), was, port, 1))
	h := connect(t, o)
	works := func(reason string, connections int) {
		t.Helper()
		if err := asked(t, h, 20*time.Second); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		if _, err := h.Read(t.Context(), o.KnownHosts); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		if w.made != connections {
			t.Errorf("%s: %d connections were made, want %d", reason, w.made, connections)
		}
	}
	works("one for everything", 1)
	works("also later", 1)
	w.cut()
	works("it was lost in between", 2)

	w.freeze()
	begun := time.Now()
	err = asked(t, h, time.Second)
	if fault.CodeOf(err) != fault.Unavailable || fault.HintOf(err) == "" || time.Since(begun) > 10*time.Second {
		t.Errorf("nothing comes any more: %v after %v, want an error of code unavailable", err, time.Since(begun))
	}
	w.cut()
	works("it comes again", 3)

	go func() { time.Sleep(300 * time.Millisecond); w.cut() }()
	_, err = h.Run(t.Context(), "sleep", "600")
	if fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("lost while a program ran: %v, want an error of code unavailable", err)
	}
	works("after that", 4)
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
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
