// Package nginxtest runs nginx for tests: the one of Debian, several at a time, each with a directory of its own.
package nginxtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/host"
	"github.com/crossfade-dev/crossfade/internal/nginxctl"
)

const (
	program      = "/usr/sbin/nginx"
	startTimeout = 30 * time.Second
)

// Nginx is one that runs.
type Nginx struct {
	Address string // HOST:PORT, at which it serves what the upstream does
	Root    string // its directory
	running *exec.Cmd
}

// Start starts an nginx that ends with the test. It serves the upstream of a name at its address, once that is there. It skips the test with
// -short, and when nginx is not installed, except in CI, where that is an error.
func Start(t testing.TB, upstream string) *Nginx {
	t.Helper()
	return StartWith(t, "", fmt.Sprintf(`  server {
    listen ADDRESS;
    location / {
      set $upstream %s; # by a variable: nginx starts without the upstream, too
      proxy_pass http://$upstream;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
`, upstream))
}

// StartWith is Start with lines of one's own for the main part of the configuration and for http, in which ADDRESS stands for the address at which
// something must listen.
func StartWith(t testing.TB, main, http string) *Nginx {
	t.Helper()
	if testing.Short() {
		t.Skip("needs nginx")
	}
	if _, err := os.Stat(program); err != nil && os.Getenv("CI") == "" {
		t.Skipf("needs Debian's nginx: %v", err)
	}
	n := &Nginx{Address: freeAddress(t), Root: t.TempDir()}
	for _, dir := range []string{"conf.d", "temp"} {
		if err := os.Mkdir(n.File(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.Write(t, "nginx.conf", fmt.Sprintf(`user root;
daemon off;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
%[2]sevents { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path %[1]s/temp; proxy_temp_path %[1]s/temp; fastcgi_temp_path %[1]s/temp; uwsgi_temp_path %[1]s/temp; scgi_temp_path %[1]s/temp;
  include %[1]s/conf.d/*.conf;
%[3]s}
`, n.Root, main, strings.ReplaceAll(http, "ADDRESS", n.Address)))
	t.Cleanup(func() { n.Stop(t) })
	n.Run(t)
	return n
}

// Node is the nginx as a node, reached by way of a host.
func (n *Nginx) Node(h host.Host) nginxctl.Node {
	return nginxctl.Node{
		Host: h, Command: []string{"nginx", "-c", n.File("nginx.conf"), "-e", n.File("error.log")}, PIDFile: n.File("nginx.pid"),
		Dir: n.File("conf.d"),
	}
}

// File is the path of a file of the nginx.
func (n *Nginx) File(name string) string { return filepath.Join(n.Root, name) }

// Write gives a file of the nginx its content.
func (n *Nginx) Write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(n.File(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Run starts it, and waits until it listens.
func (n *Nginx) Run(t testing.TB) {
	t.Helper()
	n.running = exec.Command(program, "-c", n.File("nginx.conf"), "-e", n.File("error.log"))
	n.running.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.running.Start(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(startTimeout); !listens(n.Address) || n.pid() != n.running.Process.Pid; <-tick.C {
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(n.File("error.log"))
			t.Fatalf("nginx does not listen at %s:\n%s", n.Address, log)
		}
	}
}

func (n *Nginx) pid() (pid int) {
	raw, _ := os.ReadFile(n.File("nginx.pid"))
	_, _ = fmt.Sscan(strings.TrimSpace(string(raw)), &pid) // 0 while there is none
	return pid
}

func listens(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Stop ends it with all its workers, if it runs.
func (n *Nginx) Stop(t testing.TB) {
	t.Helper()
	if n.running == nil {
		return
	}
	if err := syscall.Kill(-n.running.Process.Pid, syscall.SIGKILL); err != nil {
		t.Errorf("cannot end nginx: %v", err)
	}
	_ = n.running.Wait() // it was killed
	n.running = nil
	_ = os.Remove(n.File("nginx.pid"))
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
