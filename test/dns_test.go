package test

import (
	"context"
	"fmt"
	"io"
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

	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
)

const (
	led      = "shop.example.com"
	nodePort = "31080" // DNS leads to addresses only
)

// habits are how long DNS answers are for, and how long the resolvers keep them.
type habits struct{ ttl, caps, ignores, wait time.Duration }

// soakDNSVariable makes TestDNS take what resolvers of the world do, and half an hour; make soak does.
const soakDNSVariable = "CROSSFADE_SOAK_DNS"

func habitsOf() habits {
	if os.Getenv(soakDNSVariable) != "" {
		return habits{ttl: 330 * time.Second, caps: 5 * time.Minute, ignores: 6 * time.Minute, wait: 2 * time.Minute}
	}
	return habits{ttl: 2 * time.Second, caps: time.Second, ignores: 5 * time.Second, wait: 10 * time.Second}
}

// TestDNS rolls whole clusters over by the records of a real BIND, for users of three resolvers of different habits: one obeys the TTL, one caps
// it, one ignores it when it likes to. Nobody is ever without an answer or meets a generation that is gone.
func TestDNS(t *testing.T) {
	t.Parallel() // it waits, most of its time
	h := habitsOf()
	b := bindtest.Start(t, "")
	obeys := bindtest.StartResolver(t, b, func(ttl time.Duration) time.Duration { return ttl })
	caps := bindtest.StartResolver(t, b, func(ttl time.Duration) time.Duration { return min(ttl, h.caps) })
	ignores := bindtest.StartResolver(t, b, func(time.Duration) time.Duration { return h.ignores })
	all := []*bindtest.Resolver{obeys, caps, ignores}
	w := newWorld(t, retireAtOnce, edit{"production.yaml", "      health: /healthz\n", ""}, edit{"production.yaml", "steps: [5, 25, 50, 100]", "steps: [100]"},
		edit{"services/web/kustomize/service.yaml", "targetPort: http,", "targetPort: http, nodePort: " + nodePort + ","})
	w.limit += 3 * (h.ttl + h.wait)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(bindtest.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for _, r := range all {
		addresses = append(addresses, fmt.Sprintf("%q", r.Address))
	}
	w.replace("platform.yaml", fmt.Sprintf("caddy: {listen: %q}", w.listen), fmt.Sprintf(
		"dns: {zone: %s, owner: crossfade-shop, ttl: %s, wait: %s, authorities: [%q], resolvers: [%s], rfc2136: {server: %q, tsig: {name: %s, secretFile: %s}}}",
		bindtest.Zone, h.ttl, h.wait, b.Address, strings.Join(addresses, ", "), b.Address, bindtest.Key, key))
	ca := w.certify(t, b)
	w.must("rollover", environment)
	first := w.live()
	requested := w.certificate(t)
	for _, r := range all {
		r.Forget() // what was there before the name led anywhere
	}
	users := visit(t, all)

	w.must("rollover", environment)
	second := w.live()
	if first == "" || second == "" || first == second {
		t.Fatalf("%q was live, then %q", first, second)
	}
	users.reached(t, 2)
	w.renewed(t, ca, requested)

	ignores.Keep(func(time.Duration) time.Duration { return time.Hour })
	for deadline := time.Now().Add(10 * time.Second); strings.HasPrefix(ignores.Leads(led), "nowhere"); {
		if time.Now().After(deadline) {
			t.Fatal("the resolver has no answer to keep")
		}
	}
	o := w.run("rollover", environment)
	if o.status != 1 || !strings.Contains(o.stderr, "resolver "+ignores.Address+" still answers") {
		t.Errorf("with a resolver that ignores the TTL: exit %d\n%s", o.status, o.stderr)
	}
	if live := w.live(); live != second {
		t.Errorf("%s is live, want the users back on %s", live, second)
	}
	if phase := w.run("status", environment).stdout; !strings.Contains(phase, second) {
		t.Errorf("%s does not stand any more:\n%s", second, phase)
	}
	users.end(t)
}

// visitors ask resolvers and then whatever these lead to, each anew for every request.
type visitors struct {
	stop         chan struct{}
	all          sync.WaitGroup
	sent, failed atomic.Int64
	mu           sync.Mutex
	last         map[*bindtest.Resolver]string
	why          []string
	led          []string // all addresses that any was led to
}

func visit(t *testing.T, resolvers []*bindtest.Resolver) *visitors {
	t.Helper()
	v := &visitors{stop: make(chan struct{}), last: map[*bindtest.Resolver]string{}}
	for _, r := range resolvers {
		v.all.Go(func() {
			transport := &http.Transport{DisableKeepAlives: true}
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				to := r.Leads(led)
				err := ask(transport, to)
				v.note(r, to, err)
				select {
				case <-tick.C:
				case <-v.stop:
					return
				}
			}
		})
	}
	t.Cleanup(v.leave)
	return v
}

// leave ends the visits.
func (v *visitors) leave() {
	v.mu.Lock()
	select {
	case <-v.stop:
	default:
		close(v.stop)
	}
	v.mu.Unlock()
	v.all.Wait()
}

func (v *visitors) note(r *bindtest.Resolver, to string, err error) {
	v.sent.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last[r] = to
	if !slices.Contains(v.led, to) {
		v.led = append(v.led, to)
	}
	if err != nil {
		v.failed.Add(1)
		v.why = append(v.why, err.Error())
	}
}

// reached wants the users of all resolvers to be at one place, and to have been at so many.
func (v *visitors) reached(t *testing.T, places int) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for r, to := range v.last {
		if to != v.led[len(v.led)-1] {
			t.Errorf("users of %s are led to %s, want %s", r.Address, to, v.led[len(v.led)-1])
		}
	}
	if len(v.led) != places {
		t.Errorf("users were led to %v, want %d places", v.led, places)
	}
}

func (v *visitors) end(t *testing.T) {
	t.Helper()
	v.leave()
	t.Logf("%d requests, %d failed, at %v", v.sent.Load(), v.failed.Load(), v.led)
	if v.failed.Load() > 0 || v.sent.Load() < 1000 {
		t.Errorf("of %d requests %d failed: %s", v.sent.Load(), v.failed.Load(), strings.Join(v.why[:min(5, len(v.why))], "; "))
	}
}

// ask asks for the front page at an address.
func ask(transport http.RoundTripper, address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(address, nodePort), http.NoBody)
	if err != nil {
		return err
	}
	req.Host = led
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, res.Status)
	}
	return nil
}
