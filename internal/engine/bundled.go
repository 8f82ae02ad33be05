package engine

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/process"
)

const (
	programName = "crossfade-engine"
	// bundledTarget keeps gRPC from resolving anything: each new connection asks the address file.
	bundledTarget = "passthrough:///" + serverName

	connectLimit   = 2 * time.Second        // for a connection, which another program at a stale address may never answer
	lookInterval   = 100 * time.Millisecond // between looks whether the engine's process lives
	attemptLimit   = 5 * time.Second        // for one engine to answer, before looking at it again
	maxDeaths      = 5                      // engines that may die before they answer until Open gives up
	maxRestartWait = 2 * time.Second        // between restarts of an engine that keeps dying
)

// bundled is the crossfade-engine of one directory.
type bundled struct {
	daemon process.Daemon
	dir    directory
	log    *slog.Logger
}

func newBundled(dir directory, program string, log *slog.Logger) (*bundled, error) {
	if program == "" {
		found, err := bundle.Program(programName)
		if err != nil {
			return nil, err
		}
		program = found
	}
	return &bundled{dir: dir, log: log, daemon: daemon(dir, program)}, nil
}

func daemon(dir directory, program string) process.Daemon {
	return process.Daemon{Name: programName, Dir: string(dir), Command: []string{program, "--dir", string(dir)}}
}

// Stop ends the bundled engine of a state directory, if one runs, and leaves its data. Open runs go on when it is next opened.
// Others that use it start it again at once: it is for when nobody does, after a demonstration or a test.
func Stop(ctx context.Context, stateDir string) error {
	dir, err := prepare(ctx, stateDir)
	if err != nil {
		return err
	}
	if err := daemon(dir, programName).Stop(ctx, 5*time.Second); err != nil {
		return fault.New(fault.Failed, "%w", err)
	}
	return nil
}

// connection says how to reach the engine, also after it was started again at another port: calls wait until it is there.
func (b *bundled) connection(identity *tls.Config) client.ConnectionOptions {
	retry := backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 200 * time.Millisecond}
	return client.ConnectionOptions{
		TLS:             identity,
		GrpcCompression: &client.GrpcCompressionNone{}, // it never leaves the machine
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(b.dial),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: connectLimit}),
			grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		},
	}
}

func (b *bundled) dial(ctx context.Context, _ string) (net.Conn, error) {
	address, err := os.ReadFile(b.dir.file(addressFile))
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp4", strings.TrimSpace(string(address)))
}

// connect starts the engine if it does not run, and returns a client once it answers.
func (b *bundled) connect(ctx context.Context, o client.Options) (client.Client, error) {
	for deaths := 0; ; {
		if _, err := b.daemon.Start(ctx); err != nil {
			return nil, fault.New(fault.Unavailable, "%w", err)
		}
		attempt, cancel := context.WithTimeout(ctx, attemptLimit)
		go b.whileAlive(attempt, cancel)
		c, err := client.DialContext(attempt, o)
		cancel()
		if err == nil {
			return c, nil
		}
		if b.daemon.Find() == 0 {
			deaths++
		}
		if deaths == maxDeaths || ctx.Err() != nil {
			return nil, b.startError(err)
		}
	}
}

// whileAlive calls the function when the engine's process has ended, and returns then or when the context ends.
func (b *bundled) whileAlive(ctx context.Context, ended func()) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if b.daemon.Find() == 0 {
				ended()
				return
			}
		}
	}
}

// keepAlive starts the engine again whenever it dies, until the returned function is called, which waits for the last look.
func (b *bundled) keepAlive() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		wait := lookInterval
		for ctx.Err() == nil {
			began := time.Now()
			b.whileAlive(ctx, func() { b.restart(ctx) })
			if time.Since(began) > 10*maxRestartWait {
				wait = lookInterval
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			wait = min(2*wait, maxRestartWait)
		}
	})
	return func() { cancel(); done.Wait() }
}

func (b *bundled) restart(ctx context.Context) {
	b.log.Warn("the engine died and is started again", "last", b.lastWords())
	if _, err := b.daemon.Start(ctx); err != nil && ctx.Err() == nil {
		b.log.Error("cannot start the engine again", "error", err)
	}
}

// startError says why the engine does not come up, in its own last words if it had any.
func (b *bundled) startError(err error) error {
	last := b.lastWords()
	if last == "" {
		last = err.Error()
	}
	return fault.New(fault.Unavailable, "cannot start the engine in %s: %s", b.dir, last).
		WithHint("%s", b.dir.hint("its log is "+b.daemon.LogFile()))
}

// lastWords returns the last line of the engine's log.
func (b *bundled) lastWords() string {
	raw, err := os.ReadFile(b.daemon.LogFile())
	if err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	return string(lines[len(lines)-1])
}
