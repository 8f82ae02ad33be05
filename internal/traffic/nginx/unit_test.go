package nginx

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/nginxctl"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// three is a route of three sides, one of them without users.
func three() traffic.Route {
	return traffic.Route{
		Host: "shop.example.com", PreLiveHost: "next.shop.example.com", PreLive: "g3", Drain: time.Minute, Health: traffic.Health{Path: "/a b", Interval: time.Second},
		Sides: []traffic.Side{
			{Generation: "g1", Endpoints: []string{"10.0.0.1:80", "[fd00::1]:80"}, Weight: 75},
			{Generation: "g2", Endpoints: []string{"10.0.0.2:80"}, Weight: 25},
			{Generation: "g3", Endpoints: []string{"10.0.0.3:80"}},
		},
	}
}

func TestFile(t *testing.T) {
	p, want := place{"/etc/nginx/conf.d", "shop.example.com"}, file{route: plain(three()), boot: "b1", tick: 4711}
	content := p.render(want, []string{"80", "443 ssl http2"})
	got, err := p.parse(content)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(file{})); err != nil || diff != "" {
		t.Errorf("%v, -written +read\n%s", err, diff)
	}
	for i := 0; i < len(content); i += 13 {
		changed := slices.Clone(content)
		changed[i] ^= 1
		for what, text := range map[string][]byte{"changed": changed, "cut off": content[:i], "longer": slices.Insert(slices.Clone(content), i, 'x')} {
			if _, err := p.parse(text); fault.CodeOf(err) != fault.Refused {
				t.Errorf("%s at %d: %v; want it to be refused", what, i, err)
			}
		}
	}
	if n := strings.Count(string(content), "\nupstream "); n != 12 {
		t.Errorf("%d upstreams, want one for each of three sides and each set of the two others", n)
	}
	for _, line := range []string{
		"    server 10.0.0.1:80 max_fails=3 fail_timeout=2s;\n    server [fd00::1]:80 max_fails=3 fail_timeout=2s;\n    server 10.0.0.2:80 max_fails=0 backup weight=10;\n",
		"    server 10.0.0.2:80 max_fails=3 fail_timeout=2s;\n    server 10.0.0.1:80 max_fails=0 backup weight=5;\n    server [fd00::1]:80 max_fails=0 backup weight=5;\n    server 10.0.0.3:80 max_fails=0 backup weight=10;\n",
		"    listen 443 ssl http2;\n", "    include /etc/nginx/conf.d/crossfade-host-shop.example.com.d/*.conf;\n",
	} {
		if !strings.Contains(string(content), line) {
			t.Errorf("lacks:\n%s\nin\n%s", line, content)
		}
	}
}

func TestShares(t *testing.T) {
	alone, empty, gone := three(), three(), three()
	alone.PreLive, alone.Sides[0].Weight, alone.Sides[1].Weight = "", 100, 0
	empty.Sides[0].Weight, empty.Sides[1].Weight = 0, 0
	gone.Sides[2].Endpoints = nil
	for name, tc := range map[string]struct {
		route traffic.Route
		want  string
	}{
		"shares":      {three(), "0-74=g1+g2 75-99=g2+g1 next=g3"},
		"one side":    {alone, "0-99=g1 next=none"},
		"no users":    {empty, "0-99=none next=g3"},
		"no endpoint": {gone, "0-74=g1+g2 75-99=g2+g1 next=none+g3"},
	} {
		all := targets(tc.route)
		if got := strings.Join(all, " "); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
		s := shares{name: nameOf(all), lots: expand(all)}
		got, err := s.onto(plain(tc.route))
		if diff := cmp.Diff(tc.route, got); err != nil || diff != "" {
			t.Errorf("%s: %v, -written +read\n%s", name, err, diff)
		}
		s.lots["07"] = "g2"
		if _, err := s.onto(plain(tc.route)); fault.CodeOf(err) != fault.Refused {
			t.Errorf("%s: a link that somebody has changed: %v", name, err)
		}
	}
	s := parseShares("name shares-1\nlot shares-1/00 ../sides/g1+g2/00\nlot shares-1/next ../sides/g3/next\n")
	if diff := cmp.Diff(map[string]string{"00": "g1+g2", "next": "g3"}, s.lots); s.name != "shares-1" || diff != "" {
		t.Errorf("%s, -want +got\n%s", s.name, diff)
	}
}

// TestMean rounds such that whoever has users is seen to have some.
func TestMean(t *testing.T) {
	at := func(g1, g2 int) sight {
		r := three()
		r.Sides[0].Weight, r.Sides[1].Weight = g1, g2
		return sight{route: r}
	}
	for name, tc := range map[string]struct {
		seen   []sight
		g1, g2 int
	}{
		"same":         {[]sight{at(75, 25), at(75, 25)}, 75, 25},
		"different":    {[]sight{at(100, 0), at(0, 100)}, 50, 50},
		"a little":     {[]sight{at(100, 0), at(100, 0), at(99, 1)}, 99, 1},
		"not there":    {[]sight{at(80, 20), {}}, 80, 20},
		"no live side": {[]sight{at(0, 0), at(0, 0)}, 0, 0},
	} {
		got := mean(tc.seen)
		if got.Sides[0].Weight != tc.g1 || got.Sides[1].Weight != tc.g2 {
			t.Errorf("%s: %d and %d, want %d and %d", name, got.Sides[0].Weight, got.Sides[1].Weight, tc.g1, tc.g2)
		}
	}
	if got := mean([]sight{{}}); got != nil {
		t.Errorf("no node has it: %+v", got)
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "worker_shutdown_timeout 90;": 90 * time.Second, "  worker_shutdown_timeout  1h30m ;": 90 * time.Minute, "# worker_shutdown_timeout 1m;": 0, "worker_shutdown_timeout 500ms;": 500 * time.Millisecond,
	} {
		if got := shutdownTimeout([]byte("user x;\n" + text + "\n")); got != want {
			t.Errorf("%q: connections are cut after %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]time.Duration{
		"": usualKeepalive, "keepalive_timeout 65;": 65 * time.Second, "keepalive_timeout 5s 5s;\nkeepalive_timeout 0;": 5 * time.Second, "keepalive_timeout 1h;": maxKeepalive,
	} {
		if got := keepalive([]byte("http {\n" + text + "\n}")); got != want {
			t.Errorf("%q: connections are kept %v, want %v", text, got, want)
		}
	}
}

func TestKernel(t *testing.T) {
	for endpoint, want := range map[string]string{
		"127.0.0.1:8080": "0100007F:1F90", "[::1]:80": "00000000000000000000000001000000:0050", "[2001:db8::1]:443": "B80D0120000000000000000001000000:01BB", "name:80": "",
	} {
		if got := kernelAddress(endpoint); got != want {
			t.Errorf("%s is %s, want %s", endpoint, got, want)
		}
	}
	if diff := cmp.Diff(map[string]int64{"0100007F:1F90": 3}, parseConnections("0100007F:1F90 3\nsomething else\n")); diff != "" {
		t.Error(diff)
	}
	r := Router{options: Options{Listen: []string{"80", "443 ssl http2", "127.0.0.1:8080", "[::]:8443 ssl", "10.0.0.1", "unix:/run/x.sock"}}}
	if got := r.ports(); got != "0050 01BB 1F90 20FB 0050" {
		t.Errorf("ports %s", got)
	}
}

// TestOptions: what is wrong is told when the router is made.
func TestOptions(t *testing.T) {
	good := Options{Nodes: []nginxctl.Node{{}}, Entry: "https://10.0.0.5/", Listen: []string{"80", "443 ssl http2"}}
	r, err := New(good)
	if err != nil || r.Entry() != "https://10.0.0.5" {
		t.Errorf("%v, %v", r, err)
	}
	for name, change := range map[string]func(*Options){
		"no entry": func(o *Options) { o.Entry = "10.0.0.5" }, "no nodes": func(o *Options) { o.Nodes = nil }, "nowhere": func(o *Options) { o.Listen = nil },
		"more than that": func(o *Options) { o.Listen = []string{"80; include /etc/shadow"} },
	} {
		o := good
		change(&o)
		if _, err := New(o); fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, want an error of code invalid with a hint", name, err)
		}
	}
	for name, change := range map[string]func(*traffic.Route){
		"a host": func(r *traffic.Route) { r.Host = "shop;" }, "a name": func(r *traffic.Route) { r.Sides[0].Generation = "none" },
		"an endpoint": func(r *traffic.Route) { r.Sides[0].Endpoints = []string{"lb.example.com:80"} },
	} {
		route := three()
		change(&route)
		if err := r.Apply(t.Context(), route); fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, want an error of code invalid with a hint", name, err)
		}
	}
}
