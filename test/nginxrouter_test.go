package test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/nginxctl/nginxtest"
)

// TestNginxRouter rolls a whole cluster over behind an nginx, under load, and is killed again and again on the way. No request fails.
func TestNginxRouter(t *testing.T) {
	n := nginxtest.StartWith(t, "worker_shutdown_timeout 5m;\n", "  keepalive_timeout 3s;\n  server { listen ADDRESS default_server; return 404; }\n")
	w := newWorld(t, retireAtOnce)
	w.replace("platform.yaml", fmt.Sprintf(`caddy: {listen: %q}`, w.listen), fmt.Sprintf(
		`nginx: {nodes: [{name: n1, command: [nginx, -c, %s, -e, %s], pidFile: %s, dir: %s}], entry: "http://%s", listen: [%q]}`,
		n.File("nginx.conf"), n.File("error.log"), n.File("nginx.pid"), n.File("conf.d"), n.Address, n.Address))
	w.listen = n.Address
	w.must("rollover", environment)
	first := w.live()
	_, stop := w.users(50)
	for kills := 0; ; kills++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(5+3*kills)*time.Second)
		out, err := w.command(ctx, "rollover", environment).CombinedOutput()
		killed := ctx.Err() != nil
		cancel()
		if !killed && (err != nil || kills == 0) {
			t.Fatalf("after %d kills: %v\n%s", kills, err, out)
		}
		if !killed {
			t.Logf("killed %d times", kills)
			break
		}
	}
	report := stop()
	unharmed(t, report)
	second := w.live()
	if first == "" || second == "" || first == second {
		t.Errorf("%q was live, then %q", first, second)
	}
	if by := report.Requests.ByGeneration; len(by) != 2 { // by their nodes
		t.Errorf("answered by %v, want both generations", by)
	}
	files, err := os.ReadDir(n.File("conf.d"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, _ := os.ReadFile(n.File("conf.d/" + f.Name())) // a directory has none
		if strings.Contains(string(raw), first) {
			t.Errorf("the old generation is still behind nginx:\n%s", raw)
		}
	}
}
