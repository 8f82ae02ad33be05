package test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/demo"
	"github.com/crossfade-dev/crossfade/internal/host/sshdtest"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/nginxctl/nginxtest"
)

// frontedWeb has nginx lead users to the service web, and says on every node that it has.
func frontedWeb(after string) edit {
	e := blueGreenWeb
	e.now = strings.Replace(e.now, "drain: 8s", fmt.Sprintf(`drain: 6s
      front: {nginx: {nodePort: 30080, port: http, upstream: shop_web, after: [sh, -c, 'echo "$CROSSFADE_SERVICE" >>%s']}}`, after), 1)
	return e
}

// onNodes has the environment know two nodes: one is this machine, the other one is reached over SSH.
func onNodes(s *sshdtest.Server, here, there *nginxtest.Nginx) edit {
	node := func(name, address string, n *nginxtest.Nginx) string {
		return fmt.Sprintf("      - {name: %s, address: %q, command: [nginx, -c, %[3]s/nginx.conf, -e, %[3]s/error.log], pidFile: %[3]s/nginx.pid, dir: %[3]s/conf.d}\n", name, address, n.Root)
	}
	return edit{"production.yaml", "\n  routes:\n", fmt.Sprintf("\n  nginx:\n    ssh: {user: %s, keyFile: %s, knownHosts: %s}\n    nodes:\n", s.User, s.KeyFile, s.KnownHosts) +
		node("here", "", here) + node("there", s.Address, there) + "\n  routes:\n"}
}

// outside puts the demo's load on an nginx until the returned function is called. Its requests have connections of their own: see the load of
// the tests of package nginx.
func (w *world) outside(n *nginxtest.Nginx, rate int) (g *load.Generator, stop func() load.Report) {
	w.t.Helper()
	kinds := demo.Mix()
	for i := range kinds {
		kinds[i].NewConnection = true
	}
	g, err := load.New(load.Options{Entry: "http://" + n.Address, Rate: rate, Duration: time.Hour, Kinds: kinds})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan load.Report, 1)
	go func() { done <- g.Run(ctx) }()
	w.t.Cleanup(func() { cancel() })
	return g, func() load.Report { g.Stop(); return <-done }
}

// upstream is the file of the service on a node.
func upstream(t *testing.T, n *nginxtest.Nginx) string {
	t.Helper()
	raw, err := os.ReadFile(n.File("conf.d/crossfade-web.conf"))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// status is how an nginx answers for the front page.
func status(t *testing.T, n *nginxtest.Nginx) int {
	t.Helper()
	r, err := http.Get("http://" + n.Address)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode
}

// TestNginx deploys versions of a service that nginx on two nodes leads users to, under load: good ones, one while a node cannot be switched,
// which is undone on both, one that is killed on the way, and back again. No request fails.
func TestNginx(t *testing.T) {
	s := sshdtest.Start(t)
	here, there := nginxtest.Start(t, "shop_web"), nginxtest.Start(t, "shop_web")
	after := t.TempDir() + "/after"
	w := newWorld(t, frontedWeb(after), onNodes(s, here, there), retireAtOnce, edit{"prime/namespaces/limits.yaml", `services.nodeports: "2"`, `services.nodeports: "4"`})
	w.must("rollover", environment)
	for _, tag := range []string{"v2", "v3"} {
		w.push(tag, false)
	}
	_, stopHere := w.outside(here, 50)
	_, stopThere := w.outside(there, 50)
	leads := func(t *testing.T, idle string) {
		t.Helper()
		for i, n := range []*nginxtest.Nginx{here, there} {
			if text := upstream(t, n); !strings.Contains(text, "down; # "+idle+"\n") {
				t.Errorf("on node %d, %s is not idle:\n%s", i, idle, text)
			}
		}
	}
	leads(t, "green")

	var old string // the file of a node, later
	t.Run("Deploy", func(t *testing.T) {
		w.must("deploy", "web@v2", environment)
		w.serves(t, "web", "v2")
		leads(t, "blue")
		if raw, err := os.ReadFile(after); err != nil || string(raw) != "web\nweb\n" {
			t.Errorf("what is to be done on every node has left %q, %v; want a line each", raw, err)
		}
	})
	t.Run("BadNode", func(t *testing.T) {
		before := []string{upstream(t, here), upstream(t, there)}
		there.Write(t, "conf.d/mine.conf", "serve {}\n")
		o := w.run("deploy", "web@v3", environment)
		there.Write(t, "conf.d/mine.conf", "")
		if o.status != 1 || !strings.Contains(o.stderr, "nginx on there finds its configuration wrong") || !strings.Contains(o.stderr, "mine.conf:1") {
			t.Errorf("exit %d, want 1 and what is wrong with which node:\n%s", o.status, o.stderr)
		}
		if before[0] != upstream(t, here) || before[1] != upstream(t, there) {
			t.Error("the files were touched")
		}
		if got, want := w.runsImage("web"), shopImage+"@"+w.digest("v2"); got != want {
			t.Errorf("web runs %s, want %s", got, want)
		}
	})
	t.Run("AfterFails", func(t *testing.T) {
		w.replace("services.yaml", "after: [sh, -c, '", "after: [sh, -c, 'echo no space >&2; exit 3; ")
		o := w.run("deploy", "web@v3", environment)
		w.replace("services.yaml", "echo no space >&2; exit 3; ", "")
		if o.status != 1 || !strings.Contains(o.stderr, "on there: exit status 3: no space") {
			t.Errorf("exit %d, want 1 and what was said on which node:\n%s", o.status, o.stderr)
		}
		leads(t, "blue")
		if got, want := w.runsImage("web"), shopImage+"@"+w.digest("v2"); got != want {
			t.Errorf("web runs %s, want %s", got, want)
		}
	})
	t.Run("Killed", func(t *testing.T) {
		for kills := 0; ; kills++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(3+2*kills)*time.Second)
			err := w.command(ctx, "deploy", "web@v3", environment).Run()
			killed := ctx.Err() != nil
			cancel()
			if killed {
				continue
			}
			if err != nil || kills == 0 {
				t.Fatalf("after %d kills: %v", kills, err)
			}
			break
		}
		w.serves(t, "web", "v3")
		leads(t, "green")
		old = upstream(t, there)
	})
	t.Run("RollBack", func(t *testing.T) {
		w.must("rollback", "web", environment)
		w.serves(t, "web", "v2")
		leads(t, "blue")
	})
	t.Run("RollOver", func(t *testing.T) {
		if o := w.run("rollover", environment); o.status != 2 || !strings.Contains(o.stderr, "nginx leads users to web") {
			t.Errorf("exit %d, want 2: a roll-over would leave the users of nginx behind:\n%s", o.status, o.stderr)
		}
	})
	unharmed(t, stopHere())
	unharmed(t, stopThere())
	t.Run("OldFile", func(t *testing.T) {
		there.Stop(t)
		there.Write(t, "conf.d/crossfade-web.conf", old)
		there.Run(t)
		o := w.must("restart", "web", environment)
		if !strings.Contains(o.stderr, "some users of web from outside are not led to its green version") {
			t.Errorf("it is not said that a node came back with an old file:\n%s", o.stderr)
		}
		leads(t, "green")
		if code := status(t, there); code != http.StatusOK {
			t.Errorf("the users of that node get status %d", code)
		}
	})
}
