package azure

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/traffic/dns/azure/azuretest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/bindtest"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns/suite"
)

// TestMain runs many tests at once: they wait for TTLs most of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// TestSuite runs the suite of all backends on a server of ours that speaks the wire format of Azure DNS and keeps its rules.
func TestSuite(t *testing.T) {
	t.Parallel()
	suite.Run(t, suite.Peer{Start: func(t *testing.T, more string) *suite.Zone {
		t.Helper()
		return zoneOf(t, azuretest.Start(t, more))
	}})
}

// TestManaged runs the suite with shares, on a server of ours that speaks the wire format of Traffic Manager, too.
func TestManaged(t *testing.T) {
	t.Parallel()
	suite.Run(t, suite.Peer{Weighs: true, Start: func(t *testing.T, more string) *suite.Zone {
		t.Helper()
		return managed(t, azuretest.Start(t, more))
	}})
}

// managed is a zone whose users have shares by Traffic Manager.
func managed(t *testing.T, a *azuretest.Server) *suite.Zone {
	t.Helper()
	o := options()
	o.TrafficManager = true
	b := backendOf(t, a, o, token(azuretest.Token))
	b.relays, b.settles = []string{a.Relay.Address}, time.Millisecond
	return &suite.Zone{Backend: b, Server: a.DNS, All: a.All, Writes: a.Writes}
}

// token is a credential that has one.
type token string

// GetToken returns it.
func (t token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// options are those of a zone of a server of ours.
func options() Options {
	return Options{Zone: bindtest.Zone, Subscription: azuretest.Subscription, ResourceGroup: azuretest.ResourceGroup}
}

// backendOf is one that speaks to a server of ours.
func backendOf(t *testing.T, a *azuretest.Server, o Options, credential azcore.TokenCredential) *Backend {
	t.Helper()
	b, err := with(o, credential, arm.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: a.HTTP.Client(),
		Cloud: cloud.Configuration{Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
			cloud.ResourceManager: {Endpoint: a.HTTP.URL, Audience: "https://management.azure.com"},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func zoneOf(t *testing.T, a *azuretest.Server) *suite.Zone {
	t.Helper()
	return &suite.Zone{Backend: backendOf(t, a, options(), token(azuretest.Token)), Server: a.DNS, All: a.All, Writes: a.Writes}
}
