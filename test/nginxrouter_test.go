package test

import (
	"fmt"
	"os"
	"strings"
	"testing"

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
	w.moved(t, first, stop)
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
