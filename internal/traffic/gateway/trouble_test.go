package gateway_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi/gatewaytest"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/gateway"
)

const host = "shop.example.com"

// endpoint answers as a generation, at an address of this machine.
func endpoint(t *testing.T, generation string) string {
	t.Helper()
	listen, err := net.Listen("tcp", net.JoinHostPort(gatewaytest.Address(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: listen, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Generation", generation)
	})}}
	s.Start()
	t.Cleanup(s.Close)
	return listen.Addr().String()
}

// shop is a route of two sides.
func shop(weight int, g1, g2 []string) traffic.Route {
	return traffic.Route{Host: host, PreLiveHost: "next." + host, PreLive: "g2", Drain: 10 * time.Second, Sides: []traffic.Side{
		{Generation: "g1", Endpoints: g1, Weight: 100 - weight}, {Generation: "g2", Endpoints: g2, Weight: weight},
	}}
}

func apply(t *testing.T, r traffic.Router, route traffic.Route) {
	t.Helper()
	if err := r.Apply(t.Context(), route); err != nil {
		t.Fatal(err)
	}
}

// ask is who answers a user, with a header.
func (l *lab) ask(t *testing.T, headers ...string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.Entry, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for _, h := range headers {
		name, value, _ := strings.Cut(h, "=")
		req.Header.Set(name, value)
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.Header.Get("X-Generation")
}

// refused wants an error of a code that says something, and a way out.
func refused(t *testing.T, err error, code fault.Code, says string) {
	t.Helper()
	if fault.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) || fault.HintOf(err) == "" {
		t.Errorf("got %v (%s, hint %q), want one of code %s that says %q, with a hint", err, fault.CodeOf(err), fault.HintOf(err), code, says)
	}
}

// TestTrouble shares a cluster and a Traefik as it is by default, which lets users wait for changes.
func TestTrouble(t *testing.T) {
	l := newLab(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *lab)
	}{
		{"gateways", testGateways},
		{"in the way", testInTheWay},
		{"changed", testChanged},
		{"invalid", testInvalid},
		{"header", testHeader},
		{"leading", testLeading},
		{"lag", testLag},
		{"moving endpoints", testMoving},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Cleanup(func() { l.remove(t, host) })
			test.run(t, l)
			l.remove(t, host)
			for name := range l.list(t, true) {
				t.Errorf("%s is left", name)
			}
		})
	}
}

// testGateways has routes on Gateways that cannot carry them. Nothing is written.
func testGateways(t *testing.T, l *lab) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	route := shop(0, []string{endpoint(t, "g1")}, nil)
	for says, change := range map[string]func(*gateway.Options){
		"the Gateway edge/nothing is not there":                    func(o *gateway.Options) { o.Gateway = "nothing" },
		`the Gateway edge/asleep of the class "nobody" is not acc`: func(o *gateway.Options) { o.Gateway = "asleep" },
		"the Gateway edge/public has no listener tls":              func(o *gateway.Options) { o.Section = "tls" },
		"the Gateway nowhere/public is not there":                  func(o *gateway.Options) { o.Namespace = "nowhere" },
	} {
		refused(t, l.mustRouter(t, change).Apply(t.Context(), route), fault.Refused, says)
	}
	if left := l.list(t, true); len(left) > 0 {
		t.Errorf("%v were written", left)
	}
	astray := l.mustRouter(t, func(o *gateway.Options) { o.Entry = other.URL })
	astray.Within(2 * time.Second)
	refused(t, astray.Apply(t.Context(), route), fault.Refused, "the entry "+other.URL+" does not serve shop.example.com as it is now")
	other.Close()
	refused(t, astray.Apply(t.Context(), route), fault.Unavailable, "does not answer")
}

// testInTheWay has objects of somebody else with the names of ours. They stay.
func testInTheWay(t *testing.T, l *lab) {
	g1 := endpoint(t, "g1")
	service := gateway.ServiceOf(host, "g1", g1)
	for kind, text := range map[string]string{
		"Service":       "{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: edge}, spec: {ports: [{port: 81}]}}",
		"EndpointSlice": "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: %s, namespace: edge}, addressType: IPv4, endpoints: []}",
		"HTTPRoute":     "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: %s, namespace: edge}, spec: {hostnames: [shop.example.com]}}",
	} {
		name := service
		if kind == "HTTPRoute" {
			name = gateway.NameOf(host)
		}
		l.server.WriteAs(t, "kubectl", fmt.Sprintf(text, name))
		before := l.foreign(t)
		err := l.mustRouter(t).Apply(t.Context(), shop(0, []string{g1}, nil))
		refused(t, err, fault.Refused, "is in the way, and not Crossfade's")
		if !strings.Contains(fmt.Sprint(err), kind) {
			t.Errorf("%v does not name the %s", err, kind)
		}
		if after := l.foreign(t); after != before {
			t.Errorf("it was changed:\n%s\n%s", before, after)
		}
		l.erase(t, kind, name)
		l.remove(t, host) // what was written before it was met
	}
}

// testChanged has a person change the weights of a route. They stay, and everybody is told.
func testChanged(t *testing.T, l *lab) {
	g1, g2 := []string{endpoint(t, "g1")}, []string{endpoint(t, "g2")}
	r := l.mustRouter(t)
	apply(t, r, shop(50, g1, g2))
	route := l.list(t, true)["httproutes edge/"+gateway.NameOf(host)]
	rules := field.List(route.DeepCopy(), "spec", "rules")
	refs := field.AsMap(rules[1])["backendRefs"].([]any)
	field.AsMap(refs[0])["weight"] = int64(7)
	edited := route.DeepCopy()
	edited.Object = map[string]any{
		"apiVersion": route.GetAPIVersion(), "kind": "HTTPRoute", "metadata": map[string]any{"name": route.GetName(), "namespace": "edge"},
		"spec": map[string]any{"rules": rules},
	}
	l.write(t, "kubectl-edit", edited)
	_, err := r.Observe(t.Context(), host)
	for _, err := range []error{err, r.Apply(t.Context(), shop(60, g1, g2)), r.Remove(t.Context(), host)} {
		refused(t, err, fault.Refused, "somebody has changed gateway.networking.k8s.io/HTTPRoute edge/"+route.GetName())
	}
	now := l.list(t, true)["httproutes edge/"+gateway.NameOf(host)]
	if got := field.AsMap(field.AsMap(field.List(now, "spec", "rules")[1])["backendRefs"].([]any)[0])["weight"]; got != int64(7) {
		t.Errorf("the weight is %v, want it to stay 7", got)
	}
	l.erase(t, "HTTPRoute", route.GetName())
}

func testInvalid(t *testing.T, l *lab) {
	r := l.mustRouter(t)
	for _, e := range []string{"node1.example.com:30080", "127.0.0.1:30080", "10.0.0.1", "10.0.0.1:0", "[fe80::1%eth0]:80", "[::1]:80", "0.0.0.0:80"} {
		refused(t, r.Apply(t.Context(), shop(0, []string{e}, nil)), fault.Invalid, fmt.Sprintf("the endpoint %q of generation g1 is no address that a Gateway can reach", e))
	}
	mirrored := shop(0, []string{"10.0.0.1:80"}, []string{"10.0.0.2:80"})
	mirrored.Mirror = &traffic.Mirror{Generation: "g2", Share: 10}
	refused(t, r.Apply(t.Context(), mirrored), fault.Invalid, "a router of the kind gateway does not mirror requests")
	var many []string
	for i := range 16 {
		many = append(many, fmt.Sprintf("10.0.0.1:%d", 30000+i))
	}
	refused(t, r.Apply(t.Context(), shop(0, many, nil)), fault.Invalid, "its sides have 16 different ports, and an HTTPRoute takes 15")
	upper := shop(0, []string{"10.0.0.1:80"}, nil)
	upper.Host = "Shop.example.com"
	refused(t, r.Apply(t.Context(), upper), fault.Invalid, `"Shop.example.com" is no host`)
}

// testHeader leads those who ask for it to the side without a weight, and nobody else.
func testHeader(t *testing.T, l *lab) {
	r, route := l.mustRouter(t), shop(0, []string{endpoint(t, "g1")}, []string{endpoint(t, "g2")})
	route.Chosen = &traffic.Chosen{Header: "X-Try", Value: "next", Generation: "g2"}
	apply(t, r, route)
	for range 20 {
		if all, some, other := l.ask(t), l.ask(t, "X-Try=next"), l.ask(t, "X-Try=no"); all != "g1" || some != "g2" || other != "g1" {
			t.Fatalf("users reach %q, those with the header %q, with another value %q", all, some, other)
		}
	}
	seen, err := r.Observe(t.Context(), host)
	if err != nil || seen.Route.Chosen == nil || *seen.Route.Chosen != *route.Chosen {
		t.Errorf("observed %+v %v", seen, err)
	}
	route.Chosen = nil
	apply(t, r, route)
	if got := l.ask(t, "X-Try=next"); got != "g1" {
		t.Errorf("without a choice, %q answers", got)
	}
	if who, err := r.Leading(t.Context(), host, "g2"); err != nil || len(who) != 1 {
		t.Errorf("g2 may still have requests of those who asked for it: %v %v", who, err)
	}
}

// testLeading follows what is said of a side that has lost its users, also while the entry takes its time to follow.
func testLeading(t *testing.T, l *lab) {
	g1, g2 := []string{endpoint(t, "g1")}, []string{endpoint(t, "g2")}
	begin := time.Now()
	var passed, takes atomic.Int64 // since then, and for an answer at the live name
	var away atomic.Bool
	to, err := url.Parse(l.Entry)
	if err != nil {
		t.Fatal(err)
	}
	pass := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to); p.Out.Host = p.In.Host }}
	entry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Host == host {
			passed.Add(takes.Load())
		}
		if !away.Load() {
			pass.ServeHTTP(w, q)
		}
	}))
	defer entry.Close()
	r := l.mustRouter(t, func(o *gateway.Options) { o.Entry = entry.URL })
	r.At(func() time.Time { return begin.Add(time.Duration(passed.Load())) })
	leading := func(what string, want int) {
		t.Helper()
		if who, err := r.Leading(t.Context(), host, "g1"); err != nil || len(who) != want {
			t.Errorf("%s: %v %v, want %d", what, who, err, want)
		}
	}
	leading("without a route", 0)
	for _, weight := range []int{0, 50} {
		apply(t, r, shop(weight, g1, g2))
		leading("with users", 0)
	}
	apply(t, r, shop(100, g1, g2))
	leading("just now", 1)
	passed.Add(int64(9 * time.Second))
	apply(t, r, shop(100, g1, g2))
	leading("before the bound", 1)
	passed.Add(int64(2 * time.Second))
	leading("past the bound", 0)
	apply(t, r, shop(50, g1, g2))
	leading("with users again", 0)
	away.Store(true)
	r.Within(2 * time.Second)
	refused(t, r.Apply(t.Context(), shop(100, g1, g2)), fault.Refused, "does not serve")
	passed.Add(int64(time.Minute))
	leading("written, and not served", 1)
	away.Store(false)
	r.Within(0)
	apply(t, r, shop(100, g1, g2))
	leading("served at the second try", 1)
	passed.Add(int64(11 * time.Second))
	leading("past the bound after that", 0)
	apply(t, r, shop(50, g1, g2))
	takes.Store(int64(3 * time.Second))
	apply(t, r, shop(100, g1, g2))
	leading("served late", 1)
	takes.Store(0)
	apply(t, r, shop(50, g1, g2))
	unbound := shop(100, g1, g2)
	unbound.Drain = 0
	apply(t, r, unbound)
	passed.Add(int64(29 * time.Second))
	leading("before the bound of a route without one", 1)
	passed.Add(int64(2 * time.Second))
	leading("past the bound of a route without one", 0)
}

// testLag moves users with a Traefik that takes up to two seconds to follow what it has accepted: when Apply returns, it has.
func testLag(t *testing.T, l *lab) {
	r, g1, g2 := l.mustRouter(t), []string{endpoint(t, "g1")}, []string{endpoint(t, "g2")}
	for i := range 6 {
		want := fmt.Sprintf("g%d", 1+i%2)
		apply(t, r, shop(100*(i%2), g1, g2))
		for range 50 {
			if got := l.ask(t); got != want {
				t.Fatalf("after change %d, %q answers, want %s", i, got, want)
			}
		}
	}
}

// testMoving has the endpoints of the side with all users move to other ports, again and again. Nobody notices.
func testMoving(t *testing.T, l *lab) {
	r, at := l.mustRouter(t), [][]string{{endpoint(t, "g1"), endpoint(t, "g1")}, {endpoint(t, "g1")}, {endpoint(t, "g1")}}
	apply(t, r, shop(0, at[0], nil))
	report := l.users(t, func() {
		for i := range 8 {
			apply(t, r, shop(0, at[i%3], nil))
		}
	})
	if report.Requests.Failed > 0 || report.Requests.Sent < 500 {
		t.Errorf("%d of %d requests failed: %v", report.Requests.Failed, report.Requests.Sent, report.Failures)
	}
}

// users sends requests while something is done.
func (l *lab) users(t *testing.T, do func()) load.Report {
	t.Helper()
	g, err := load.New(load.Options{Entry: l.Entry, Host: host, Rate: 200, Kinds: []load.Kind{
		{Name: "get", Path: "/", Share: 1}, {Name: "order", Method: http.MethodPost, Path: "/", Body: "{}", Share: 1}, {Name: "new", Path: "/", Share: 1, NewConnection: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan load.Report, 1)
	go func() { done <- g.Run(t.Context()) }()
	func() {
		defer g.Stop()
		do()
	}()
	report := <-done
	t.Logf("%d requests, %d failed", report.Requests.Sent, report.Requests.Failed)
	return report
}
