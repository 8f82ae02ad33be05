package dns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
)

// TestTTL: the TTL of before is lowered ahead, waited out before the users are moved, and there again when one generation is left.
func TestTTL(t *testing.T) {
	t.Parallel()
	const before = 5 // seconds
	b := bindtest.Start(t, fmt.Sprintf("shop %d IN A 10.0.1.1\na-shop 60 IN TXT \"heritage=external-dns,external-dns/owner=crossfade-shop\"\n", before))
	r := router(t, options(b))
	var said []string
	r.Tell(func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	if got := b.TTL(t, host); got != before {
		t.Fatalf("the TTL is %d before", got)
	}
	start := time.Now()
	apply(t, r, two("g1"))
	if took := time.Since(start); took > 3*time.Second || b.TTL(t, host) != 1 {
		t.Errorf("the TTL is %d after %v, want it lowered at once", b.TTL(t, host), took)
	}
	lowered := time.Now()
	moved := make(chan time.Time)
	go func() {
		bindtest.Holds(time.Minute, func() bool { return b.Answers(host) == "10.0.2.1 shop.g2.example.com" })
		moved <- time.Now()
	}()
	apply(t, r, two("g2"))
	end := time.Now()
	at := <-moved
	if at.Sub(start) < (before-1)*time.Second || at.Sub(lowered) > (before+3)*time.Second {
		t.Errorf("the users were moved %v after the TTL was lowered, want that once no answer lasts longer than the TTL of now", at.Sub(start))
	}
	if end.Sub(at) < time.Second {
		t.Errorf("it was in force %v after the users were moved, want the TTL of now waited out", end.Sub(at))
	}
	if text := strings.Join(said, "\n"); !strings.Contains(text, "shop.example.com waits: what resolvers keep by the TTL of before, 5 seconds, lasts too long until ") {
		t.Errorf("it said %q", said)
	}
	apply(t, r, two("g1")) // on the way back there is nothing more to wait for
	if took := time.Since(end); took > 5*time.Second {
		t.Errorf("the way back took %v", took)
	}
	alone := traffic.Route{Host: host, Sides: []traffic.Side{two("g1").Sides[0]}}
	apply(t, r, alone)
	serial := b.Serial(t)
	if got := b.TTL(t, host); got != before {
		t.Errorf("the TTL is %d with one generation left, want that of before", got)
	}
	if apply(t, r, alone); b.Serial(t) != serial {
		t.Errorf("applied again, the zone changed")
	}
	if apply(t, r, two("g1")); b.TTL(t, host) != 1 {
		t.Errorf("the TTL is %d before the next move, want it lowered again", b.TTL(t, host))
	}
}

// TestLeavesLast: a resolver that keeps where the live name led asks for that intermediate name, so it stays until no resolver does.
func TestLeavesLast(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	r := router(t, options(b))
	apply(t, r, two("g1"))
	stayed := make(chan time.Duration)
	go func() {
		bindtest.Holds(time.Minute, func() bool { return !strings.Contains(b.Answers(host), "shop.g1") })
		moved := time.Now()
		bindtest.Holds(time.Minute, func() bool { return b.Answers("shop.g1.example.com") == "" })
		stayed <- time.Since(moved)
	}()
	apply(t, r, traffic.Route{Host: host, Sides: []traffic.Side{side("g2", 100, "10.0.2.1")}})
	if d := <-stayed; d < time.Second {
		t.Errorf("the name of the old generation stayed %v after the users left, want the TTL waited out", d)
	}
}

// TestLeading: who may still lead users to a generation that has none.
func TestLeading(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "")
	r := router(t, options(b))
	leading := func(generation string) string {
		who, err := r.Leading(t.Context(), host, generation)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(who, "; ")
	}
	if got := leading("g1"); got != "" {
		t.Errorf("without a route: %s", got)
	}
	apply(t, r, two("g1"))
	if got := leading("g2"); got != "" {
		t.Errorf("to a generation that never had users: %s", got)
	}
	wanted := two("g2")
	wanted.Drain = 3 * time.Second
	apply(t, r, wanted)
	if got := leading("g1"); !strings.HasPrefix(got, "resolvers and requests under way, until ") {
		t.Errorf("while requests may be under way: %q", got)
	}
	if got := leading("g2"); got != "" {
		t.Errorf("to the one that has the users: %s", got)
	}
	until(t, 10*time.Second, "nobody leads to g1", func() bool { return leading("g1") == "" })
}

// TestResolvers moves users who ask three resolvers: one obeys the TTL, one caps it, one ignores it for a time. They are asked all the time, and
// nobody is ever without an answer.
func TestResolvers(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "shop 4 IN A 10.0.1.1\na-shop 60 IN TXT \"heritage=external-dns,external-dns/owner=crossfade-shop\"\n")
	obeys := bindtest.StartResolver(t, b, func(ttl time.Duration) time.Duration { return ttl })
	caps := bindtest.StartResolver(t, b, func(ttl time.Duration) time.Duration { return min(ttl, 500*time.Millisecond) })
	ignores := bindtest.StartResolver(t, b, func(time.Duration) time.Duration { return 7 * time.Second })
	all := []*bindtest.Resolver{obeys, caps, ignores}
	o := options(b)
	for _, r := range all {
		o.Resolvers = append(o.Resolvers, r.Address)
	}
	r := router(t, o)
	asked := make(chan map[string]int)
	stop := make(chan bool)
	go func() {
		answers := map[string]int{}
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			for _, r := range all {
				answers[r.Leads(host)]++
			}
			select {
			case <-stop:
				asked <- answers
				return
			case <-tick.C:
			}
		}
	}()
	apply(t, r, two("g1"))
	apply(t, r, two("g2"))
	for i, of := range all {
		if got := of.Leads(host); got != "10.0.2.1" {
			t.Errorf("it is in force, and resolver %d leads to %s", i, got)
		}
	}
	ignores.Keep(func(time.Duration) time.Duration { return time.Hour })
	until(t, 5*time.Second, "the resolver keeps an answer", func() bool { return ignores.Leads(host) == "10.0.2.1" })
	o.Wait = time.Second
	err := router(t, o).Apply(t.Context(), two("g1"))
	refused(t, "one that ignores the TTL", err, fault.Failed, "cannot lead all users of shop.example.com to g1", "resolver "+ignores.Address+" still answers shop.example.com by shop.g2.example.com")
	for _, other := range all[:2] {
		if strings.Contains(fmt.Sprint(err), other.Address) {
			t.Errorf("got %v, want nothing of the others", err)
		}
	}
	until(t, 10*time.Second, "only the one that ignores the TTL leads to g2", func() bool {
		who, err := r.Leading(t.Context(), host, "g2")
		return err == nil && len(who) == 1 && who[0] == "resolver "+ignores.Address+", which still answers by shop.g2.example.com"
	})
	o.Wait = 10 * time.Second
	apply(t, router(t, o), two("g2")) // it answers that anyway
	close(stop)
	for to, n := range <-asked {
		if !strings.HasPrefix(to, "10.0.1.") && to != "10.0.2.1" {
			t.Errorf("%d answers led to %s", n, to)
		}
	}
}

// TestLaggard: a server that is late hands out what is old, with its whole TTL, until it follows. The TTL is waited out from then on.
func TestLaggard(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "shop 4 IN A 10.0.1.1\na-shop 60 IN TXT \"heritage=external-dns,external-dns/owner=crossfade-shop\"\n")
	slow := bindtest.StartResolver(t, b, func(time.Duration) time.Duration { return 2500 * time.Millisecond }) // asks another that seldom
	o := options(b)
	o.TTL, o.Authorities = 2*time.Second, []string{b.Address, slow.Address}
	r := router(t, o)
	slow.Leads(host)
	apply(t, r, two("g1"))
	if got := (&bindtest.Server{Address: slow.Address}).TTL(t, host); got != 2 {
		t.Errorf("the last server answers with a TTL of %d seconds, want it lowered there, too", got)
	}
	followed := make(chan time.Time)
	go func() {
		bindtest.Holds(time.Minute, func() bool { return b.Answers(host) != "" && slow.Leads(host) == "10.0.2.1" })
		followed <- time.Now()
	}()
	apply(t, r, two("g2"))
	if d := time.Since(<-followed); d < 2*time.Second {
		t.Errorf("it was in force %v after the last server followed, want the TTL waited out since", d)
	}
	o.Wait = time.Second
	slow.Keep(func(time.Duration) time.Duration { return time.Hour })
	slow.Leads(host)
	refused(t, "one does not follow", router(t, o).Apply(t.Context(), two("g1")), fault.Failed, "server "+slow.Address+" still answers shop.example.com by shop.g2.example.com")
}

// TestLaggardLong: a server that is late for longer than the TTL hands out what is old until then, so the TTL is waited out from then on. So does
// who was stopped meanwhile and tries again, at once or once the TTL has passed.
func TestLaggardLong(t *testing.T) {
	t.Parallel()
	for reason, tc := range map[string]struct {
		stops bool
		pause time.Duration
	}{
		"in one go": {}, "stopped meanwhile": {stops: true}, "stopped for longer than the TTL": {stops: true, pause: 3500 * time.Millisecond},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			b := bindtest.Start(t, "")
			slow := bindtest.StartResolver(t, b, func(time.Duration) time.Duration { return 6 * time.Second }) // asks another that seldom
			o := options(b)
			o.TTL, o.Authorities = 2*time.Second, []string{b.Address, slow.Address}
			r := router(t, o)
			apply(t, r, two("g1"))
			slow.Forget()
			slow.Leads(host)
			followed := make(chan time.Time, 1)
			go func() {
				bindtest.Holds(time.Minute, func() bool { return slow.Leads(host) == "10.0.2.1" })
				followed <- time.Now()
			}()
			if tc.stops {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				r.Tell(func(string, ...any) { stop() })
				if err := r.Apply(ctx, two("g2")); !errors.Is(err, context.Canceled) || b.Leads(t, host) != "10.0.2.1 shop.g2.example.com" {
					t.Fatalf("got %v, want it stopped once the users were moved", err)
				}
				stopped := time.Now()
				until(t, time.Minute, "the pause is over", func() bool { return time.Since(stopped) > tc.pause })
			}
			apply(t, router(t, o), two("g2"))
			if d := time.Since(<-followed); d < 2*time.Second {
				t.Errorf("it was in force %v after the last server followed, want the TTL waited out since", d)
			}
		})
	}
}

// TestLaggardBack: a server that lags after a move has the TTL of now all the same, so on the way back the TTL of before is not waited out again.
func TestLaggardBack(t *testing.T) {
	t.Parallel()
	const before = 8 // seconds
	b := bindtest.Start(t, fmt.Sprintf("shop %d IN A 10.0.1.1\na-shop 60 IN TXT \"heritage=external-dns,external-dns/owner=crossfade-shop\"\n", before))
	slow := bindtest.StartResolver(t, b, func(time.Duration) time.Duration { return time.Second }) // asks another that seldom
	asked := make(chan bool)
	t.Cleanup(func() { <-asked })
	go func() {
		defer close(asked)
		bindtest.Holds(time.Minute, func() bool {
			slow.Leads(host) // so that it always has something old
			return t.Context().Err() != nil
		})
	}()
	o := options(b)
	o.TTL, o.Authorities = 2*time.Second, []string{b.Address, slow.Address}
	r := router(t, o)
	apply(t, r, two("g1"))
	apply(t, r, two("g2"))
	start := time.Now()
	if apply(t, r, two("g1")); time.Since(start) > (before-1)*time.Second {
		t.Errorf("the way back took %v", time.Since(start))
	}
}

// TestBackSoon: a server that is gone right after a move does not stand in the way back, though answers with the TTL of before have not all run out.
func TestBackSoon(t *testing.T) {
	t.Parallel()
	b := bindtest.Start(t, "shop 6 IN A 10.0.1.1\na-shop 60 IN TXT \"heritage=external-dns,external-dns/owner=crossfade-shop\"\n")
	second := bindtest.StartResolver(t, b, func(time.Duration) time.Duration { return 0 })
	o := options(b)
	o.TTL, o.Wait, o.Authorities = 4*time.Second, time.Second, []string{b.Address, second.Address}
	r := router(t, o)
	apply(t, r, two("g1"))
	gone := make(chan bool)
	go func() {
		bindtest.Holds(time.Minute, func() bool { return strings.Contains(b.Answers(host), "shop.g2") })
		second.Stop()
		close(gone)
	}()
	refused(t, "one is gone", r.Apply(t.Context(), two("g2")), fault.Failed, "server "+second.Address+" does not answer")
	<-gone
	refused(t, "the way back", r.Apply(t.Context(), two("g1")), fault.Failed, "server "+second.Address+" does not answer")
	if got := b.Leads(t, host); got != "10.0.1.1 10.0.1.2 shop.g1.example.com" {
		t.Errorf("it leads to %s, want the way back", got)
	}
}

// TestNameServers: the servers of the zone's NS records must answer what is new, which may take them a while.
func TestNameServers(t *testing.T) {
	t.Parallel()
	second := bindtest.New(t)
	b := bindtest.New(t)
	b.Primary(t, "ns2 60 IN A 127.0.0.1\n", second)
	b.Change(t, "example.com. 60 IN NS ns2.example.com.")
	b.Remove(t, "example.com. 0 IN NS ns1.example.com.")
	second.Secondary(t, b)
	o := options(b)
	o.Authorities = nil
	r := router(t, o)
	_, port, _ := net.SplitHostPort(second.Address)
	r.AskAt(port)
	for _, live := range []string{"g1", "g2"} {
		apply(t, r, two(live))
		if got, want := second.Leads(t, host), b.Leads(t, host); got != want {
			t.Errorf("it is in force, and the second server leads to %s, not %s", got, want)
		}
	}
	second.Stop()
	r.With(func(o *dns.Options) { o.Wait = time.Second })
	refused(t, "one is gone", r.Apply(t.Context(), two("g1")), fault.Failed, "server ns2.example.com (127.0.0.1) does not answer")
	if got := b.Leads(t, host); !strings.Contains(got, "shop.g1.example.com") {
		t.Errorf("a server that is gone kept the users where they were: %s", got)
	}
	b.Change(t, "example.com. 60 IN NS ns.example.invalid.")
	refused(t, "one has no address", r.Apply(t.Context(), two("g1")), fault.Unavailable, "there is no address of its name server ns.example.invalid")
}
