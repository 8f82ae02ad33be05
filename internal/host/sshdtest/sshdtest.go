// Package sshdtest runs SSH servers for tests: the openssh-server of Debian, on loopback, with keys of the test's.
package sshdtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// startTimeout is how long a server may take until it answers on a busy machine.
const startTimeout = 30 * time.Second

// Server is an SSH server that lets in whoever runs the test, to a home directory without files of theirs for the shell.
type Server struct {
	Address    string // HOST:PORT
	User       string // who may log in
	KeyFile    string // the key to log in with
	KnownHosts string // the server's key
	dir        string
	running    *exec.Cmd
}

// Start starts a server that ends with the test, with further lines of configuration. It skips the test with -short, and when sshd is not
// installed, except in CI, where that is an error.
func Start(t testing.TB, lines ...string) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("needs an SSH server")
	}
	if _, err := os.Stat(program); err != nil && os.Getenv("CI") == "" {
		t.Skipf("needs Debian's openssh-server: %v", err)
	}
	current, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: t.TempDir(), User: current.Username, Address: freeAddress(t)}
	s.KeyFile, s.KnownHosts = s.file("key"), s.file("known_hosts")
	s.Rekey(t)
	write(t, s.file("authorized_keys"), ssh.MarshalAuthorizedKey(Key(t, s.KeyFile)))
	_, port, _ := net.SplitHostPort(s.Address)
	write(t, s.file("config"), fmt.Appendf(nil, `Port %s
ListenAddress 127.0.0.1
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
Subsystem sftp internal-sftp
SetEnv HOME=%s
%s
`, port, s.file("hostkey"), s.file("authorized_keys"), s.dir, strings.Join(lines, "\n")))
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where sshd wants to be confined; Debian makes it at its start
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(t) })
	s.Run(t)
	return s
}

const program = "/usr/sbin/sshd"

// Rekey gives the server another key, from its next Run on, and writes it into the known hosts.
func (s *Server) Rekey(t testing.TB) {
	t.Helper()
	key := Key(t, s.file("hostkey"))
	write(t, s.KnownHosts, []byte(knownhosts.Line([]string{s.Address}, key)+"\n"))
}

// Key makes a private key in a file, and returns its public key.
func Key(t testing.TB, file string) ssh.PublicKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, pem.EncodeToMemory(block))
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Run starts the server, and waits until it answers.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(s.file("log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.running = exec.Command(program, "-D", "-e", "-f", s.file("config"))
	s.running.Stdout, s.running.Stderr = log, log
	if err := s.running.Start(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(startTimeout); !answers(s.Address); <-tick.C {
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(s.file("log"))
			t.Fatalf("sshd does not answer at %s:\n%s", s.Address, log)
		}
	}
}

// answers reports whether an SSH server introduces itself at an address.
func answers(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second)) // it is a TCP connection, which has deadlines
	hello := make([]byte, 4)
	n, _ := conn.Read(hello)
	return bytes.Equal(hello[:n], []byte("SSH-"))
}

// Stop ends the server, if it runs. Connections that there are go on.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if s.running == nil {
		return
	}
	if err := s.running.Process.Kill(); err != nil {
		t.Errorf("cannot end sshd: %v", err)
	}
	_ = s.running.Wait() // it was killed
	s.running = nil
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

func write(t testing.TB, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
