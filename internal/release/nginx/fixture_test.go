package nginx_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
	"github.com/crossfade-dev/crossfade/internal/host/local"
	"github.com/crossfade-dev/crossfade/internal/host/ssh"
	"github.com/crossfade-dev/crossfade/internal/host/sshdtest"
	"github.com/crossfade-dev/crossfade/internal/nginxctl/nginxtest"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
	"github.com/crossfade-dev/crossfade/internal/release/nginx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a service whose colours answer with their names, behind several nginx: the last one is reached over SSH.
type lab struct {
	*nginx.Upstream
	nginx []*nginxtest.Nginx
	hosts []*disturbed // of the nodes
	sshd  *sshdtest.Server
}

func newLab(t *testing.T, nodes int) *lab {
	t.Helper()
	l := &lab{sshd: sshdtest.Start(t)}
	l.Upstream = &nginx.Upstream{Service: "web", Name: "web", Port: backends(t), Progress: t.Logf, Bound: 9 * time.Second, Pause: 20 * time.Millisecond}
	for i := range nodes {
		var h host.Host = local.New(fmt.Sprintf("n%d", i))
		if i == nodes-1 {
			h = ssh.New(ssh.Options{Name: fmt.Sprintf("n%d", i), Address: l.sshd.Address, User: l.sshd.User, KeyFile: l.sshd.KeyFile, KnownHosts: l.sshd.KnownHosts})
			t.Cleanup(func() { h.Close() })
		}
		n := nginxtest.Start(t, "web")
		d := &disturbed{Host: h}
		l.nginx, l.hosts = append(l.nginx, n), append(l.hosts, d)
		l.Nodes = append(l.Nodes, nginx.Node{Node: n.Node(d), Backends: []string{"127.0.0.1"}})
	}
	return l
}

// nearby reaches the last node without SSH, too, which takes less time.
func (l *lab) nearby(t *testing.T) {
	t.Helper()
	last := l.hosts[len(l.hosts)-1]
	last.Host = local.New(last.Name())
}

// backends answers on two ports, and returns the first.
func backends(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20000 + 10*rand.IntN(1000)
		blue, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		green, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		if err != nil {
			blue.Close()
			continue
		}
		for name, l := range map[string]net.Listener{"blue": blue, "green": green} {
			s := &http.Server{Handler: answer(name), ReadHeaderTimeout: time.Minute}
			go func() { _ = s.Serve(l) }() // until it is closed
			t.Cleanup(func() { s.Close() })
		}
		return port
	}
	t.Fatal("no two ports are free")
	return 0
}

// answer answers with a name; with two halves and a wait for ?until=FILE in between.
func answer(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, name)
		file := r.URL.Query().Get("until")
		for tick := time.NewTicker(10 * time.Millisecond); file != ""; {
			_ = http.NewResponseController(w).Flush() // it has one
			if _, err := os.Stat(file); err == nil {
				break
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
}

// disturbed is a host whose calls can be disturbed.
type disturbed struct {
	host.Host
	calls  atomic.Int64
	before func(n int64, what string) error // called with the number of the call, from 1, and what it does; nil for nothing
}

func (d *disturbed) call(what string) error {
	n := d.calls.Add(1)
	if d.before == nil {
		return nil
	}
	return d.before(n, what)
}

func (d *disturbed) Run(ctx context.Context, program string, args ...string) (host.Result, error) {
	if err := d.call(program + " " + strings.Join(args, " ")); err != nil {
		return host.Result{}, err
	}
	return d.Host.Run(ctx, program, args...)
}

func (d *disturbed) Read(ctx context.Context, path string) ([]byte, error) {
	if err := d.call("read"); err != nil {
		return nil, err
	}
	return d.Host.Read(ctx, path)
}

func (d *disturbed) Write(ctx context.Context, path string, content []byte) error {
	if err := d.call("write"); err != nil {
		return err
	}
	return d.Host.Write(ctx, path, content)
}

// asks is the colour that an nginx answers with, several times, by connections of their own.
func asks(t *testing.T, n *nginxtest.Nginx, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	var seen []string
	for range 6 {
		r, err := client.Get("http://" + n.Address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != http.StatusOK {
			body = []byte(r.Status)
		}
		seen = append(seen, string(body))
	}
	slices.Sort(seen)
	return strings.Join(slices.Compact(seen), ",")
}

// leads wants every node to lead to a colour, by its file and in fact; "" for nowhere.
func (l *lab) leads(t *testing.T, reason, want string) {
	t.Helper()
	led, err := l.Led(t.Context())
	if err != nil || names(led) != want {
		t.Errorf("%s: users are led to %v, want %s: %v", reason, led, want, err)
	}
	for i, n := range l.nginx {
		if got := asks(t, n, "/"); got != want && want != "" {
			t.Errorf("%s: node %d answers %s, want %s", reason, i, got, want)
		}
	}
}

func names(led []colour.Colour) string {
	var text []string
	for _, c := range led {
		text = append(text, string(c))
	}
	return strings.Join(text, ",")
}

// lead leads all users to a colour.
func (l *lab) lead(t *testing.T, c colour.Colour) {
	t.Helper()
	if err := l.Lead(t.Context(), nginx.Toward(c, colour.None, 100)); err != nil {
		t.Fatal(err)
	}
}

// files are the files of all nodes that crossfade has written.
func (l *lab) files(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, n := range l.nginx {
		entries, err := os.ReadDir(n.File("conf.d"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.Contains(e.Name(), "crossfade") {
				continue
			}
			raw, err := os.ReadFile(filepath.Join(n.File("conf.d"), e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			files[n.File(e.Name())] = string(raw)
		}
	}
	return files
}

// refused wants an error of a code that says something in one line, and a way out.
func refused(t *testing.T, reason string, err error, code fault.Code, says ...string) {
	t.Helper()
	if fault.CodeOf(err) != code || fault.HintOf(err) == "" || strings.Contains(fmt.Sprint(err), "\n") {
		t.Errorf("%s: got %v (%s, hint %q), want one line of code %s, with a hint", reason, err, fault.CodeOf(err), fault.HintOf(err), code)
	}
	for _, part := range says {
		if !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("%s: got %v, want it to say %q", reason, err, part)
		}
	}
}
