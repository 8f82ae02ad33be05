package rfc2136

import (
	"testing"

	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/suite"
)

// TestSuite runs the suite of all backends on a real BIND.
func TestSuite(t *testing.T) {
	suite.Run(t, suite.Peer{Start: func(t *testing.T, more string) *suite.Zone {
		t.Helper()
		b := bindtest.Start(t, more)
		backend, err := New(Options{
			Zone: bindtest.Zone, Server: b.Address, Key: Key{Name: bindtest.Key, Algorithm: "hmac-sha256", Secret: bindtest.Secret},
		})
		if err != nil {
			t.Fatal(err)
		}
		return &suite.Zone{Backend: backend, Server: b, All: b.All, Writes: b.Serial}
	}})
}
