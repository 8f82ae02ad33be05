package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Temporal's own names for the environment variables that say how to reach a cluster.
const (
	caVariable         = "TEMPORAL_TLS_SERVER_CA_CERT_PATH"
	certVariable       = "TEMPORAL_TLS_CLIENT_CERT_PATH"
	keyVariable        = "TEMPORAL_TLS_CLIENT_KEY_PATH"
	serverNameVariable = "TEMPORAL_TLS_SERVER_NAME"
	tlsVariable        = "TEMPORAL_TLS" // "true" for TLS with the machine's own authorities
	apiKeyVariable     = "TEMPORAL_API_KEY"
)

// retention is how long a cluster keeps the histories of closed workflows, when we make the namespace. It is the bundled
// engine's too.
const retention = 30 * 24 * time.Hour

// openCluster connects to a Temporal cluster of the user's own, and makes the namespace if it is missing.
func (e *Engine) openCluster(ctx context.Context, address string) error {
	tlsConfig, err := clusterTLS(os.Getenv)
	if err != nil {
		return err
	}
	options := e.clientOptions(address, client.ConnectionOptions{TLS: tlsConfig})
	if key := os.Getenv(apiKeyVariable); key != "" {
		options.Credentials = client.NewAPIKeyStaticCredentials(key)
	}
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return fault.New(fault.Unavailable, "cannot reach Temporal at %s: %w", address, err).
			WithHint("check --temporal, and %s if it speaks TLS", caVariable)
	}
	if err := ensureNamespace(ctx, c, Namespace); err != nil {
		c.Close()
		return fault.New(fault.Unavailable, "cannot use the namespace %s of Temporal at %s: %w", Namespace, address, err).
			WithHint("create it with `temporal operator namespace create %s`", Namespace)
	}
	e.client, e.close = c, sync.OnceFunc(c.Close)
	return nil
}

// clusterTLS reads the TLS settings from the environment; nil when there are none.
func clusterTLS(env func(string) string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: env(serverNameVariable)}
	used := env(tlsVariable) == "true" || env(apiKeyVariable) != "" || cfg.ServerName != ""
	if file := env(caVariable); file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fault.New(fault.Invalid, "cannot read the authority of Temporal: %w", err).WithHint("check %s", caVariable)
		}
		used, cfg.RootCAs = true, x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(raw) {
			return nil, fault.New(fault.Invalid, "cannot use the authority of Temporal: no certificate in %s", file).
				WithHint("check %s", caVariable)
		}
	}
	if file := env(certVariable); file != "" {
		pair, err := tls.LoadX509KeyPair(file, env(keyVariable))
		if err != nil {
			return nil, fault.New(fault.Invalid, "cannot read the certificate for Temporal: %w", err).
				WithHint("check %s and %s", certVariable, keyVariable)
		}
		used, cfg.Certificates = true, []tls.Certificate{pair}
	}
	if !used {
		return nil, nil //nolint:nilnil // nil means: no TLS, and that is documented
	}
	return cfg, nil
}

// ensureNamespace makes the namespace if it is missing, and waits until the cluster has noticed.
func ensureNamespace(ctx context.Context, c client.Client, namespace string) error {
	count := func() (bool, error) {
		_, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: namespace})
		if _, missing := errors.AsType[*serviceerror.NamespaceNotFound](err); missing {
			return false, nil
		}
		return err == nil, err
	}
	if there, err := count(); there || err != nil {
		return err
	}
	_, err := c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: namespace, Description: "roll-overs and deploys of Crossfade",
		WorkflowExecutionRetentionPeriod: durationpb.New(retention),
	})
	if _, exists := errors.AsType[*serviceerror.NamespaceAlreadyExists](err); err != nil && !exists {
		return err
	}
	return observe(ctx, count)
}
