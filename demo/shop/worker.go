package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	packBatch = 50      // orders that a worker packs in one go
	maxLedger = 1 << 20 // bytes after which a ledger begins again
)

func runWorker(ctx context.Context, cfg settings, log *slog.Logger) error {
	if err := cfg.needKey(); err != nil {
		return err
	}
	ln, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	w := &worker{orders: newOrdersClient(cfg), reached: &reach{now: time.Now}, ledger: cfg.ledger}
	go every(ctx, pollInterval, log, w.pack)
	s := newServer(cfg, log)
	s.linger = 0 // nobody sends work to a worker; it fetches it
	return s.serve(ctx, ln, w.handler(s))
}

// worker packs orders: it asks the orders API each second for those that wait.
type worker struct {
	orders  *ordersClient
	reached *reach
	ledger  string
}

func (w *worker) handler(s *server) http.Handler {
	mux := http.NewServeMux()
	s.probes(mux, w.reached.ever)
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) {
		if !w.reached.recent() {
			fail(rw, http.StatusServiceUnavailable, "the orders API does not answer")
			return
		}
		reply(rw, http.StatusOK, "ok")
	})
	return mux
}

func (w *worker) pack(ctx context.Context) error {
	ids, err := w.orders.Pack(ctx, packBatch)
	if err != nil {
		return err
	}
	w.reached.note()
	if w.ledger == "" || len(ids) == 0 {
		return nil
	}
	return appendLedger(w.ledger, ids)
}

// appendLedger writes the packed orders, one a line. A ledger that has become too long begins again, and the volume
// under it never fills up.
func appendLedger(name string, ids []string) error {
	flags := os.O_CREATE | os.O_APPEND | os.O_WRONLY
	if info, err := os.Stat(name); err == nil && info.Size() > maxLedger {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write the ledger: %w", err)
	}
	if _, err := f.WriteString(strings.Join(ids, "\n") + "\n"); err != nil {
		f.Close()
		return fmt.Errorf("cannot write the ledger: %w", err)
	}
	return f.Close()
}
