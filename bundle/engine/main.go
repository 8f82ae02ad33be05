// Command crossfade-engine is the durable engine of Crossfade: a stock Temporal server on one SQLite file, reachable on
// loopback by the owner of its directory only. crossfade starts it when a command needs it and finds it again by the
// address file; it ends by itself when no workflow is open and no client is there.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

// The memory settings are for a neighbour of two clusters on a small machine. GOGC and GOMEMLIMIT take precedence.
const (
	gcPercent   = 50
	memoryLimit = 256 << 20 // bytes; a soft limit, the collector works harder above it
)

// run is the program: it returns its exit status, 0 after an orderly end.
func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("crossfade-engine", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "", "the engine's directory, which must hold tls.pem")
	quiet := flags.Duration("quiet", 5*time.Second, "end after this time without a client and without an open workflow")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *dir == "" || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "usage: crossfade-engine --dir DIRECTORY [--quiet DURATION]")
		return 2
	}
	limitMemory()
	syscall.Umask(0o077) // whatever is written belongs to the owner alone
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, directory(*dir), *quiet); err != nil {
		fmt.Fprintln(stderr, "crossfade-engine:", err)
		return 1
	}
	return 0
}

func limitMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
