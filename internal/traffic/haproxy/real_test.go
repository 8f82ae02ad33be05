package haproxy_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/conformance"
	"github.com/crossfade-dev/crossfade/internal/traffic/haproxy"
	"github.com/crossfade-dev/crossfade/internal/traffic/haproxy/haproxytest"
)

func TestMain(m *testing.M) {
	conformance.Helper(func(self string) (traffic.Router, error) {
		socket, entry, _ := strings.Cut(self, " ")
		return haproxy.New(haproxy.Options{Socket: socket, Entry: entry})
	})
	goleak.VerifyTestMain(m)
}

// others is configuration of somebody else, beside ours.
const others = `
    use_backend blog if { req.hdr(host) -m str blog.example.com }

backend blog
    mode http
    timeout connect 1s
    timeout server 1m
    server one 127.0.0.1:1 weight 7 disabled
`

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Peer {
		h := haproxytest.Start(t, others)
		h.Ask(t, "add map "+h.File("crossfade.map")+" other.example.com theirs")
		away, err := haproxy.New(haproxy.Options{Socket: h.File("none.sock"), Entry: "http://" + h.Address})
		if err != nil {
			t.Fatal(err)
		}
		return conformance.Peer{
			Router: h.Router(t), Foreign: func() string { return foreign(t, h) }, Away: away,
			HTTP2: "http://" + h.Address, Self: h.Socket() + " http://" + h.Address,
		}
	})
}

// foreign returns the entries of the map and the servers that the suite's route has no part in.
func foreign(t *testing.T, h *haproxytest.HAProxy) string {
	t.Helper()
	var rest []string
	for line := range strings.Lines(h.Ask(t, "show map "+h.File("crossfade.map"))) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[1] != conformance.Host && fields[1] != conformance.PreLiveHost && !strings.Contains(line, conformance.Host) {
			rest = append(rest, strings.Join(fields[1:], " "))
		}
	}
	for line := range strings.Lines(h.Ask(t, "show servers state")) {
		if fields := strings.Fields(line); len(fields) > 10 && !strings.HasPrefix(fields[1], "crossfade-") {
			rest = append(rest, strings.Join(append(fields[:9], fields[10:]...), " ")) // the tenth is a time
		}
	}
	return strings.Join(rest, "\n")
}

// TestBrokenAtEveryCall breaks the socket at each call of a shift in turn, under load: no request fails, the next Apply completes, and one
// more only asks.
func TestBrokenAtEveryCall(t *testing.T) {
	h := haproxytest.Start(t, "")
	w := newWire(t, h)
	first, route := two(t, 0)
	w.must(t, first)
	stop, more := users(t, h)
	weight, broken := 0, 0
	for _, after := range []bool{false, true} {
		for call := 0; ; call++ {
			weight = []int{100, 30, 0}[call%3]
			w.breakAt(call, after)
			err := w.Apply(t.Context(), route(weight))
			w.breakAt(-1, false)
			if err == nil {
				break
			}
			broken++
			if fault.CodeOf(err) != fault.Unavailable {
				t.Fatalf("broken at call %d: %v, want an error of code unavailable", call, err)
			}
			more(20)
			w.must(t, route(weight))
			more(20)
		}
	}
	w.changes()
	w.must(t, route(weight))
	if done := w.changes(); len(done) > 0 {
		t.Errorf("what is as it should be is changed: %v", done)
	}
	report := stop()
	t.Logf("%d requests, %d failed while %d calls broke", report.Requests.Sent, report.Requests.Failed, broken)
	if report.Requests.Failed > 0 || broken < 20 {
		t.Errorf("%d requests failed, %d calls broke: %v", report.Requests.Failed, broken, report.Failures)
	}
}

// TestChangesLoseNothing changes the weights 300 times under users who keep their connections, as fast as it can.
func TestChangesLoseNothing(t *testing.T) {
	h := haproxytest.Start(t, "")
	w := newWire(t, h)
	first, route := two(t, 0)
	w.must(t, first)
	stop, more := users(t, h)
	more(100)
	for i := range 300 {
		if err := w.Apply(t.Context(), route([]int{5, 25, 50, 100, 0}[i%5])); err != nil {
			t.Fatal(err)
		}
	}
	report := stop()
	t.Logf("%d requests (%d over used connections) during 300 changes, %d failed, %v", report.Requests.Sent, report.Requests.Reused, report.Requests.Failed, report.Requests.ByGeneration)
	if report.Requests.Failed > 0 || report.Requests.ByGeneration["g2"] == 0 {
		t.Errorf("%+v: %v", report.Requests, report.Failures)
	}
}

// TestReload saves the routes as the documentation says, and reloads HAProxy under load. Without saving, the route is gone, which is observed,
// and Apply puts it back.
func TestReload(t *testing.T) {
	h := haproxytest.Start(t, "")
	w := newWire(t, h)
	route, _ := two(t, 30)
	before := w.must(t, route)
	stop, more := users(t, h)
	for range 2 {
		save(t, h)
		h.Reload(t)
		more(300)
	}
	after, err := w.Observe(t.Context(), route.Host)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Route, after.Route); diff != "" {
		t.Errorf("after a reload (-before +after):\n%s", diff)
	}
	w.changes()
	w.must(t, route)
	if done := w.changes(); len(done) > 0 {
		t.Errorf("what was saved is not what is wanted: %v", done)
	}
	report := stop()
	t.Logf("%d requests, %d failed, during two reloads: %v", report.Requests.Sent, report.Requests.Failed, report.Requests.ByGeneration)
	if report.Requests.Failed > 0 {
		t.Errorf("requests failed: %v", report.Failures)
	}
	if err := w.Remove(t.Context(), route.Host); err != nil {
		t.Errorf("what was saved cannot be removed: %v", err)
	}
	w.must(t, route)
	h.Write(t, "crossfade.map", "")
	h.Reload(t)
	if seen, err := w.Observe(t.Context(), route.Host); err != nil || seen != nil {
		t.Errorf("after a reload without saving: %+v, %v; want no route", seen, err)
	}
	w.must(t, route)
}

// TestOperator has somebody else use the socket, too.
func TestOperator(t *testing.T) {
	h := haproxytest.Start(t, "")
	w := newWire(t, h)
	first, route := two(t, 0)
	w.must(t, first)
	server := "crossfade-1/g1:" + first.Sides[0].Endpoints[0]
	h.Ask(t, "set server "+server+" state drain")
	for _, weight := range []int{0, 50, 0} {
		if seen := w.must(t, route(weight)); seen.Counts["g1"].Unhealthy != 1 {
			t.Errorf("%+v, want the endpoint that is drained by hand to stay, and to count", seen.Counts)
		}
	}
	save(t, h)
	h.Reload(t)
	if seen := w.must(t, first); seen.Counts["g1"].Unhealthy != 1 {
		t.Errorf("%+v, want it to stay out of service after a reload, too", seen.Counts)
	}
	h.Ask(t, "set map "+h.File("crossfade.map")+" "+first.Host+" 100|crossfade-1")
	err := w.Apply(t.Context(), first)
	if fault.CodeOf(err) != fault.Failed || !strings.Contains(err.Error(), "changed by other hands") || !strings.Contains(fault.HintOf(err), "del map") {
		t.Errorf("%v (%s), want an entry that somebody else has changed not to be overwritten", err, fault.HintOf(err))
	}
	h.Ask(t, "del map "+h.File("crossfade.map")+" "+first.Host)
	w.must(t, first)
}

// TestNames asks for hosts in every form that a client may use, and by the names that the map has for its own use.
func TestNames(t *testing.T) {
	h := haproxytest.Start(t, "")
	w := newWire(t, h)
	route, _ := two(t, 100)
	w.must(t, route)
	for host, want := range map[string]string{
		"shop.example.com": "200 g2", "Shop.Example.COM:8080": "200 g2", "next.shop.example.com": "200 g2",
		"crossfade-1": "503 ", "crossfade-2": "503 ", "crossfade-3": "503 ", "": "503 ", "example.com": "503 ", "-": "503 ", "0": "503 ",
	} {
		if got := ask(t, h, host); got != want {
			t.Errorf("%q: %s, want %s", host, got, want)
		}
	}
}

// TestEveryCheckFails has the only endpoint fail its checks, as all of them do on a machine with too much to do: its users are answered, also
// after a reload.
func TestEveryCheckFails(t *testing.T) {
	h := haproxytest.Start(t, "")
	w := newWire(t, h)
	endpoint, _ := generation(t, "g1", "tcp", "127.0.0.1:0")
	route := traffic.Route{
		Host: conformance.Host, PreLiveHost: conformance.PreLiveHost, PreLive: "g1", Health: traffic.Health{Path: "/sick", Interval: 50 * time.Millisecond},
		Sides: []traffic.Side{{Generation: "g1", Endpoints: []string{endpoint}, Weight: 100}},
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 2 {
		deadline := time.Now().Add(30 * time.Second)
		for w.must(t, route).Counts["g1"].Unhealthy == 0 {
			if <-tick.C; time.Now().After(deadline) {
				t.Fatal("the check does not fail")
			}
		}
		stop, more := users(t, h)
		more(200)
		if report := stop(); report.Requests.Failed > 0 {
			t.Errorf("%+v: %v", report.Requests, report.Failures)
		}
		if got := ask(t, h, route.PreLiveHost); got != "200 g1" {
			t.Errorf("the pre-live name: %s", got)
		}
		save(t, h)
		h.Reload(t)
		w.changes()
	}
	w.must(t, route)
	if done := w.changes(); len(done) > 0 {
		t.Errorf("what was saved is not what is wanted: %v", done)
	}
}

// TestBackFromTheDead gives a share to a side that is dead, and takes it away again at once. Requests that were on their way there are answered.
func TestBackFromTheDead(t *testing.T) {
	h := haproxytest.Start(t, "")
	w := newWire(t, h)
	a, _ := generation(t, "g1", "tcp", "127.0.0.1:0")
	b, dead := generation(t, "g2", "tcp", "127.0.0.1:0")
	route := func(weight int) traffic.Route {
		return traffic.Route{
			Host: conformance.Host, Health: traffic.Health{Path: "/", Interval: time.Second},
			Sides: []traffic.Side{{Generation: "g1", Endpoints: []string{a}, Weight: 100 - weight}, {Generation: "g2", Endpoints: []string{b}, Weight: weight}},
		}
	}
	w.must(t, route(0))
	dead.Listener.Close()
	stop, more := users(t, h)
	for range 3 {
		w.must(t, route(50)) // nobody knows yet that it is dead
		more(50)
		w.must(t, route(0))
		more(500)
	}
	if report := stop(); report.Requests.Failed > 0 {
		t.Errorf("%+v: %v", report.Requests, report.Failures)
	}
	if stat := h.Ask(t, "show stat -1 2 -1"); !redispatched.MatchString(stat) {
		t.Errorf("no request was on its way to the dead side:\n%s", stat)
	}
}

// redispatched matches the statistics of a backend in which requests were sent to another server in the end: the 17th field.
var redispatched = regexp.MustCompile(`(?m)^crossfade-\d,BACKEND,(?:[^,]*,){14}[1-9]`)

// TestManyAtOnce applies routes of several hosts at the same time, again and again.
func TestManyAtOnce(t *testing.T) {
	h := haproxytest.Start(t, "")
	_, route := two(t, 0)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			r := h.Router(t)
			for weight := range 20 {
				want := route(weight)
				want.Host, want.PreLive, want.PreLiveHost = fmt.Sprintf("shop%d.example.com", i), "", ""
				if err := r.Apply(t.Context(), want); err != nil {
					t.Error(err)
					return
				}
				seen, err := r.Observe(t.Context(), want.Host)
				if err != nil {
					t.Error(err)
					return
				}
				if diff := cmp.Diff(want, seen.Route); diff != "" {
					t.Errorf("(-applied +observed):\n%s", diff)
				}
				if weight%5 == 4 {
					if err := r.Remove(t.Context(), want.Host); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
}

// TestLeftOver takes a route away under a request, and puts another in its place. The request goes on, and what it needs is cleared away later.
func TestLeftOver(t *testing.T) {
	h := haproxytest.Start(t, "")
	w := newWire(t, h)
	route, _ := two(t, 100)
	w.must(t, route)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.Address+"/slow", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = route.Host
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil || res.Header.Get("X-Generation") != "g2" {
		t.Fatalf("%+v, %v", res, err)
	}
	defer res.Body.Close()
	if err := w.Remove(t.Context(), route.Host); err != nil {
		t.Fatal(err)
	}
	if left := h.Ask(t, "show map "+h.File("crossfade.map")); strings.Count(left, "\n0x") > 0 || !strings.Contains(left, "|g2|") {
		t.Errorf("left: %s, want the backend with the request alone", left)
	}
	route.Health.Interval = time.Second // it needs other backends
	if seen := w.must(t, route); seen.Counts["g2"].InFlight != 1 {
		t.Errorf("%+v, want the request that is under way", seen.Counts)
	}
	end()
	deadline := time.Now().Add(10 * time.Second)
	for seen := w.must(t, route); seen.Counts["g2"].InFlight > 0; seen = w.must(t, route) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v after the request has ended", seen.Counts)
		}
	}
	w.must(t, route)
	if left := h.Ask(t, "show map "+h.File("crossfade.map")); strings.Contains(left, "|200ms|") {
		t.Errorf("left: %s", left)
	}
}

// TestConfigurationThatLacks says what is missing.
func TestConfigurationThatLacks(t *testing.T) {
	for name, tc := range map[string]struct {
		file, old, now string
		says           string
	}{
		"the map":      {"haproxy.cfg", ",map(ROOT/crossfade.map)", "", "no map crossfade.map"},
		"the backends": {"crossfade.cfg", "backend crossfade-", "backend other-", "no backends crossfade-1"},
		"some of them": {"crossfade.cfg", "backend crossfade-3", "backend other-3", "1 more are needed"},
		"balance":      {"crossfade.cfg", "balance roundrobin", "balance source", "the balance source"},
		"the level":    {"haproxy.cfg", "level admin", "level operator", "does not allow"},
	} {
		t.Run(name, func(t *testing.T) {
			h := haproxytest.Start(t, "")
			h.Stop(t)
			for _, file := range []string{"haproxy.cfg", "crossfade.cfg"} {
				raw, err := os.ReadFile(h.File(file))
				if err != nil {
					t.Fatal(err)
				}
				text := string(raw)
				if file == tc.file {
					text = strings.ReplaceAll(text, strings.ReplaceAll(tc.old, "ROOT", h.Root), tc.now)
				}
				if name == "the map" && file == "crossfade.cfg" {
					text = text[:strings.Index(text, "    http-check send")] + text[strings.Index(text, "    http-check expect"):]
				}
				if name == "some of them" && file == "crossfade.cfg" {
					text = text[:strings.Index(text, "backend crossfade-4")]
				}
				h.Write(t, file, text)
			}
			h.Run(t)
			route, _ := two(t, 50)
			err := h.Router(t).Apply(t.Context(), route)
			if fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v (%s), want one line of code invalid that says %q, with a hint", err, fault.HintOf(err), tc.says)
			}
		})
	}
}

// TestAddresses reaches an endpoint by IPv6, without a check and with one, and the socket by TCP.
func TestAddresses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	h := haproxytest.Start(t, "\nglobal\n    stats socket "+l.Addr().String()+" level admin\n")
	r, err := haproxy.New(haproxy.Options{Socket: l.Addr().String(), Entry: "http://" + h.Address})
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Router: r}
	six, _ := generation(t, "g1", "tcp6", "[::1]:0")
	w.must(t, traffic.Route{Host: conformance.Host, Sides: []traffic.Side{{Generation: "g1", Endpoints: []string{six}, Weight: 100}}})
	stop, more := users(t, h)
	w.must(t, traffic.Route{
		Host: conformance.Host, Sides: []traffic.Side{{Generation: "g1", Endpoints: []string{six}, Weight: 100}},
		Health: traffic.Health{Path: "/", Interval: time.Second},
	})
	save(t, h)
	h.Reload(t)
	more(100)
	if report := stop(); report.Requests.Failed > 0 || report.Requests.ByGeneration["g1"] == 0 {
		t.Errorf("%+v: %v", report.Requests, report.Failures)
	}
}
