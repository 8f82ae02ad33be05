package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// generationHeader says on every answer which node, and so which generation, it came from.
	generationHeader = "X-Generation"
	// maxInFlight bounds memory: beyond it requests are answered with 503 at once.
	maxInFlight = 1000
	// idleTimeout must outlast the idle timeout of every proxy in front (Caddy: 2 m), or a proxy sends a request on a
	// connection in the instant at which we close it.
	idleTimeout = 3 * time.Minute
)

// server answers HTTP and knows how to leave without failing a request.
type server struct {
	log      *slog.Logger
	node     string
	linger   time.Duration
	bound    time.Duration
	draining atomic.Bool
	slots    chan struct{}
}

func newServer(cfg settings, log *slog.Logger) *server {
	return &server{log: log, node: cfg.node, linger: cfg.linger, bound: cfg.bound, slots: make(chan struct{}, maxInFlight)}
}

// serve answers until ctx ends, and then leaves in three steps: it says at /readyz that it is not ready while it goes on
// accepting (linger), stops accepting, and lets requests under way end (bound). It owns the listener.
func (s *server) serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler: s.wrap(h), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: idleTimeout, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	s.log.Info("answers", "address", ln.Addr().String(), "node", s.node)
	select {
	case err := <-failed:
		return fmt.Errorf("cannot serve at %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.log.Info("was told to end; accepts on, not ready", "linger", s.linger.String())
	select { // whether the proxies have taken us from their lists cannot be observed from in here
	case err := <-failed:
		return fmt.Errorf("cannot serve at %s: %w", ln.Addr(), err)
	case <-time.After(s.linger):
	}
	return s.shutdown(srv)
}

func (s *server) shutdown(srv *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.bound)
	defer cancel()
	err := srv.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		_ = srv.Close()
		return fmt.Errorf("cannot end in good order: requests were under way after %s", s.bound)
	}
	s.log.Info("ended; no request was cut off")
	return err
}

// wrap adds what every service does: it names the node, bounds what is under way, and asks callers to let go of their
// connections once it was told to end.
func (s *server) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(generationHeader, s.node)
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
			h.ServeHTTP(w, r)
		default:
			fail(w, http.StatusServiceUnavailable, fmt.Sprintf("%d requests are under way", maxInFlight))
		}
	})
}

// probes adds /livez, which asks nothing of others, so that no trouble elsewhere restarts the pod, and /readyz, which says
// no while ready is not nil and false, and once the server was told to end.
func (s *server) probes(mux *http.ServeMux, ready func() bool) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case s.draining.Load():
			fail(w, http.StatusServiceUnavailable, "was told to end")
		case ready != nil && !ready():
			fail(w, http.StatusServiceUnavailable, "has not reached the orders API yet")
		default:
			reply(w, http.StatusOK, "ready")
		}
	})
}

// reply answers with a short text.
func reply(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

// fail answers with a problem as JSON.
func fail(w http.ResponseWriter, status int, problem string) {
	writeJSON(w, status, map[string]string{"error": problem})
}

// writeJSON answers with v as JSON. A caller that has gone is nobody's error.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
