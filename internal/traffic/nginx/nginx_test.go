package nginx_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/host"
	"github.com/crossfade-dev/crossfade/internal/host/local"
	"github.com/crossfade-dev/crossfade/internal/host/ssh"
	"github.com/crossfade-dev/crossfade/internal/host/sshdtest"
	"github.com/crossfade-dev/crossfade/internal/nginxctl"
	"github.com/crossfade-dev/crossfade/internal/nginxctl/nginxtest"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/conformance"
	"github.com/crossfade-dev/crossfade/internal/traffic/nginx"
)

func TestMain(m *testing.M) {
	conformance.Helper(func(self string) (traffic.Router, error) {
		address, root, _ := strings.Cut(self, " ")
		n := nginxtest.Nginx{Address: address, Root: root}
		return nginx.New(options(&n, n.Node(local.New("n1"))))
	})
	goleak.VerifyTestMain(m)
}

// options are those for some nodes, of which the first is at the entry.
func options(first *nginxtest.Nginx, nodes ...nginxctl.Node) nginx.Options {
	return nginx.Options{Nodes: nodes, Entry: "http://" + first.Address, Listen: []string{first.Address, second(first) + " http2"}}
}

// second is where an nginx speaks HTTP/2 without TLS.
func second(n *nginxtest.Nginx) string {
	return strings.Replace(n.Address, "127.0.0.1", "127.0.0.2", 1)
}

// others is configuration of somebody else, beside ours.
const others = "  keepalive_timeout 3s;\n  server { listen ADDRESS default_server; server_name blog.example.com; return 404; }\n"

// start runs an nginx.
func start(t *testing.T) *nginxtest.Nginx {
	t.Helper()
	return nginxtest.StartWith(t, "worker_shutdown_timeout 2m;\n", others)
}

// router is one for some nodes, of which the first is at the entry.
func router(t *testing.T, first *nginxtest.Nginx, nodes ...nginxctl.Node) *nginx.Router {
	t.Helper()
	r, err := nginx.New(options(first, nodes...))
	if err != nil {
		t.Fatal(err)
	}
	r.Tell(t.Logf)
	return r
}

// foreign returns all files that the suite's route has no part in.
func foreign(t *testing.T, n *nginxtest.Nginx) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(n.Root, func(path string, d os.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(path, ".log") || strings.Contains(path, conformance.Host) {
			return err
		}
		text := ""
		if d.Type().IsRegular() {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(raw)
		}
		all = append(all, path+"\n"+text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// unreachable is a machine whose SSH server has ended.
func unreachable(t *testing.T) host.Host {
	t.Helper()
	s := sshdtest.Start(t)
	s.Stop(t)
	h := ssh.New(ssh.Options{Name: "n2", Address: s.Address, User: s.User, KeyFile: s.KeyFile, KnownHosts: s.KnownHosts})
	t.Cleanup(func() { h.Close() })
	return h
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Peer {
		n := start(t)
		return conformance.Peer{
			Router: router(t, n, n.Node(local.New("n1"))), Away: router(t, n, n.Node(unreachable(t))), Foreign: func() string { return foreign(t, n) }, Unwatched: true,
			HTTP2: "http://" + second(n), Self: n.Address + " " + n.Root,
		}
	})
}
