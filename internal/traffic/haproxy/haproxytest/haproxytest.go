// Package haproxytest runs HAProxy for tests: the one of Debian, several at a time, each with a directory of its own and the
// configuration that the documentation shows.
package haproxytest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/traffic/haproxy"
)

const (
	program      = "/usr/sbin/haproxy"
	startTimeout = 30 * time.Second
)

// HAProxy is one that runs: a master process with its workers, as systemd has it.
type HAProxy struct {
	Address string // HOST:PORT, at which its frontend listens
	Root    string // its directory, in place of /etc/haproxy
	running *exec.Cmd
}

// Start starts an HAProxy that ends with the test, with more lines after those of the documentation. It skips the test with
// -short, and when HAProxy is not installed, except in CI, where that is an error.
func Start(t testing.TB, more string) *HAProxy {
	t.Helper()
	if testing.Short() {
		t.Skip("needs HAProxy")
	}
	if _, err := os.Stat(program); err != nil && os.Getenv("CI") == "" {
		t.Skipf("needs Debian's haproxy: %v", err)
	}
	root, err := os.MkdirTemp("", "crossfade-test-") // short enough for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	h := &HAProxy{Address: freeAddress(t), Root: root}
	blocks := documented(t)
	h.Write(t, "haproxy.cfg", h.local(blocks[0])+more)
	h.Write(t, "crossfade.cfg", h.local(blocks[1]))
	h.Write(t, "crossfade-save", h.local(blocks[2]))
	h.Write(t, "crossfade.map", "")
	t.Cleanup(func() { h.Stop(t) })
	h.Run(t)
	return h
}

var block = regexp.MustCompile("(?ms)^```(?:haproxy|sh)\n(.*?)^```$")

// documented returns the files that the page about HAProxy shows: the configuration, that of the backends, and what saves them.
func documented(t testing.TB) []string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../../../docs/concepts/haproxy.md"))
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, m := range block.FindAllStringSubmatch(string(raw), -1) {
		if !strings.HasPrefix(m[1], "EXTRAOPTS") {
			files = append(files, m[1])
		}
	}
	if len(files) != 3 {
		t.Fatalf("the page shows %d files, want 3: are they still marked as haproxy and sh?", len(files))
	}
	return files
}

// local puts the directory and the address of this HAProxy in place of those of a machine.
func (h *HAProxy) local(text string) string {
	return strings.NewReplacer("/etc/haproxy", h.Root, "/run/haproxy/crossfade.sock", h.Socket(), "bind :80\n", "bind "+h.Address+"\n").Replace(text)
}

// Socket is its stats socket.
func (h *HAProxy) Socket() string { return h.File("admin.sock") }

// File is the path of a file of the HAProxy.
func (h *HAProxy) File(name string) string { return filepath.Join(h.Root, name) }

// Write gives a file of the HAProxy its content.
func (h *HAProxy) Write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(h.File(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Router returns a router for it.
func (h *HAProxy) Router(t testing.TB) *haproxy.Router {
	t.Helper()
	r, err := haproxy.New(haproxy.Options{Socket: h.Socket(), Entry: "http://" + h.Address})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Run starts it, and waits until it answers.
func (h *HAProxy) Run(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(h.File("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	h.running = exec.Command(program, "-W", "-f", h.File("haproxy.cfg"), "-f", h.File("crossfade.cfg"), "-p", h.File("pid"))
	h.running.Stdout, h.running.Stderr = log, log
	h.running.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.running.Start(); err != nil {
		t.Fatal(err)
	}
	h.answers(t, func(string) bool { return true })
}

// Reload has a new process take over, and waits until it answers.
func (h *HAProxy) Reload(t testing.TB) {
	t.Helper()
	before := h.pid()
	if err := h.running.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	h.answers(t, func(pid string) bool { return pid != before })
}

// answers waits until the process that answers at the socket is one that is wanted.
func (h *HAProxy) answers(t testing.TB, wanted func(pid string) bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(startTimeout); ; <-tick.C {
		if pid := h.pid(); pid != "" && wanted(pid) {
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(h.File("log"))
			t.Fatalf("HAProxy does not answer:\n%s", log)
		}
	}
}

var pidLine = regexp.MustCompile(`(?m)^Pid: (\d+)$`)

// pid is that of the process that answers at the socket, or "".
func (h *HAProxy) pid() string {
	answer, _ := h.ask("show info")
	if m := pidLine.FindStringSubmatch(answer); m != nil {
		return m[1]
	}
	return ""
}

// Ask returns what it answers to a command.
func (h *HAProxy) Ask(t testing.TB, command string) string {
	t.Helper()
	answer, err := h.ask(command)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func (h *HAProxy) ask(command string) (string, error) {
	conn, err := net.Dial("unix", h.Socket())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	fmt.Fprintln(conn, command)
	var answer strings.Builder
	buffer := make([]byte, 1<<16)
	for {
		n, err := conn.Read(buffer)
		answer.Write(buffer[:n])
		if err != nil {
			return answer.String(), nil //nolint:nilerr // it closes after the answer
		}
	}
}

// Stop ends it with all its processes, if it runs.
func (h *HAProxy) Stop(t testing.TB) {
	t.Helper()
	if h.running == nil {
		return
	}
	if err := syscall.Kill(-h.running.Process.Pid, syscall.SIGKILL); err != nil {
		t.Errorf("cannot end HAProxy: %v", err)
	}
	_ = h.running.Wait() // it was killed
	h.running = nil
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
