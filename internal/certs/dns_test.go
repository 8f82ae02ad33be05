package certs

import (
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/certs/pebbletest"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/rfc2136"
)

// zone is a router of a BIND.
func zone(t *testing.T, b *bindtest.Server, wait time.Duration, authorities ...string) *dns.Router {
	t.Helper()
	backend, err := rfc2136.New(rfc2136.Options{
		Zone: bindtest.Zone, Server: b.Address, Key: rfc2136.Key{Name: bindtest.Key, Algorithm: "hmac-sha256", Secret: bindtest.Secret},
	})
	ok(t, err)
	r, err := dns.New(dns.Options{
		Zone: bindtest.Zone, Owner: "crossfade-shop", TTL: time.Second, Wait: wait, Authorities: authorities, Resolvers: []string{b.Address},
	}, backend)
	ok(t, err)
	return r
}

// TestObtainByDNS proves a name, its wildcard, and a name whose challenge a CNAME leads elsewhere, by the records of a BIND.
func TestObtainByDNS(t *testing.T) {
	b := bindtest.Start(t, "_acme-challenge.led IN CNAME proofs\n")
	before := strings.Join(b.All(t), "\n")
	s := newScene(t, pebbletest.Options{DNS: b.Address})
	r := s.request(t, "shop.example.com", "*.shop.example.com", "led.example.com")
	r.Prover = &DNS{Zone: zone(t, b, 10*time.Second, b.Address)}
	p, err := r.Obtain(t.Context())
	ok(t, err)
	if why := p.Unfit(r.Of.Names, time.Now()); why != "" {
		t.Error(why)
	}
	s.asked(t, "by DNS", 1, 1)
	if after := strings.Join(b.All(t), "\n"); after != before {
		t.Errorf("the zone has\n%s\nand had\n%s", after, before)
	}
}

// TestNotSeen tells the CA nothing while one of the authoritative servers does not answer the record.
func TestNotSeen(t *testing.T) {
	b, late := bindtest.Start(t, ""), bindtest.Start(t, "")
	before := strings.Join(b.All(t), "\n")
	s := newScene(t, pebbletest.Options{DNS: b.Address})
	r := s.request(t, "shop.example.com")
	r.Prover = &DNS{Zone: zone(t, b, time.Second, b.Address, late.Address)}
	_, err := r.Obtain(t.Context())
	refused(t, "one is late", err, fault.Failed, "shop.example.com", late.Address+" does not answer the TXT record yet")
	if n := s.ca.Asked(pebbletest.Challenge); n != 0 {
		t.Errorf("the CA was told of %d challenges", n)
	}
	if after := strings.Join(b.All(t), "\n"); after != before {
		t.Errorf("the proof stays in the zone:\n%s", after)
	}
	r.Prover = &DNS{Zone: zone(t, b, 10*time.Second, b.Address)}
	_, err = r.Obtain(t.Context())
	ok(t, err)
	s.asked(t, "the same order goes on", 1, 1)
}
