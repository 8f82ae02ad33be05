// Command shop is the small shop that the demo moves from one cluster to the next: a web front, an orders API that the
// front calls by its service name, a worker that packs orders, and a tick for a CronJob. It is one static program, so
// that one image serves them all. Nothing in it knows of generations or of Crossfade.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = "usage: shop web | orders | worker | tick | smoke"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(Run(ctx, os.Stdout, os.Stderr, os.Args[1:], os.Getenv))
}

// Run is the whole program. It returns the exit status: 0 done, 1 failed, 2 bad usage. Data goes to stdout, talk to stderr.
func Run(ctx context.Context, stdout, stderr io.Writer, args []string, getenv func(string) string) int {
	if len(args) != 1 {
		fmt.Fprintln(stderr, usage)
		return 2
	}
	log := slog.New(slog.NewTextHandler(stderr, nil)).With("app", args[0])
	cfg := readSettings(getenv)
	var err error
	switch args[0] {
	case "web":
		err = runWeb(ctx, cfg, log)
	case "orders":
		err = runOrders(ctx, cfg, log)
	case "worker":
		err = runWorker(ctx, cfg, log)
	case "tick":
		err = tick(stdout, cfg, time.Now())
	case "smoke":
		err = smoke(ctx, stdout, cfg)
	default:
		fmt.Fprintf(stderr, "unknown command %q; %s\n", args[0], usage)
		return 2
	}
	if err != nil {
		log.Error(err.Error())
		return 1
	}
	return 0
}

// listen opens the address that a service answers at.
func listen(ctx context.Context, cfg settings) (net.Listener, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.listen)
	if err != nil {
		return nil, fmt.Errorf("cannot listen at LISTEN=%s: %w", cfg.listen, err)
	}
	return ln, nil
}

// tick is what the CronJob runs: it says that it ran and where, and touches nothing.
func tick(stdout io.Writer, cfg settings, now time.Time) error {
	_, err := fmt.Fprintf(stdout, "tick on node %s at %s\n", cfg.node, now.UTC().Format(time.RFC3339))
	return err
}

// smoke proves from inside the cluster that the orders API answers by its name and accepts the shop's key; it writes nothing.
func smoke(ctx context.Context, stdout io.Writer, cfg settings) error {
	n, err := newOrdersClient(cfg).Count(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "orders API at %s answered: %d received, %d packed\n", cfg.ordersURL, n.Received, n.Packed)
	return err
}
