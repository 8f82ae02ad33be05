package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"go.temporal.io/server/common/rpc/encryption"
)

// serverName is what the certificate is made out to; both sides know it.
const serverName = "crossfade-engine"

// identity is the one certificate and key that the engine and its clients share: it is its own and only authority, so that
// whoever can read the directory can talk to the engine, and nobody else, on every port it opens.
type identity struct {
	certificate tls.Certificate
	authority   *x509.CertPool
}

var _ encryption.TLSConfigProvider = identity{}

func loadIdentity(d directory) (identity, error) {
	pair, err := tls.LoadX509KeyPair(d.file(identityFile), d.file(identityFile))
	if err != nil {
		return identity{}, fmt.Errorf("cannot load the engine's key: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	return identity{certificate: pair, authority: pool}, nil
}

func (i identity) server() (*tls.Config, error) {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.certificate},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: i.authority,
	}, nil
}

func (i identity) client() (*tls.Config, error) {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.certificate},
		RootCAs: i.authority, ServerName: serverName,
	}, nil
}

// GetInternodeServerConfig is for what history and matching listen with.
func (i identity) GetInternodeServerConfig() (*tls.Config, error) { return i.server() }

// GetInternodeClientConfig is for what the services call each other with.
func (i identity) GetInternodeClientConfig() (*tls.Config, error) { return i.client() }

// GetFrontendServerConfig is for what the frontend listens with.
func (i identity) GetFrontendServerConfig() (*tls.Config, error) { return i.server() }

// GetFrontendClientConfig is for what calls the frontend.
func (i identity) GetFrontendClientConfig() (*tls.Config, error) { return i.client() }

// GetRemoteClusterClientConfig is never asked for: there is one cluster.
func (i identity) GetRemoteClusterClientConfig(string) (*tls.Config, error) { return i.client() }

// GetExpiringCerts reports nothing: the certificate outlives the directory.
func (i identity) GetExpiringCerts(time.Duration) (expiring, expired encryption.CertExpirationMap, err error) {
	return nil, nil, nil
}
