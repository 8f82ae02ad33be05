package route53

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/traffic/dns/suite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSuite runs the suite of all backends on a server of ours that speaks the wire format of Route 53 and keeps its rules.
func TestSuite(t *testing.T) {
	suite.Run(t, suite.Peer{Weighs: true, Start: func(t *testing.T, more string) *suite.Zone {
		t.Helper()
		a := startAmazon(t, more)
		return &suite.Zone{Backend: a.backend(), Server: a.dns, All: a.all, Writes: a.writes}
	}})
}
