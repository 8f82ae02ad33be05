package test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

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
	if left := h.Ask(t, "show servers state"); strings.Contains(left, first+":") {
		t.Errorf("the old generation is still behind HAProxy:\n%s", left)
	}
}
