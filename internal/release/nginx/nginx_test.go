package nginx_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host/local"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/nginxctl"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
	"github.com/crossfade-dev/crossfade/internal/release/nginx"
)

func TestLead(t *testing.T) {
	t.Parallel()
	l := newLab(t, 3)
	l.leads(t, "at first", "")
	if err := l.Check(t.Context()); err != nil {
		t.Errorf("a node without the file can be switched: %v", err)
	}
	l.lead(t, colour.Blue)
	l.leads(t, "the first deployment", "blue")
	before := l.files(t)
	calls := l.hosts[0].calls.Load()
	l.lead(t, colour.Blue)
	if diff := cmp.Diff(before, l.files(t)); diff != "" || l.hosts[0].calls.Load()-calls > 2 {
		t.Errorf("a second time, %d things are done, want it only to be looked; changed:\n%s", l.hosts[0].calls.Load()-calls, diff)
	}
	if err := l.Lead(t.Context(), nginx.Toward(colour.Green, colour.Blue, 20)); err != nil {
		t.Fatal(err)
	}
	l.leads(t, "in part", "blue,green")
	l.lead(t, colour.Green)
	l.leads(t, "at last", "green")
	if err := l.Check(t.Context()); err != nil {
		t.Errorf("what is as it should be can be switched: %v", err)
	}
	for _, text := range l.files(t) {
		if !strings.Contains(text, fmt.Sprintf("server 127.0.0.1:%d max_fails=0 down; # blue\n", l.Port)) {
			t.Errorf("the idle colour is not marked down:\n%s", text)
		}
	}
	l.Name = "other"
	l.lead(t, colour.Green)
	for name, text := range l.files(t) {
		if !strings.Contains(text, "upstream other {") {
			t.Errorf("%s is not written when the configuration has changed:\n%s", name, text)
		}
	}
}

func TestShares(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		c, from colour.Colour
		share   int
		want    string
	}{
		"all":   {"all users", colour.Green, colour.Blue, 100, "green"},
		"some":  {"as many as is said", colour.Green, colour.Blue, 5, "95 % blue, 5 % green"},
		"first": {"there is nobody else to lead them to", colour.Blue, colour.None, 5, "blue"},
		"plain": {"the version before has no port", colour.Blue, colour.Plain, 5, "blue"},
		"same":  {"it is the same", colour.Blue, colour.Blue, 5, "blue"},
	} {
		if got := fmt.Sprint(nginx.Toward(tc.c, tc.from, tc.share)); got != tc.want {
			t.Errorf("%s: %s: %s, want %s", name, tc.reason, got, tc.want)
		}
	}
}

// TestWeights leads a part of the users, and counts.
func TestWeights(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	if err := l.Lead(t.Context(), nginx.Toward(colour.Green, colour.Blue, 20)); err != nil {
		t.Fatal(err)
	}
	var green, all atomic.Int64
	count := func(_ int, body []byte) error {
		all.Add(1)
		if string(body) == "green" {
			green.Add(1)
		}
		return nil
	}
	report := run(t, l, 0, load.Options{Rate: 500, Count: 1000, Kinds: []load.Kind{{Path: "/", Check: count}}}, nil)
	if share := float64(green.Load()) / float64(all.Load()); report.Requests.Failed > 0 || share < 0.18 || share > 0.22 {
		t.Errorf("%.3f of the users got green, want 0.2; %d failed", share, report.Requests.Failed)
	}
}

// TestUnderLoad switches 20 times under load. No request fails, and once the users are led to a colour none gets the other one.
func TestUnderLoad(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	l.lead(t, colour.Blue)
	body := func(status int, body []byte) error {
		if status != http.StatusOK || string(body) != "blue" && string(body) != "green" {
			return fmt.Errorf("answered %d %s", status, body)
		}
		return nil
	}
	// Every request has a connection of its own: on one that waits for its next request, nginx 1.22 may close it at the very moment when that
	// is sent, at every reload. Clients send it again (RFC 9112 section 9.3.1), which these do not.
	options := load.Options{Rate: 100, Kinds: []load.Kind{
		{Name: "get", Path: "/", Share: 3, NewConnection: true, Check: body},
		{Name: "post", Path: "/", Method: http.MethodPost, Body: `{"a":1}`, Share: 1, NewConnection: true, Check: body},
	}}
	other := make(chan load.Report, 1)
	g0, g1 := generator(t, l, 0, options), generator(t, l, 1, options)
	go func() { other <- g1.Run(t.Context()) }()
	done := make(chan load.Report, 1)
	go func() { done <- g0.Run(t.Context()) }()
	for i := range 20 {
		c := []colour.Colour{colour.Green, colour.Blue}[i%2]
		l.lead(t, c)
		for n := range l.nginx {
			if got := asks(t, l.nginx[n], "/"); got != string(c) {
				t.Errorf("switch %d has returned, and users of node %d get %s, want %s", i, n, got, c)
			}
		}
	}
	g0.Stop()
	g1.Stop()
	for _, r := range []load.Report{<-done, <-other} {
		t.Logf("%d requests, %d failed", r.Requests.Sent, r.Requests.Failed)
		if r.Requests.Failed > 0 || r.Requests.Sent < 100 {
			t.Errorf("%d of %d requests failed: %v", r.Requests.Failed, r.Requests.Sent, r.Failures)
		}
	}
}

func generator(t *testing.T, l *lab, node int, o load.Options) *load.Generator {
	t.Helper()
	o.Entry = "http://" + l.nginx[node].Address
	g, err := load.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// run puts a load on a node, to its end or until something is done.
func run(t *testing.T, l *lab, node int, o load.Options, meanwhile func()) load.Report {
	t.Helper()
	g := generator(t, l, node, o)
	if meanwhile == nil {
		return g.Run(t.Context())
	}
	done := make(chan load.Report, 1)
	go func() { done <- g.Run(t.Context()) }()
	meanwhile()
	g.Stop()
	return <-done
}

// TestBadNode has one of two nodes fail in all ways. The error says which and why, and all nodes lead as before, by files that are as before.
func TestBadNode(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	l.lead(t, colour.Blue)
	const bad = 0
	n, h := l.nginx[bad], l.hosts[bad]
	own := n.File("conf.d/crossfade-web.conf")
	on := func(what string, times int64) func() {
		var failed atomic.Int64
		return func() {
			h.before = func(_ int64, doing string) error {
				if strings.Contains(doing, what) && failed.Add(1) <= times {
					return fault.New(fault.Unavailable, "cannot %s on n0: it is away", what).WithHint("see whether n0 is up")
				}
				return nil
			}
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	content, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		reason  string
		disturb func()
		mend    func()
		code    fault.Code // "" when it must work
		says    []string
	}{
		{reason: "it is away at first", disturb: on("read", 1000), code: fault.Failed, says: []string{"n0", "it is away"}},
		{reason: "it goes away before it is written", disturb: on("write", 1000), code: fault.Failed, says: []string{"n0", "as before"}},
		{reason: "it goes away before it is tested", disturb: func() {
			wrote := false
			h.before = func(_ int64, doing string) error {
				if wrote = wrote || doing == "write"; wrote && strings.HasSuffix(doing, "-T") {
					return fault.New(fault.Unavailable, "cannot test on n0").WithHint("see whether n0 is up")
				}
				return nil
			}
		}, code: fault.Failed, says: []string{"n0", "as before"}},
		{reason: "it goes away before it is told to reload", disturb: on("-w", 1000), code: fault.Failed, says: []string{"n0", "as before"}},
		{reason: "it is away once at each", disturb: func() {
			seen := map[string]bool{}
			h.before = func(_ int64, doing string) error {
				if len(doing) > 200 {
					doing = "script" // of which the arguments differ
				}
				if !seen[doing] {
					seen[doing] = true
					return fault.New(fault.Unavailable, "cannot do that on n0")
				}
				return nil
			}
		}},
		{
			reason: "its configuration is broken by hand", disturb: func() { n.Write(t, "conf.d/mine.conf", "serve {}\n") }, mend: func() { os.Remove(n.File("conf.d/mine.conf")) },
			code: fault.Failed, says: []string{"nginx on n0", `unknown directive "serve"`, "mine.conf:1"},
		},
		{
			reason: "somebody has an upstream of that name", disturb: func() { os.Remove(own); n.Write(t, "conf.d/mine.conf", "upstream web { server 127.0.0.1:1; }\n") },
			mend: func() {
				os.Remove(n.File("conf.d/mine.conf"))
				n.Write(t, "conf.d/crossfade-web.conf", string(content))
			},
			code: fault.Failed, says: []string{"nginx on n0", `duplicate upstream "web"`, "as before"},
		},
		{
			reason: "a reload cannot have what it wants", disturb: func() { n.Write(t, "conf.d/mine.conf", "server { listen "+taken.Addr().String()+"; }\n") },
			mend: func() { os.Remove(n.File("conf.d/mine.conf")) },
			code: fault.Failed, says: []string{"nginx on n0", "former configuration", "bind()", "as before"},
		},
		{
			reason: "somebody has edited the file", disturb: func() {
				n.Write(t, "conf.d/crossfade-web.conf", strings.Replace(string(content), "max_fails=0", "max_fails=3", 1))
			},
			mend: func() { n.Write(t, "conf.d/crossfade-web.conf", string(content)) }, code: fault.Refused, says: []string{"n0", "somebody has changed it"},
		},
		{
			reason: "its configuration does not include the file", disturb: func() {
				raw, _ := os.ReadFile(n.File("nginx.conf"))
				n.Write(t, "was", string(raw))
				n.Write(t, "nginx.conf", strings.Replace(string(raw), "conf.d/*.conf", "none/*.conf", 1))
			}, mend: func() { raw, _ := os.ReadFile(n.File("was")); n.Write(t, "nginx.conf", string(raw)) },
			code: fault.Failed, says: []string{"nginx on n0 does not read", own},
		},
		{
			reason: "it does not reach the service", disturb: func() { l.Port, l.Bound = l.Port+2, 2*time.Second }, mend: func() { l.Port, l.Bound = l.Port-2, 9*time.Second },
			code: fault.Failed, says: []string{"n0 does not reach the service at 127.0.0.1:", "refused"},
		},
		{reason: "its nginx does not run", disturb: func() { n.Stop(t) }, mend: func() { n.Run(t) }, code: fault.Failed, says: []string{"nginx does not run"}},
	} {
		tc.disturb()
		before := l.files(t)
		err := l.Lead(t.Context(), nginx.Toward(colour.Green, colour.Blue, 100))
		h.before = nil
		if tc.code == "" {
			if err != nil {
				t.Errorf("%s: %v, want it to be tried again", tc.reason, err)
			}
			l.leads(t, tc.reason, "green")
			l.lead(t, colour.Blue)
			content, _ = os.ReadFile(own)
			continue
		}
		refused(t, tc.reason, err, tc.code, append(tc.says, "cannot lead the users of web to green")...)
		if diff := cmp.Diff(before, l.files(t)); diff != "" {
			t.Errorf("%s: the files have changed, -before +after\n%s", tc.reason, diff)
		}
		if tc.mend != nil {
			tc.mend()
		}
		l.leads(t, tc.reason, "blue")
	}
	l.lead(t, colour.Green)
	l.leads(t, "all is mended", "green")
}

// TestCannotUndo has a node go away for good in the middle: the error says that it may lead elsewhere, and the next call mends it.
func TestCannotUndo(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	l.lead(t, colour.Blue)
	wrote := false
	l.hosts[1].before = func(_ int64, doing string) error {
		if wrote {
			return fault.New(fault.Unavailable, "cannot reach n1").WithHint("see whether n1 is up")
		}
		wrote = doing == "write"
		return nil
	}
	err := l.Lead(t.Context(), nginx.Toward(colour.Green, colour.Blue, 100))
	refused(t, "away for good", err, fault.Failed, "cannot reach n1", "not put back: cannot reach n1")
	l.hosts[1].before = nil
	if led, err := l.Led(t.Context()); err != nil || names(led) != "blue,green" {
		t.Errorf("users may be led to %v, want both: the nginx of n1 has not read what its file says: %v", led, err)
	}
	l.lead(t, colour.Blue)
	l.leads(t, "put back later", "blue")
}

// TestStopped is stopped before every call to any node, then completed or led back.
func TestStopped(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	l.nearby(t)
	l.lead(t, colour.Blue)
	live, next := colour.Blue, colour.Green
	for at, ended := int64(1), false; !ended; at++ {
		ctx, cancel := context.WithCancel(t.Context())
		var calls atomic.Int64
		for _, h := range l.hosts {
			h.before = func(int64, string) error {
				if calls.Add(1) >= at {
					cancel()
					return fault.New(fault.Interrupted, "stopped: %w", context.Canceled)
				}
				return nil
			}
		}
		err := l.Lead(ctx, nginx.Toward(next, live, 100))
		ended = err == nil
		cancel()
		for _, h := range l.hosts {
			h.before = nil
		}
		if !ended && fault.CodeOf(err) != fault.Interrupted {
			t.Errorf("stopped before call %d: %v, want code interrupted", at, err)
		}
		led, err := l.Led(t.Context())
		if err != nil || !ended && !slices.Contains(led, live) {
			t.Errorf("stopped before call %d: users may be led to %v, want %s among them: %v", at, led, live, err)
		}
		if at%2 == 0 {
			l.lead(t, live)
			l.leads(t, fmt.Sprintf("led back after call %d", at), string(live))
			continue
		}
		l.lead(t, next)
		l.leads(t, fmt.Sprintf("completed after call %d", at), string(next))
		live, next = next, live
	}
}

// TestRun runs a command on every node.
func TestRun(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	file := filepath.Join(t.TempDir(), "ran")
	if err := l.Run(t.Context(), []string{"sh", "-c", "echo ran >>" + file}); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(file); err != nil || string(raw) != "ran\nran\n" {
		t.Errorf("%q, %v; want it to run once on each", raw, err)
	}
	err := l.Run(t.Context(), []string{"sh", "-c", "echo no space >&2; exit 3"})
	if err == nil || !strings.Contains(err.Error(), "on n0: exit status 3: no space") || !strings.Contains(err.Error(), "on n1") {
		t.Errorf("%v, want what it said on each node", err)
	}
}

// TestTogether counts how many nodes are worked on at a time.
func TestTogether(t *testing.T) {
	u := &nginx.Upstream{Service: "web", Name: "web", Port: 1, Progress: t.Logf}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var lock sync.Mutex
	now, most := 0, 0
	full, once := make(chan struct{}), sync.Once{}
	for i := range 45 {
		h := &disturbed{Host: local.New(fmt.Sprint(i))}
		h.before = func(int64, string) error {
			lock.Lock()
			now++
			if most = max(most, now); now == 20 {
				once.Do(func() { time.AfterFunc(200*time.Millisecond, func() { close(full) }) }) // another one would have come by then
			}
			lock.Unlock()
			select {
			case <-full:
			case <-ctx.Done():
			}
			lock.Lock()
			defer lock.Unlock()
			now--
			return fault.New(fault.Refused, "enough")
		}
		u.Nodes = append(u.Nodes, nginx.Node{Node: nginxctl.Node{Host: h}})
	}
	if err := u.Run(ctx, []string{"true"}); fault.CodeOf(err) != fault.Refused {
		t.Fatal(err)
	}
	if most != 20 {
		t.Errorf("%d nodes at a time, want 20", most)
	}
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to: %s", what)
		}
	}
}
