package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// idleWatch notices when nobody needs the engine: no client holds the clients' lock, and no workflow is open.
type idleWatch struct {
	dir  directory
	conn *grpc.ClientConn
	open func(context.Context) (bool, error) // whether any workflow is open
}

func newIdleWatch(d directory, id identity, frontend string) (*idleWatch, error) {
	cfg, err := id.client()
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(frontend, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		return nil, fmt.Errorf("cannot reach the engine's own frontend: %w", err)
	}
	frontendClient := workflowservice.NewWorkflowServiceClient(conn)
	open := func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		reply, err := frontendClient.CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Namespace: namespace, Query: "ExecutionStatus = 'Running'",
		})
		return reply.GetCount() > 0, err
	}
	return &idleWatch{dir: d, conn: conn, open: open}, nil
}

func (w *idleWatch) close() { w.conn.Close() }

// wait returns when nobody has needed the engine for the quiet time, or the context ended. In the first case it returns the
// clients' lock, taken: no client can come any more.
func (w *idleWatch) wait(ctx context.Context, quiet time.Duration) (*os.File, error) {
	const looks = 5 // in the quiet time
	tick := time.NewTicker(quiet / looks)
	defer tick.Stop()
	for idle := 0; ; {
		select {
		case <-ctx.Done():
			return nil, nil //nolint:nilnil // nil means: ended from outside, and that is documented
		case <-tick.C:
		}
		lock, err := w.unneeded(ctx)
		switch {
		case err != nil:
			return nil, err
		case lock == nil:
			idle = 0
		default:
			if idle++; idle > looks {
				return lock, nil
			}
			lock.Close()
		}
	}
}

// unneeded returns the clients' lock, taken, when there is neither a client nor an open workflow, else nil. When the engine
// cannot say, it is needed.
func (w *idleWatch) unneeded(ctx context.Context) (*os.File, error) {
	lock, err := w.dir.tryLock(clientsLock)
	if lock == nil || err != nil {
		return nil, err
	}
	if open, err := w.open(ctx); open || err != nil {
		lock.Close()
		return nil, nil //nolint:nilnil // nil means: needed, and that is documented
	}
	return lock, nil
}
