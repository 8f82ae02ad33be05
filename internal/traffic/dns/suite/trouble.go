package suite

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
)

// stopping is a backend whose user is stopped at one of the changes: before it, or after it was made and before anybody knows.
type stopping struct {
	dns.Backend
	at    int // the how manieth change
	after bool
	made  int
}

type stoppingSession struct {
	dns.Session
	of *stopping
}

// Open counts the changes of the session.
func (s *stopping) Open(ctx context.Context) (dns.Session, error) {
	session, err := s.Backend.Open(ctx)
	return stoppingSession{session, s}, err
}

// Change changes, or stops.
func (s stoppingSession) Change(ctx context.Context, have, want dns.Records) error {
	s.of.made++
	if s.of.made < s.of.at {
		return s.Session.Change(ctx, have, want)
	}
	if s.of.after {
		if err := s.Session.Change(ctx, have, want); err != nil {
			return err
		}
	}
	return fault.New(fault.Unavailable, "stopped at change %d", s.of.at)
}

// stopped stops an Apply at each of its changes, before and after it took effect. Whatever it had done, all names that led somewhere
// lead somewhere, and the next Apply completes it. So does another route that is applied instead, and nothing is left over.
func stopped(t *testing.T, p Peer) {
	z := p.Start(t, "")
	r := Router(t, z)
	share := 0
	Apply(t, r, Between(share))
	end := asking(t, z, time.Millisecond) // for a minute, beside other tests
	changes := 0
	for i := range 100 {
		stands := Between(share)
		stands.Sides, stands.PreLive = append(stands.Sides, Side("h00", 0, "10.0.3.1")), "h00" // which goes
		Apply(t, r, stands)
		share = 100 - share
		s := &stopping{Backend: z.Backend, at: i/2 + 1, after: i%2 == 1}
		reason := fmt.Sprintf("change %d, after: %t", s.at, s.after)
		want := Between(share)
		want.Sides = append(want.Sides, Side("h01", 0, "10.0.3.1")) // comes
		want.PreLive = "h01"
		err := router(t, z, s).Apply(t.Context(), want)
		if err == nil {
			changes = s.at - 1
			break
		}
		somewhere(t, reason, z, Observed(t, r, host))
		if i%4 > 1 { // what was begun is left, and another route comes instead
			share = 100 - share
			want = Between(share)
		}
		Apply(t, r, want)
		if diff := cmp.Diff(&want, Observed(t, r, host)); diff != "" {
			t.Fatalf("%s (-applied +observed):\n%s", reason, diff)
		}
		if all := strings.Join(z.All(t), "\n"); len(want.Sides) == 2 && strings.Contains(all, ".h") {
			t.Fatalf("%s: something is left of what was begun:\n%s", reason, all)
		}
	}
	t.Logf("stopped at each of %d changes", changes)
	if changes < 3 {
		t.Errorf("there were only %d changes to stop at", changes)
	}
	for to, n := range end() {
		if !strings.HasPrefix(to, "10.0.1.") && to != "10.0.2.1" {
			t.Errorf("%d answers led to %s", n, to)
		}
	}
}

// removeStopped stops a Remove at each of its changes, before and after it took effect. The next Remove completes it, and nothing is left, but
// where the live name led before there was a route, with who owns that.
func removeStopped(t *testing.T, p Peer) {
	for reason, tc := range map[string]struct{ zone, leads string }{
		"led":           {"", "10.0.1.1 10.0.1.2 shop.g1.example.com"},
		"led as before": {"shop 1 IN CNAME www\ncname-shop 1 IN TXT " + ours + "\n", "10.9.9.9 www.example.com"},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			z := p.Start(t, tc.zone)
			before := z.All(t)
			r := Router(t, z)
			route := Between(0)
			if tc.zone != "" {
				route.Sides[0].Weight = 0
			}
			for i := range 100 {
				Apply(t, r, route)
				if got := z.Server.Leads(t, host); got != tc.leads {
					t.Fatalf("it leads to %s, want %s", got, tc.leads)
				}
				s := &stopping{Backend: z.Backend, at: i/2 + 1, after: i%2 == 1}
				err := router(t, z, s).Remove(t.Context(), host)
				if err := r.Remove(t.Context(), host); err != nil {
					t.Fatalf("%v (%s)", err, fault.HintOf(err))
				}
				if diff := cmp.Diff(before, z.All(t)); diff != "" {
					t.Fatalf("change %d, after: %t (-before +after the route was removed):\n%s", s.at, s.after, diff)
				}
				if err == nil {
					t.Logf("stopped at each of %d changes", s.at-1)
					return
				}
			}
		})
	}
}

// back: one of the zone's servers is gone, or has lost the zone, once the users were moved. They are moved back all the same, to what of their generation
// is there by now, and the server is named.
func back(t *testing.T, p Peer) {
	for says, end := range map[string]func(*bindtest.Resolver){
		"does not answer": (*bindtest.Resolver).Stop,
		"answers shop.example.com nowhere (SERVFAIL)": (*bindtest.Resolver).Lose,
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			backWithout(t, p, says, end)
		})
	}
}

func backWithout(t *testing.T, p Peer, says string, end func(*bindtest.Resolver)) {
	t.Helper()
	z := p.Start(t, "")
	second := bindtest.StartResolver(t, z.Server, func(time.Duration) time.Duration { return 0 })
	o := options(z)
	o.Wait, o.Authorities = time.Second, append(o.Authorities, second.Address)
	r, err := dns.New(o, z.Backend)
	if err != nil {
		t.Fatal(err)
	}
	Apply(t, r, Between(0))
	Apply(t, r, Between(100))
	end(second)
	want := Between(0)
	want.Sides[0] = Side("g1", 100, "10.0.1.1", "10.0.1.3")
	err = r.Apply(t.Context(), want)
	if says := "server " + second.Address + " " + says; fault.CodeOf(err) != fault.Failed || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("got %v (%s), want %s that says %q", err, fault.CodeOf(err), fault.Failed, says)
	}
	if got := z.Server.Leads(t, host); got != "10.0.1.1 10.0.1.3 shop.g1.example.com" {
		t.Errorf("it leads to %s, want the way back", got)
	}
}

// somewhere wants both names of a route to lead to addresses, and the route to lead all users.
func somewhere(t *testing.T, reason string, z *Zone, seen *traffic.Route) {
	t.Helper()
	for _, name := range []string{host, preLiveHost} {
		if answer, err := z.Server.Query(name, wire.TypeA); err != nil || len(answer.Answer) < 2 {
			t.Errorf("%s: %s leads nowhere: %v %v", reason, name, answer, err)
		}
	}
	if seen == nil || !whole(seen) {
		t.Errorf("%s: the route is %+v", reason, seen)
	}
}

// whole reports whether a route leads all users, to sides with endpoints.
func whole(r *traffic.Route) bool {
	total := 0
	for _, s := range r.Sides {
		if total += s.Weight; s.Weight > 0 && len(s.Endpoints) == 0 {
			return false
		}
	}
	return total == 100
}

// owners: records of others are refused with who owns them, and left as they are; those that were handed over are led.
func owners(t *testing.T, p Peer) {
	const theirs = `"heritage=external-dns,external-dns/owner=cluster-a,external-dns/resource=ingress/shop/web"`
	for reason, tc := range map[string]struct {
		zone string // what is there
		says string // "" where the route is taken
	}{
		"external-dns":           {"shop 1 IN A 10.0.1.1\na-shop 1 IN TXT " + theirs, `shop.example.com: it belongs to the owner "cluster-a"`},
		"external-dns, a CNAME":  {"shop 1 IN CNAME www\ncname-shop 1 IN TXT " + theirs, `it belongs to the owner "cluster-a"`},
		"the pre-live name":      {"next.shop 1 IN A 10.0.1.1\na-next.shop 1 IN TXT " + theirs, `next.shop.example.com: it belongs to the owner "cluster-a"`},
		"another Crossfade":      {`_crossfade.shop 1 IN TXT "owner=crossfade-other&live=g1&side=g1"`, "its route belongs to the owner crossfade-other"},
		"nobody's":               {"shop 1 IN A 10.0.1.1", "shop.example.com: nobody owns its records, and they lead elsewhere"},
		"a text in the registry": {`cname-shop 1 IN TXT "hello"`, "at cname-shop.example.com: there is a TXT record of somebody else"},
		"mail beside it":         {"shop 1 IN MX 10 www", "shop.example.com has other records"},
		"a wildcard's":           {"* 1 IN A 10.9.9.9", "users may reach it by a wildcard of the zone"},
		"a wildcard's, a CNAME":  {"* 1 IN CNAME www", "users may reach it by a wildcard of the zone"},
		"not a wildcard's":       {"* 1 IN A 10.9.9.9\nwww.shop 1 IN A 10.9.9.9", ""}, // for there is a name below it
		"mail of a wildcard":     {"* 1 IN MX 10 www\n* 1 IN TXT hello\n*.g1 1 IN MX 10 www", ""},
		"mail beside a wildcard": {"* 1 IN MX 10 www\nshop 1 IN MX 20 mail", "shop.example.com has other records"},
		"handed over, a CNAME":   {"shop 1 IN CNAME www\ncname-shop 1 IN TXT " + ours, ""},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			z := p.Start(t, tc.zone+"\n")
			before, led := z.All(t), z.Server.Leads(t, host)
			end := asking(t, z, 0)
			err := Router(t, z).Apply(t.Context(), Between(0))
			answers := end()
			if tc.says == "" {
				if err != nil {
					t.Fatalf("%v (%s)", err, fault.HintOf(err))
				}
				if got := z.Server.Leads(t, host); got != "10.0.1.1 10.0.1.2 shop.g1.example.com" {
					t.Errorf("it leads to %s", got)
				}
				for to, n := range answers {
					if led != "" && !strings.HasPrefix(to, "10.") {
						t.Errorf("%d answers led to %s", n, to)
					}
				}
				return
			}
			if fault.CodeOf(err) != fault.Refused || fault.HintOf(err) == "" || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("got %v (%s, hint %q), want %s that says %q", err, fault.CodeOf(err), fault.HintOf(err), fault.Refused, tc.says)
			}
			if got := z.Server.Leads(t, host); got != led {
				t.Errorf("it leads to %q, want %q as before", got, led)
			}
			for _, line := range before {
				if !strings.Contains(strings.Join(z.All(t), "\n"), line) {
					t.Errorf("%s is gone", line)
				}
			}
		})
	}
}
