package nginx_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host"
	"github.com/crossfade-dev/crossfade/internal/host/local"
	"github.com/crossfade-dev/crossfade/internal/host/ssh"
	"github.com/crossfade-dev/crossfade/internal/host/sshdtest"
	"github.com/crossfade-dev/crossfade/internal/nginxctl/nginxtest"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/nginx"
)

const name = "shop.example.com"

// lab is two nodes, of which the second is reached over SSH.
type lab struct {
	*nginx.Router
	nginx []*nginxtest.Nginx
	hosts []*disturbed
	g1    string
	g2    string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	s := sshdtest.Start(t)
	far := ssh.New(ssh.Options{Name: "n2", Address: s.Address, User: s.User, KeyFile: s.KeyFile, KnownHosts: s.KnownHosts})
	l := &lab{nginx: []*nginxtest.Nginx{start(t), start(t)}, g1: generation(t, "g1"), g2: generation(t, "g2")}
	l.hosts = []*disturbed{{Host: local.New("n1")}, {Host: far}}
	l.hosts[1].there = strings.NewReplacer(l.nginx[0].Address, l.nginx[1].Address, second(l.nginx[0]), second(l.nginx[1]))
	l.hosts[1].here = strings.NewReplacer(l.nginx[1].Address, l.nginx[0].Address, second(l.nginx[1]), second(l.nginx[0]))
	o := options(l.nginx[0], l.nginx[0].Node(l.hosts[0]), l.nginx[1].Node(l.hosts[1]))
	var err error
	if l.Router, err = nginx.New(o); err != nil {
		t.Fatal(err)
	}
	l.Tell(t.Logf)
	return l
}

// generation is a backend that says who it is, and what it was asked.
func generation(t *testing.T, generation string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Generation", generation)
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, r.Host, body)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// route has so many percent of the users on g2.
func (l *lab) route(weight int) traffic.Route {
	return traffic.Route{Host: name, Drain: time.Second, Sides: []traffic.Side{
		{Generation: "g1", Endpoints: []string{l.g1}, Weight: 100 - weight}, {Generation: "g2", Endpoints: []string{l.g2}, Weight: weight},
	}}
}

func must(t *testing.T, r *nginx.Router, route traffic.Route) {
	t.Helper()
	if err := r.Apply(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	seen, err := r.Observe(t.Context(), route.Host)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(route, seen.Route); diff != "" {
		t.Fatalf("-applied +observed\n%s", diff)
	}
}

// weight is the share of g2 as it is observed.
func (l *lab) weight(t *testing.T) int {
	t.Helper()
	seen, err := l.Observe(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return seen.Route.Sides[1].Weight
}

// asks is who answers at a node, or the status.
func asks(t *testing.T, n *nginxtest.Nginx) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.Address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = name
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return res.Status
	}
	return res.Header.Get("X-Generation")
}

// disturbed is a host whose calls can fail. The files there have addresses of its own: all of these machines are one.
type disturbed struct {
	host.Host
	there, here *strings.Replacer
	before      atomic.Pointer[func(what string) error]
}

// fail has the next three calls of a kind fail, which is as often as one is tried.
func (d *disturbed) fail(what string) {
	var failed atomic.Int64
	f := func(doing string) error {
		if strings.Contains(doing, what) && failed.Add(1) <= 3 {
			return fault.New(fault.Unavailable, "cannot reach n2: it is away").WithHint("see whether n2 is up")
		}
		return nil
	}
	d.before.Store(&f)
}

func (d *disturbed) call(what string) error {
	if f := d.before.Load(); f != nil {
		return (*f)(what)
	}
	return nil
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
	content, err := d.Host.Read(ctx, path)
	if d.here != nil && err == nil {
		content = []byte(d.here.Replace(string(content)))
	}
	return content, err
}

func (d *disturbed) Write(ctx context.Context, path string, content []byte) error {
	if err := d.call("write"); err != nil {
		return err
	}
	if d.there != nil {
		content = []byte(d.there.Replace(string(content)))
	}
	return d.Host.Write(ctx, path, content)
}

// TestBadNode has the second of two nodes fail in all ways. The error says which and why, and both lead as before.
func TestBadNode(t *testing.T) {
	l := newLab(t)
	must(t, l.Router, l.route(0))
	n, h := l.nginx[1], l.hosts[1]
	own := "conf.d/crossfade-host-" + name + ".conf"
	content, err := os.ReadFile(n.File(own))
	if err != nil {
		t.Fatal(err)
	}
	main, err := os.ReadFile(n.File("nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	more := l.route(100) // needs another file, too
	more.PreLiveHost, more.PreLive = "next."+name, "g2"
	for _, tc := range []struct {
		reason  string
		disturb func()
		mend    func()
		want    traffic.Route
		code    fault.Code
		says    []string
	}{
		{"it is away at first", func() { h.fail("read") }, func() {}, l.route(100), fault.Unavailable, []string{"n2: it is away"}},
		{"it goes away before its shares change", func() { h.fail("for old in shares-*") }, func() {}, l.route(100), fault.Unavailable, []string{"n2: it is away", "every node leads as before"}},
		{"it goes away before its file is written", func() { h.fail("write") }, func() {}, more, fault.Unavailable, []string{"n2: it is away", "every node leads as before"}},
		{"it goes away before it is told to reload", func() { h.fail("CROSSFADE_PORTS") }, func() {}, more, fault.Unavailable, []string{"n2: it is away"}},
		{
			"somebody has edited the file", func() { n.Write(t, own, strings.Replace(string(content), "max_fails=3", "max_fails=4", 1)) }, func() { n.Write(t, own, string(content)) },
			l.route(100), fault.Refused,
			[]string{own, "on n2", "somebody has changed it"},
		},
		{
			"somebody has edited a link", func() { swap(t, n.File("conf.d/crossfade-host-"+name+".d/live/07"), "../sides/g2/07") },
			func() { swap(t, n.File("conf.d/crossfade-host-"+name+".d/live/07"), "../sides/g1/07") }, l.route(100), fault.Refused,
			[]string{"live on n2", "somebody has changed"},
		},
		{
			"its configuration is broken by hand", func() { n.Write(t, "conf.d/mine.conf", "serve {}\n") }, func() { os.Remove(n.File("conf.d/mine.conf")) },
			more, fault.Failed,
			[]string{"nginx on n2", `unknown directive "serve"`, "mine.conf:1"},
		},
		{
			"nginx says no", func() {
				n.Write(t, "conf.d/mine.conf", "server { listen 127.0.0.1:1 so_keepalive=x; }\n")
			},
			func() { os.Remove(n.File("conf.d/mine.conf")) }, more, fault.Failed,
			[]string{"nginx on n2"},
		},
		{
			"it does not include the file", func() { n.Write(t, "nginx.conf", strings.Replace(string(main), "conf.d/*.conf", "none/*.conf", 1)) },
			func() { n.Write(t, "nginx.conf", string(main)) }, more, fault.Failed,
			[]string{"nginx on n2 does not read", own, "as before"},
		},
		{
			"it cuts connections too soon", func() {
				n.Write(t, "nginx.conf", strings.Replace(string(main), "worker_shutdown_timeout 2m", "worker_shutdown_timeout 500ms", 1))
			},
			func() { n.Write(t, "nginx.conf", string(main)) }, more, fault.Invalid,
			[]string{"nginx on n2 cuts connections 500ms after a reload"},
		},
		{"its nginx does not run", func() { n.Stop(t) }, func() { n.Run(t) }, more, fault.Unavailable, []string{"nginx does not run on n2"}},
	} {
		tc.disturb()
		err := l.Apply(t.Context(), tc.want)
		h.before.Store(nil)
		if fault.CodeOf(err) != tc.code || fault.HintOf(err) == "" || strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("%s: %v (%s, hint %q), want one line of code %s", tc.reason, err, fault.CodeOf(err), fault.HintOf(err), tc.code)
		}
		for _, part := range tc.says {
			if !strings.Contains(fmt.Sprint(err), part) {
				t.Errorf("%s: %v, want it to say %q", tc.reason, err, part)
			}
		}
		tc.mend()
		for i := range l.nginx {
			if got := asks(t, l.nginx[i]); got != "g1" {
				t.Errorf("%s: node %d answers %s, want g1 as before", tc.reason, i+1, got)
			}
		}
		if w := l.weight(t); w != 0 {
			t.Errorf("%s: g2 has %d %%, want none as before", tc.reason, w)
		}
		must(t, l.Router, l.route(0))
	}
	must(t, l.Router, more)
}

// TestNotPutBack has the second of two nodes go away for good in the middle of a change. The first one is put back, and its nginx with it; where that
// is stopped, too, the next change sees to it.
func TestNotPutBack(t *testing.T) {
	l := newLab(t)
	must(t, l.Router, l.route(0))
	more := l.route(100)
	more.PreLiveHost, more.PreLive = "next."+name, "g2"
	for _, tc := range []struct {
		reason string
		kept   string // a call that the first node does not live to see
	}{
		{"the second node is away", ""},
		{"so is the first, once it has its file", "CROSSFADE_PORTS"},
	} {
		away := fault.New(fault.Unavailable, "it is away")
		back := func(doing string) error {
			if tc.kept != "" && strings.Contains(doing, tc.kept) {
				return away
			}
			return nil
		}
		gone := func(doing string) error {
			if strings.Contains(doing, "for old in shares-*") {
				l.hosts[0].before.Store(&back)
				return away
			}
			return nil
		}
		l.hosts[1].before.Store(&gone)
		err := l.Apply(t.Context(), more)
		for _, h := range l.hosts {
			h.before.Store(nil)
		}
		if fault.CodeOf(err) != fault.Unavailable || !strings.Contains(fmt.Sprint(err), "not put back: it is away") {
			t.Errorf("%s: %v, want to be told of what is not put back", tc.reason, err)
		}
		if tc.kept == "" {
			l.reads(t, tc.reason, 0)
		}
		must(t, l.Router, l.route(0))
		for i := range l.nginx {
			l.reads(t, tc.reason+", and a change later", i)
		}
	}
}

// reads wants the nginx of a node to have read the file that is there: it alone has the name that its nginx is asked for.
func (l *lab) reads(t *testing.T, reason string, node int) {
	t.Helper()
	n := l.nginx[node]
	content, err := os.ReadFile(n.File("conf.d/crossfade-host-" + name + ".conf"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.Address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = regexp.MustCompile(`[0-9a-f]{16}[.]crossfade[.]invalid`).FindString(string(content))
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("%s: the nginx of node %d goes on with another file than the one that is there: %s", reason, node+1, res.Status)
	}
}

// swap gives a link another target.
func swap(t *testing.T, link, target string) {
	t.Helper()
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
}

// TestNodesDiffer has nodes at different shares, one that was made anew, and an entry that leads elsewhere.
func TestNodesDiffer(t *testing.T) {
	l := newLab(t)
	must(t, l.Router, l.route(10))
	one := options(l.nginx[0], l.nginx[1].Node(l.hosts[1]))
	one.Entry = "http://" + l.nginx[1].Address
	r, err := nginx.New(one)
	if err != nil {
		t.Fatal(err)
	}
	must(t, r, l.route(25))
	if w := l.weight(t); w != 18 && w != 17 {
		t.Errorf("g2 has %d %%, want the mean of 10 and 25", w)
	}
	must(t, l.Router, l.route(25))
	n := l.nginx[1]
	n.Stop(t)
	if err := os.RemoveAll(n.File("conf.d")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(n.File("conf.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	n.Run(t)
	if w := l.weight(t); w != 25 {
		t.Errorf("g2 has %d %%, want what the other node has", w)
	}
	must(t, l.Router, l.route(100))
	if got := asks(t, n); got != "g2" {
		t.Errorf("the node that was made anew answers %s", got)
	}
	one.Entry = "http://" + l.g1
	if r, err = nginx.New(one); err != nil {
		t.Fatal(err)
	}
	err = r.Apply(t.Context(), l.route(100))
	if fault.CodeOf(err) != fault.Failed || !strings.Contains(fmt.Sprint(err), "leads to something else") {
		t.Errorf("%v, want an entry that is not of these nginx to be told", err)
	}
}

// TestDisturbed has somebody else change the shares of a node, or make the route there, just before we do. Theirs stay; the other node is put back.
func TestDisturbed(t *testing.T) {
	l := newLab(t)
	h := l.hosts[1]
	theirs := options(l.nginx[0], l.nginx[1].Node(&disturbed{Host: local.New("n2"), there: h.there, here: h.here}))
	theirs.Entry = "http://" + l.nginx[1].Address
	other, err := nginx.New(theirs)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		reason string
		before func() error
		want   string // of the first node
	}{
		{"the shares", func() error { return l.Apply(t.Context(), l.route(0)) }, "g1"},
		{"the route", func() error { return l.Remove(t.Context(), name) }, "404 Not Found"},
	} {
		if err := tc.before(); err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		f := func(doing string) error {
			if strings.Contains(doing, "for old in shares-*") {
				once.Do(func() {
					if err := other.Apply(t.Context(), l.route(30)); err != nil {
						t.Error(err)
					}
				})
			}
			return nil
		}
		h.before.Store(&f)
		err := l.Apply(t.Context(), l.route(100))
		h.before.Store(nil)
		if fault.CodeOf(err) != fault.Unavailable || !strings.Contains(fmt.Sprint(err), "somebody else has changed") {
			t.Errorf("%s: %v, want to be told of the other one", tc.reason, err)
		}
		if seen, err := other.Observe(t.Context(), name); err != nil || seen == nil || seen.Route.Sides[1].Weight != 30 {
			t.Errorf("%s: the node has %+v %v, want what the other one gave it", tc.reason, seen, err)
		}
		if got := asks(t, l.nginx[0]); got != tc.want {
			t.Errorf("%s: the first node answers %s, want %s as before", tc.reason, got, tc.want)
		}
	}
	must(t, l.Router, l.route(100))
}
