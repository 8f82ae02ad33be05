package route53

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/route53/route53test"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/suite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSuite runs the suite of all backends on a server of ours that speaks the wire format of Route 53 and keeps its rules.
func TestSuite(t *testing.T) {
	suite.Run(t, suite.Peer{Weighs: true, Start: func(t *testing.T, more string) *suite.Zone {
		t.Helper()
		return zoneOf(route53test.Start(t, more))
	}})
}

// backendOf is one that speaks to a server of ours.
func backendOf(a *route53test.Server) *Backend {
	return with(Options{Zone: bindtest.Zone, HostedZone: route53test.HostedZone}, aws.Config{
		Region: region, BaseEndpoint: &a.HTTP.URL, HTTPClient: a.HTTP.Client(),
		Credentials: credentials.NewStaticCredentialsProvider(route53test.KeyID, route53test.Secret, ""),
	})
}

func zoneOf(a *route53test.Server) *suite.Zone {
	return &suite.Zone{Backend: backendOf(a), Server: a.DNS, All: a.All, Writes: a.Writes}
}
