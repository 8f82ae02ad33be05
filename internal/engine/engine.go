// Package engine is the durable engine underneath the runbooks: Temporal, either the bundled crossfade-engine of a state
// directory or a Temporal cluster of the user's own. It starts and finds the bundled one, keeps it alive while it is used,
// encrypts what goes in, and translates errors. Nothing but it and runbook imports Temporal.
package engine

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Namespace is where all workflows of Crossfade are, in the bundled engine as in a cluster.
const Namespace = "crossfade"

// openLimit bounds the start of the bundled engine, on a machine that is busy with other things.
const openLimit = 60 * time.Second

// Options say which engine to use.
type Options struct {
	// StateDir is the state directory. The engine's files are in its directory engine, which is made if need be.
	StateDir string
	// TemporalAddress is the host:port of a Temporal cluster to use instead of the bundled engine; "" for the bundled one.
	// TLS and keys are taken from Temporal's own environment variables, see clusterTLS.
	TemporalAddress string
	// Program is the path of crossfade-engine; "" to find it with the other bundles.
	Program string
	// Logger gets what the SDK has to say; nil for nobody. It gets the texts of errors, and never payloads.
	Logger *slog.Logger
}

// Engine is a connection to the durable engine. Its methods may be called from any goroutine until Close.
type Engine struct {
	client client.Client
	data   converter.DataConverter
	codec  converter.PayloadCodec
	dir    directory
	log    *slog.Logger
	close  func()
}

// Open connects to the engine; the bundled one is started when it does not run. While it is open, a bundled engine that died
// is started again within about a second, and whatever uses the Engine carries on. Any number of processes may open the same
// state directory: they share one engine. It is of code Unavailable when the engine does not come up, or the cluster does not answer.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := prepare(ctx, o.StateDir)
	if err != nil {
		return nil, err
	}
	key, err := dir.payloadKey(ctx)
	if err != nil {
		return nil, err
	}
	codec, err := newCodec(key)
	if err != nil {
		return nil, err
	}
	e := &Engine{codec: codec, data: converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), codec), dir: dir, log: o.Logger}
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	if o.TemporalAddress != "" {
		err = e.openCluster(ctx, o.TemporalAddress)
	} else {
		err = e.openBundled(ctx, o.Program)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Close lets go of the engine. The bundled one ends some seconds later when no workflow is open and nobody else uses it.
// Workers must have ended before. It may be called more than once.
func (e *Engine) Close() { e.close() }

// clientOptions are the SDK's options that both kinds of engine share.
func (e *Engine) clientOptions(address string, connection client.ConnectionOptions) client.Options {
	return client.Options{
		HostPort: address, Namespace: Namespace, ConnectionOptions: connection,
		Logger:        sdklog.NewStructuredLogger(e.log),
		DataConverter: e.data,
		// The text of errors is encrypted too.
		FailureConverter: temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
			DataConverter: e.data, EncodeCommonAttributes: true,
		}),
	}
}

// openBundled connects to crossfade-engine, starting it if need be, and keeps it alive until Close.
func (e *Engine) openBundled(ctx context.Context, program string) error {
	identity, err := e.dir.identity(ctx)
	if err != nil {
		return err
	}
	b, err := newBundled(e.dir, program, e.log)
	if err != nil {
		return err
	}
	presence, err := e.dir.join(ctx)
	if err != nil {
		return err
	}
	c, err := b.connect(ctx, e.clientOptions(bundledTarget, b.connection(identity)))
	if err != nil {
		presence.Close()
		return err
	}
	stop := b.keepAlive()
	e.client = c
	e.close = sync.OnceFunc(func() {
		stop()
		c.Close()
		presence.Close()
	})
	return nil
}

// Claim takes the exclusive right, among all processes that use the state directory, to do the named thing: for example to
// work for one run. The error is of code Locked when another living process has it. Closing the claim gives it back, and so
// does the end of the process, however it ends.
func (e *Engine) Claim(name string) (io.Closer, error) {
	claims := e.dir.file("claims")
	if err := os.MkdirAll(claims, 0o700); err != nil {
		return nil, fault.New(fault.Failed, "cannot make the directory of claims: %w", err)
	}
	lock, err := tryLock(filepath.Join(claims, fileName(name)))
	if err != nil {
		return nil, err
	}
	if lock == nil {
		return nil, fault.New(fault.Locked, "cannot work on %s: another crossfade process is at it", name)
	}
	return lock, nil
}
