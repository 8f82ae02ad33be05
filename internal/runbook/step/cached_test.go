package step

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
)

// cached is a router in memory of whose answers others keep some.
type cached struct {
	*memory
	leading []string // who leads to the generation old
	times   int      // how often it is asked until nobody does; 0 for always
	asked   int
	say     func(format string, args ...any)
	applies func(traffic.Route) error // in place of Apply; nil for that of the memory
}

func (c *cached) Apply(ctx context.Context, r traffic.Route) error {
	if c.applies != nil {
		return c.applies(r)
	}
	return c.memory.Apply(ctx, r)
}

func (c *cached) Leading(_ context.Context, host, generation string) ([]string, error) {
	if c.asked++; generation != "old" || host != "shop.example.com" || c.times > 0 && c.asked > c.times {
		return nil, nil
	}
	return c.leading, nil
}

func (c *cached) Locate(_ context.Context, host, name string) (string, error) {
	return "http://10.0.0.1:80?" + host + "=" + name, nil
}

func (c *cached) Tell(say func(format string, args ...any)) { c.say = say }

func newCached(t *testing.T) (*bench, *cached) {
	t.Helper()
	b := newBench(t, nil)
	c := &cached{memory: b.router, leading: []string{"resolver 10.0.0.53:53, which still answers"}}
	b.makeRouter = func(spec.Router) (traffic.Router, error) { return c, nil }
	b.put(t, 100)
	return b, c
}

// TestLedByCaches: while somebody may still lead users to the old generation it is not idle, whatever the counters say.
func TestLedByCaches(t *testing.T) {
	b, _ := newCached(t)
	ok(t, b.Drain(t.Context(), ID{Run: "r1", Name: "drain", Time: 1}))
	story := b.story(t)
	same(t, "drained", "done drain: past the bound, old may still get users from: resolver 10.0.0.53:53, which still answers", story[len(story)-1])
	err := b.Quarantine(t.Context(), ID{Run: "r1", Name: "retire/quarantine", Time: 1})
	wantRefusal(t, "quarantined", err, fault.Refused, "old may still get users from: resolver 10.0.0.53:53, which still answers")
	same(t, "it stays in the routes", each(0, 100), b.router.weights())

	b, c := newCached(t)
	c.times = 2 // one for each route
	ok(t, b.Quarantine(t.Context(), ID{Run: "r1", Name: "retire/quarantine", Time: 1}))
	same(t, "it leaves once nobody leads to it", gone(), b.router.weights())
}

// TestStragglers: those that do not follow end a shift, and not the way back.
func TestStragglers(t *testing.T) {
	lags := fault.New(fault.Failed, "resolver 10.0.0.53:53 still answers")
	for reason, tc := range map[string]struct {
		share int
		err   error
		moved bool // the router has moved the users
		code  fault.Code
		says  string
	}{
		"forth":                       {100, lags, true, fault.Failed, "still answers"},
		"back":                        {0, lags, true, "", ""},
		"back, and nothing was moved": {0, lags, false, fault.Failed, "still answers"},
		"back, and refused":           {0, fault.New(fault.Refused, "it belongs to another").WithHint("ask them"), false, fault.Refused, "it belongs to another"},
	} {
		b, c := newCached(t)
		b.verify(t)
		b.put(t, 100-tc.share)
		c.applies = func(r traffic.Route) error {
			if tc.moved {
				ok(t, b.router.Apply(t.Context(), r))
			}
			return tc.err
		}
		err := b.Weigh(t.Context(), Weight{Step: ID{Run: "r1", Name: "shift", Time: 1}, Share: tc.share})
		wantRefusal(t, reason, err, tc.code, tc.says)
		if story := strings.Join(b.story(t), "\n"); tc.code == "" && !strings.Contains(story, "progress shift: resolver 10.0.0.53:53 still answers") {
			t.Errorf("%s: nobody is told:\n%s", reason, story)
		}
	}
}

// TestLocated: where names answer at addresses of their own, each is asked there; and what a router waits for is told.
func TestLocated(t *testing.T) {
	b, c := newCached(t)
	for s, want := range map[side]string{live: "shop.example.com", preLive: "pre-live.shop.example.com"} {
		url, name, err := b.job(t.Context()).entry(s)("shop.example.com")
		ok(t, err)
		same(t, "name", want, name)
		same(t, "url", "http://10.0.0.1:80?shop.example.com="+want, url)
	}
	c.say("it waits for %s", "a resolver")
	story := b.story(t)
	same(t, "the story", "progress test: it waits for a resolver", story[len(story)-1])
}

// TestZone: the key's secret is read from where the configuration says, and never shown.
func TestZone(t *testing.T) {
	const secret = "c2VjcmV0LW9mLWNyb3NzZmFkZQ=="
	file := filepath.Join(t.TempDir(), "key")
	ok(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	t.Setenv("CROSSFADE_TEST_KEY", " "+secret)
	t.Setenv("CROSSFADE_TEST_BAD", secret+"!")
	for reason, tc := range map[string]struct {
		key  spec.TSIG
		says string // "" for none
	}{
		"a file":           {spec.TSIG{SecretFile: file}, ""},
		"a variable":       {spec.TSIG{SecretEnv: "CROSSFADE_TEST_KEY"}, ""},
		"an algorithm":     {spec.TSIG{SecretEnv: "CROSSFADE_TEST_KEY", Algorithm: "hmac-sha512"}, ""},
		"no file":          {spec.TSIG{SecretFile: file + "2"}, "cannot sign by the TSIG key shop: open " + file + "2: no such file"},
		"no variable":      {spec.TSIG{SecretEnv: "CROSSFADE_TEST_NONE"}, "the environment variable CROSSFADE_TEST_NONE is not set"},
		"not a secret":     {spec.TSIG{SecretEnv: "CROSSFADE_TEST_BAD"}, "the secret of its key shop is empty or not in base64"},
		"not an algorithm": {spec.TSIG{SecretEnv: "CROSSFADE_TEST_KEY", Algorithm: "hmac-md5"}, `"hmac-md5" is none of`},
	} {
		tc.key.Name = "shop"
		r := spec.Router{Name: "zone", DNS: &spec.DNSRouter{
			Zone: "example.com", Owner: "shop", RFC2136: &spec.RFC2136Zone{Server: "10.0.0.53", TSIG: tc.key}, Resolvers: []string{"fd00::53"}, Authorities: []string{"ns:5353"},
		}}
		router, err := (&Toolbox{}).router(r)
		if tc.says == "" {
			ok(t, err)
			if _, is := router.(*dns.Router); !is {
				t.Errorf("%s: got %T", reason, router)
			}
			continue
		}
		wantRefusal(t, reason, err, fault.Invalid, tc.says)
		if err != nil && strings.Contains(err.Error()+fault.HintOf(err), secret) {
			t.Errorf("%s: the secret is in %v", reason, err)
		}
	}
}
