package edge

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// stateDir returns a directory whose edge is stopped after the test. Its name is short enough for that of a socket.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "crossfade-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Stop(context.Background(), dir); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return dir
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func start(t *testing.T, dir, listen string) Status {
	t.Helper()
	s, err := Start(t.Context(), Options{StateDir: dir, Listen: listen})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// adminCall changes the configuration of an edge as its owner.
func adminCall(t *testing.T, s Status, method, path, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(s.Admin, "unix/"))
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, path, res.Status)
	}
}

func status(t *testing.T, s Status) int { return statusAt(t, s, "/") }

func statusAt(t *testing.T, s Status, path string) int {
	t.Helper()
	res, err := http.Get(s.Entry() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

func TestAnEdgeComesBackWithItsRoutes(t *testing.T) {
	dir := stateDir(t)
	first := start(t, dir, freeAddress(t))
	if got := status(t, first); got != http.StatusNotFound {
		t.Errorf("an edge without routes answers %d, want 404", got)
	}
	if got := statusAt(t, first, HealthPath); got != http.StatusOK {
		t.Errorf("a load balancer that asks for the edge's health is answered %d, want 200", got)
	}
	adminCall(t, first, http.MethodPut, "/config/apps/http/servers/crossfade/routes/0", `{"handle": [{"handler": "static_response", "status_code": 204}]}`)
	saved := filepath.Join(dir, "edge/config/caddy/autosave.json")
	waitFor(t, "the change is saved", func() bool {
		raw, err := os.ReadFile(saved)
		return err == nil && strings.Contains(string(raw), "204")
	})
	if first.PID <= 1 { // which kill(2) would take for more than one process
		t.Fatalf("the edge has the pid %d", first.PID)
	}
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it is gone", func() bool { s, err := Find(dir); return err == nil && !s.Running })

	second := start(t, dir, "")
	if second.PID == first.PID || second.Listen != first.Listen || status(t, second) != http.StatusNoContent {
		t.Errorf("after SIGKILL: %+v with status %d, want %+v with its route", second, status(t, second), first)
	}
	if err := Stop(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	third := start(t, dir, freeAddress(t))
	if third.Listen == first.Listen || status(t, third) != http.StatusNoContent {
		t.Errorf("on another address: %+v with status %d, want its route there", third, status(t, third))
	}
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestOneEdgeForAnyNumberOfStarts(t *testing.T) {
	dir, listen := stateDir(t), freeAddress(t)
	var all sync.WaitGroup
	pids := make([]int, 5)
	for i := range pids {
		all.Go(func() {
			s, err := Start(t.Context(), Options{StateDir: dir, Listen: listen})
			if err != nil {
				t.Error(err)
			}
			pids[i] = s.PID
		})
	}
	all.Wait()
	for _, pid := range pids {
		if pid == 0 || pid != pids[0] {
			t.Fatalf("the edges are %v, want one", pids)
		}
	}
	found, err := Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Status{Running: true, PID: pids[0], Listen: listen, Admin: "unix/" + dir + "/edge/admin.sock", Log: dir + "/edge/edge.log"}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if _, err := Start(t.Context(), Options{StateDir: dir, Listen: freeAddress(t)}); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("a second address: %v, want an error of code invalid", err)
	}
}

func TestNobodyElseReachesTheAdminEndpoint(t *testing.T) {
	dir := stateDir(t)
	s := start(t, dir, freeAddress(t))
	for file, want := range map[string]os.FileMode{"": 0o700, "admin.sock": 0o600, "start.json": 0o600, "edge.log": 0o600, "config": 0o700} {
		info, err := os.Stat(filepath.Join(dir, "edge", file))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("edge/%s has the mode %o, want %o", file, got, want)
		}
	}
	// Caddy's usual admin address must stay closed.
	raw, err := os.ReadFile(s.Log)
	if err != nil || strings.Contains(string(raw), "localhost:2019") {
		t.Errorf("the edge listens on Caddy's default admin address (%v)", err)
	}
}

func TestStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	torn := stateDir(t)
	save(t, torn, `{"apps":{"ht`)
	alien := stateDir(t)
	save(t, alien, `{"apps":{}}`)
	for name, c := range map[string]struct {
		options Options
		code    fault.Code
		message string
	}{
		"port in use":    {Options{stateDir(t), taken.Addr().String()}, fault.Invalid, "in use by another program"},
		"no address":     {Options{stateDir(t), "nonsense"}, fault.Invalid, "cannot start the edge on nonsense"},
		"not ours":       {Options{stateDir(t), "192.0.2.1:80"}, fault.Invalid, "cannot assign requested address"},
		"long name":      {Options{filepath.Join(os.TempDir(), strings.Repeat("x", 100)), ""}, fault.Invalid, "longer than 107 bytes"},
		"torn file":      {Options{torn, freeAddress(t)}, fault.Failed, "cannot read the saved configuration"},
		"not our config": {Options{alien, freeAddress(t)}, fault.Failed, "has no server"},
		"no directory":   {Options{"/dev/null", ""}, fault.Failed, "cannot make the directory"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Start(t.Context(), c.options)
			if fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.message) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v of code %q, want %q of code %q", err, fault.CodeOf(err), c.message, c.code)
			}
		})
	}
}

func save(t *testing.T, dir, config string) {
	t.Helper()
	file := directory(dir).saved()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAProgramThatEndsAtOnce(t *testing.T) {
	dir := stateDir(t)
	save(t, dir, `{"apps":{"http":{"servers":{"crossfade":{"nonsense":1}}}}}`)
	_, err := Start(t.Context(), Options{StateDir: dir, Listen: freeAddress(t)})
	if fault.CodeOf(err) != fault.Failed || !strings.Contains(err.Error(), "nonsense") || fault.HintOf(err) == "" {
		t.Errorf("%v; want what the program said, with a hint", err)
	}
}

func TestWithoutAnEdge(t *testing.T) {
	dir := t.TempDir()
	if s, err := Find(dir); err != nil || s.Running || s.Listen != DefaultListen {
		t.Errorf("found %+v, %v; want none, for %s", s, err, DefaultListen)
	}
	if err := Stop(t.Context(), dir); err != nil {
		t.Error(err)
	}
}

func TestEntry(t *testing.T) {
	for listen, want := range map[string]string{
		":80": "http://127.0.0.1:80", "0.0.0.0:80": "http://127.0.0.1:80", "[::]:80": "http://127.0.0.1:80", "10.0.0.1:80": "http://10.0.0.1:80",
	} {
		if got := (Status{Listen: listen}).Entry(); got != want {
			t.Errorf("entry of %s is %s, want %s", listen, got, want)
		}
	}
}
