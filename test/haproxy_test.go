package test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/crossfade-dev/crossfade/internal/traffic/haproxy/haproxytest"
)

// TestHAProxy rolls a whole cluster over behind an HAProxy that was reloaded before, under load, and is killed again and again on the way. No
// request fails.
func TestHAProxy(t *testing.T) {
	h := haproxytest.Start(t, "")
	w := newWorld(t, retireAtOnce)
	w.replace("platform.yaml", fmt.Sprintf(`caddy: {listen: %q}`, w.listen), fmt.Sprintf(`haproxy: {socket: %s, entry: "http://%s"}`, h.Socket(), h.Address))
	w.listen = h.Address
	w.must("rollover", environment)
	first := w.live()
	_, stop := w.users(50)
	if out, err := exec.Command("sh", h.File("crossfade-save")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.Reload(t)
	w.moved(t, first, stop)
	if left := h.Ask(t, "show servers state"); strings.Contains(left, first+":") {
		t.Errorf("the old generation is still behind HAProxy:\n%s", left)
	}
}
