package step

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

func TestEntry(t *testing.T) {
	b := newBench(t, nil)
	b.router.entry = "http://127.0.0.1:8080"
	for name, tc := range map[string]struct {
		side side
		host string
		want string
		code fault.Code
	}{
		"PreLive": {preLive, "api.example.com", "pre-live.api.example.com", ""},
		"Live":    {live, "api.example.com", "api.example.com", ""},
		"Unknown": {live, "crm.example.com", "", fault.Invalid},
	} {
		url, host, err := b.job(t.Context()).entry(tc.side)(tc.host)
		wantCode(t, name, err, tc.code)
		same(t, name, tc.want, host)
		if err == nil {
			same(t, name, "http://127.0.0.1:8080", url)
		}
	}
}

func TestOpenEntry(t *testing.T) {
	b := newBench(t, nil)
	var asked []string
	b.router.fail = func(call, host string) error {
		asked = append(asked, call+" "+host)
		if len(asked) == 1 {
			return errUnavailable
		}
		return nil
	}
	ok(t, b.OpenEntry(t.Context(), ID{Run: "r1", Name: "provision/entry", Time: 1}))
	same(t, "every router is asked until it answers, and nothing is changed",
		[]string{"observe shop.example.com", "observe shop.example.com", "observe api.example.com"}, asked)
}

// TestSideOf tells a side without users from no side.
func TestSideOf(t *testing.T) {
	seen := &traffic.Observed{Route: traffic.Route{Sides: []traffic.Side{{Generation: "old", Weight: 100}, {Generation: "new"}}}}
	for name, tc := range map[string]struct {
		seen       *traffic.Observed
		generation string
		want       traffic.Side
		known      bool
	}{
		"Live":    {seen, "old", traffic.Side{Generation: "old", Weight: 100}, true},
		"Idle":    {seen, "new", traffic.Side{Generation: "new"}, true},
		"NotIn":   {seen, "other", traffic.Side{Generation: "other"}, false},
		"NoRoute": {nil, "old", traffic.Side{Generation: "old"}, false},
	} {
		got, known := sideOf(tc.seen, tc.generation)
		if !cmp.Equal(got, tc.want) || known != tc.known {
			t.Errorf("%s: got %+v, %v", name, got, known)
		}
	}
}

// TestProviders: what no list has is an error when it is asked for, never silence.
func TestProviders(t *testing.T) {
	tools := &Toolbox{StateDir: t.TempDir()}
	_, err := tools.router(spec.Router{Name: "front"})
	wantRefusal(t, "a router of no kind", err, fault.Invalid, "router front is of no known kind")
	_, err = tools.provider(spec.Cluster{Provider: "cloud"}, "production")
	wantRefusal(t, "an unknown provider", err, fault.Invalid, `no cluster provider is called "cloud"`)
	for name, r := range map[string]spec.Router{
		"Own":     {Name: "edge", Caddy: &spec.CaddyRouter{Listen: "127.0.0.1:8080"}},
		"Another": {Name: "front", Caddy: &spec.CaddyRouter{Admin: "http://10.0.0.1:2019", Listen: ":8080"}},
	} {
		router, err := tools.router(r)
		ok(t, err)
		same(t, name, "http://127.0.0.1:8080", router.Entry())
		same(t, name+": ours to start", name == "Own", ownEdge(r))
	}
	ok(t, openRouter(t.Context(), spec.Router{Caddy: &spec.CaddyRouter{Admin: "http://10.0.0.1:2019"}}, tools.StateDir))
	router, err := tools.router(spec.Router{Name: "nodes", Nginx: &spec.NginxRouter{Entry: "http://10.0.0.5", Nodes: []spec.NginxNode{{Name: "n1", Address: "10.0.0.11"}, {Name: "here"}}}})
	ok(t, err)
	same(t, "nginx", "http://10.0.0.5", router.Entry())
}
