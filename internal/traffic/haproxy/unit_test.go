package haproxy

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

func shop(weight int) traffic.Route {
	return traffic.Route{
		Host: "shop.example.com", PreLiveHost: "next.example.com", PreLive: "g2", Drain: time.Minute,
		Sides: []traffic.Side{
			{Generation: "g1", Endpoints: []string{"10.0.0.1:80", "10.0.0.2:80"}, Weight: 100 - weight},
			{Generation: "g2", Endpoints: []string{"[fd00::1]:80"}, Weight: weight},
		},
		Health: traffic.Health{Path: "/healthz?a=1&b=2|3", Interval: 1500 * time.Millisecond},
	}
}

// TestEntry shows what the entry of a route looks like, for people who read it with show map.
func TestEntry(t *testing.T) {
	l := layout{route: shop(25), slots: map[string]string{"g1": "crossfade-1", "g2": "crossfade-2"}}
	got, err := l.value()
	want := `75|crossfade-1|100|crossfade-2|||||{"host":"shop.example.com","preLiveHost":"next.example.com","path":"/healthz?a=1&b=2|3",` +
		`"interval":"1.5s","drain":"1m0s","sides":[{"generation":"g1","slot":"crossfade-1","endpoints":["10.0.0.1:80","10.0.0.2:80"]},` +
		`{"generation":"g2","slot":"crossfade-2","endpoints":["[fd00::1]:80"]}]}`
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got\n%s", err, diff)
	}
}

func TestForgedEntries(t *testing.T) {
	for _, value := range []string{
		"", "theirs", "100|crossfade-1|shop.example.com", "100|crossfade-1|||||||", "100|crossfade-1|||||||7",
		`90|crossfade-1|||||||{"sides":[{"generation":"g1","slot":"crossfade-1"}]}`,
		`50|crossfade-1|50|crossfade-1|||||{"sides":[{"generation":"g1","slot":"crossfade-1"}]}`,
		`x|crossfade-1|||||||{"sides":[{"generation":"g1","slot":"crossfade-1"}]}`,
		`100|elsewhere|||||||{"sides":[{"generation":"g1","slot":"crossfade-1"}]}`,
		`100|crossfade-1|||||||{"drain":"long","sides":[{"generation":"g1","slot":"crossfade-1"}]}`,
	} {
		s := &state{table: "m", entries: []entry{{"#1", "shop.example.com", value}}}
		if _, err := s.observe("shop.example.com"); fault.CodeOf(err) != fault.Failed || fault.HintOf(err) == "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: observed: %v, want an error of one line with a hint", value, err)
		}
		if commands, err := s.toward(shop(5)); err == nil {
			t.Errorf("%q is overwritten: %v", value, commands)
		}
	}
}

func TestEveryRouteIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := traffic.Route{Host: "shop.example.com", Drain: time.Duration(rapid.IntRange(0, 3600).Draw(t, "drain")) * time.Second}
		l := layout{slots: map[string]string{}}
		left, n := 100, rapid.IntRange(1, maxShares).Draw(t, "sides")
		for i := range n {
			w := rapid.IntRange(0, left).Draw(t, "weight")
			if i == n-1 {
				w = left
			}
			left -= w
			g := fmt.Sprint("g", i)
			want.Sides = append(want.Sides, traffic.Side{Generation: g, Endpoints: []string{fmt.Sprintf("10.0.0.%d:80", i)}, Weight: w})
			l.slots[g] = fmt.Sprint("crossfade-", i)
		}
		if rapid.Bool().Draw(t, "nobody") {
			for i := range want.Sides {
				want.Sides[i].Weight = 0
			}
		}
		if rapid.Bool().Draw(t, "health") {
			want.Health = traffic.Health{Path: "/a|b", Interval: time.Second}
		}
		l.route = want
		value, err := l.value()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parse(value)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.route); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
	})
}

func TestInvalidForHAProxy(t *testing.T) {
	for name, spoil := range map[string]func(*traffic.Route){
		"host with a port":      func(r *traffic.Route) { r.Host = "shop.example.com:80" },
		"host with a command":   func(r *traffic.Route) { r.Host = "a;show env" },
		"pre-live with a space": func(r *traffic.Route) { r.PreLiveHost = "a b" },
		"path with a command":   func(r *traffic.Route) { r.Health.Path = "/;shutdown" },
		"path with a space":     func(r *traffic.Route) { r.Health.Path = "/a b" },
		"path with a line":      func(r *traffic.Route) { r.Health.Path = "/a\nb" },
		"path with a backslash": func(r *traffic.Route) { r.Health.Path = `/a\b` },
		"no path":               func(r *traffic.Route) { r.Health.Path = "healthz" },
		"generation":            func(r *traffic.Route) { r.Sides[0].Generation = "g|1" },
		"named endpoint":        func(r *traffic.Route) { r.Sides[0].Endpoints[1] = "lb.example.com:80" },
		"no port":               func(r *traffic.Route) { r.Sides[0].Endpoints[1] = "10.0.0.1" },
		"interval":              func(r *traffic.Route) { r.Health.Interval = time.Microsecond },
		"five shares": func(r *traffic.Route) {
			r.PreLive, r.Sides = "", nil
			for i := range 5 {
				r.Sides = append(r.Sides, traffic.Side{Generation: fmt.Sprint("g", i), Endpoints: []string{"10.0.0.1:80"}, Weight: 20})
			}
		},
	} {
		r := shop(5)
		spoil(&r)
		if _, err := normal(r); fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want an error of code invalid in one line, with a hint", name, err)
		}
	}
	if _, err := normal(shop(5)); err != nil {
		t.Error(err)
	}
}

func TestNew(t *testing.T) {
	for _, o := range []Options{
		{Socket: "", Entry: "http://a"},
		{Socket: "run/x.sock", Entry: "http://a"},
		{Socket: "/run/x.sock", Entry: "10.0.0.5:80"},
		{Socket: "/run/x.sock", Entry: ""},
	} {
		if _, err := New(o); fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" {
			t.Errorf("%+v: %v, want an error of code invalid with a hint", o, err)
		}
	}
}

func TestStandIns(t *testing.T) {
	r := traffic.Route{Sides: []traffic.Side{
		{Generation: "g1", Endpoints: []string{"a:1"}, Weight: 20},
		{Generation: "g2", Endpoints: []string{"b:1", "b:2"}, Weight: 60},
		{Generation: "g3", Endpoints: []string{"c:1"}, Weight: 20},
		{Generation: "g4", Endpoints: []string{"d:1"}},
	}}
	want := map[string]need{
		"g2:b:1": {"b:1", true, false, 256}, "g2:b:2": {"b:2", true, false, 256}, "g3:c:1": {"c:1", true, false, 171},
	}
	if diff := cmp.Diff(want, standIns(r, "g1"), cmp.AllowUnexported(need{})); diff != "" {
		t.Errorf("in the proportion 60 to 20, over three endpoints (-want +got):\n%s", diff)
	}
}

// TestPreLiveNameTaken has the name belong to another route, and to somebody else.
func TestPreLiveNameTaken(t *testing.T) {
	for _, value := range []string{"100|crossfade-7|blog.example.com", "theirs"} {
		f := newFake(8)
		f.entries = []entry{{"#1", "next.example.com", value}}
		if commands, err := f.toward(shop(5)); fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" {
			t.Errorf("%v, %v: want an error of code invalid with a hint", commands, err)
		}
	}
}

// TestLiveNameTaken has the name belong to another route as its pre-live name.
func TestLiveNameTaken(t *testing.T) {
	f := newFake(8)
	f.entries = []entry{{"#1", "shop.example.com", "100|crossfade-7|blog.example.com"}}
	if commands, err := f.toward(shop(5)); fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" {
		t.Errorf("%v, %v: want an error of code invalid with a hint", commands, err)
	}
}

// TestClaimedTwice has two routes claim the same slots, which nobody but the map decides: the first is in force, the second gives way.
func TestClaimedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFake(12)
		mine, theirs := shop(50), shop(50)
		theirs.Host, theirs.PreLiveHost = "blog.example.com", "next.blog.example.com"
		first, err := f.toward(mine)
		if err != nil {
			t.Fatal(err)
		}
		second, err := f.toward(theirs)
		if err != nil {
			t.Fatal(err)
		}
		for len(first)+len(second) > 0 {
			if len(second) == 0 || len(first) > 0 && rapid.Bool().Draw(t, "first") {
				f.do(t, first[0])
				first = first[1:]
				continue
			}
			f.do(t, second[0])
			second = second[1:]
		}
		for _, r := range []traffic.Route{mine, theirs, mine, theirs} {
			for f.step(t, r) {
			}
		}
		for _, r := range []traffic.Route{mine, theirs} {
			f.settled(t, r)
		}
		keys := map[string]bool{}
		for _, e := range f.entries {
			if keys[e.key] {
				t.Fatalf("%s is there twice: %v", e.key, f.entries)
			}
			keys[e.key] = true
		}
	})
}

// answering is an HAProxy that gives the same answers to the same questions, and one to all else.
func answering(t *testing.T, answers map[string]string, other string) *Router {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			answer, known := answers[strings.TrimSpace(line)]
			if !known {
				answer = other
			}
			_, _ = io.WriteString(conn, answer)
			conn.Close()
		}
	}()
	r, err := New(Options{Socket: l.Addr().String(), Entry: "http://a"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnswers(t *testing.T) {
	const (
		files = "# id (file) description\n0 (/etc/haproxy/crossfade.map) pattern loaded from file\n1 (/etc/haproxy/theirs.map) pattern\n\n"
		stats = "# pxname,svname,scur,status,mode,algo,uweight,\ncrossfade-1,BACKEND,0,UP,http,roundrobin,0,\ncrossfade-2,BACKEND,0,UP,http,roundrobin,0,\n" +
			"crossfade-3,BACKEND,0,UP,http,roundrobin,0,\n\n"
	)
	good := map[string]string{"show map": files, "show map /etc/haproxy/crossfade.map": "\n", "show stat -1 6 -1": stats}
	for name, tc := range map[string]struct {
		question, answer, other string
		code                    fault.Code
		says                    string
	}{
		"refused":      {other: "Out of memory.\n\n", code: fault.Unavailable, says: `"add map": refused: Out of memory.`},
		"no effect":    {other: "\n", code: fault.Unavailable, says: "its state does not become what it should"},
		"two maps":     {question: "show map", answer: files + "2 (/srv/crossfade.map) pattern\n", code: fault.Invalid, says: "two maps"},
		"no answer":    {question: "show map", code: fault.Unavailable, says: "unexpected EOF"},
		"not admin":    {other: "Permission denied\n\n", code: fault.Invalid, says: "does not allow"},
		"old":          {question: "show stat -1 6 -1", answer: "Unknown command.\n", code: fault.Invalid, says: "no backends"},
		"no number":    {question: "show stat -1 6 -1", answer: stats + "crossfade-1,g1:a:1,x,UP,,,1,\n", code: fault.Failed, says: "sessions of crossfade-1/g1:a:1"},
		"no weight":    {question: "show stat -1 6 -1", answer: stats + "crossfade-1,g1:a:1,0,UP,,,x,\n", code: fault.Failed, says: "weight of crossfade-1/g1:a:1"},
		"not the mode": {question: "show stat -1 6 -1", answer: strings.Replace(stats, "http", "tcp", 1), code: fault.Invalid, says: "mode tcp"},
	} {
		answers := replaced(good, tc.question, tc.answer)
		err := answering(t, answers, tc.other).Apply(t.Context(), shop(5))
		if fault.CodeOf(err) != tc.code || fault.HintOf(err) == "" || !strings.Contains(fmt.Sprint(err), tc.says) || strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("%s: %v (%s), want one line of code %s that says %q, with a hint", name, err, fault.CodeOf(err), tc.code, tc.says)
		}
	}
}

// replaced is a map with one entry replaced.
func replaced(m map[string]string, key, value string) map[string]string {
	m = maps.Clone(m)
	if key != "" {
		m[key] = value
	}
	return m
}

// TestTooLong has more endpoints than a command can name.
func TestTooLong(t *testing.T) {
	r := shop(5)
	for i := range 1200 {
		r.Sides[0].Endpoints = append(r.Sides[0].Endpoints, fmt.Sprintf("10.1.%d.%d:30080", i/200, i%200))
	}
	l := layout{route: r, slots: map[string]string{}}
	value, err := l.value()
	if err != nil {
		t.Fatal(err)
	}
	err = (&Router{}).command(t.Context(), "add map m "+value)
	if fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" {
		t.Errorf("%v, want an error of code invalid with a hint", err)
	}
}

// TestAnyOrderOfRoutes applies routes one after the other, each stopped after any number of commands, with requests under way
// here and there. Users are answered all the time, by sides of the old or the new route; each route is in force in the end,
// exactly, and a second time nothing is done.
func TestAnyOrderOfRoutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFake(12)
		draw := func() traffic.Route {
			w := rapid.SampledFrom([]int{0, 5, 50, 100}).Draw(t, "weight")
			r := shop(w)
			r.Health.Interval = rapid.SampledFrom([]time.Duration{time.Second, 2 * time.Second}).Draw(t, "interval")
			r.Sides[1].Endpoints = [][]string{{"10.0.1.1:80"}, {"10.0.1.2:80", "10.0.1.1:80"}, {"10.0.1.2:80"}}[rapid.IntRange(0, 2).Draw(t, "endpoints")]
			if rapid.Bool().Draw(t, "no pre-live") {
				r.PreLive, r.PreLiveHost = "", ""
			}
			return r
		}
		old := draw()
		for f.step(t, old, old) {
		}
		for range rapid.IntRange(1, 5).Draw(t, "routes") {
			route := draw()
			for range rapid.IntRange(0, 20).Draw(t, "stopped after") {
				if !f.step(t, old, route) {
					break
				}
			}
			stopped := route
			route = draw()
			for i := 0; f.step(t, old, stopped, route); i++ {
				if i > 200 {
					t.Fatal("it never ends")
				}
			}
			seen, err := f.observe(route.Host)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(route, seen.Route); diff != "" {
				t.Fatalf("(-applied +observed):\n%s", diff)
			}
			f.settled(t, route)
			old = route
		}
		for i := 0; ; i++ {
			commands := f.without(old.Host)
			if len(commands) == 0 {
				break
			}
			for _, c := range commands {
				f.do(t, c)
			}
		}
		if len(f.entries) > 0 {
			t.Fatalf("left after it was removed: %v", f.entries)
		}
	})
}
