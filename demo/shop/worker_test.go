package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWorkerPacks(t *testing.T) {
	orders, st := newOrders(t, 1000)
	cfg := testSettings()
	cfg.ordersURL = orders.URL
	ledger := filepath.Join(t.TempDir(), "ledger")
	w := &worker{orders: newOrdersClient(cfg), reached: &reach{now: time.Now}, ledger: ledger}
	if err := w.pack(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ledger); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a ledger was begun with nothing packed: %v", err)
	}
	st.place("o-1")
	st.place("o-2")
	for range 2 { // the second finds nothing
		if err := w.pack(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(ledger)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("o-1\no-2\n", string(got)); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(counts{2, 2, 2}, st.counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

func TestWorkerHealth(t *testing.T) {
	orders, _ := newOrders(t, 10)
	s := testServer(testSettings())
	for name, tc := range map[string]struct {
		reason string
		key    string
		want   map[string]int
	}{
		"Works":    {"It packs.", testKey, map[string]int{"/livez": 200, "/readyz": 200, "/healthz": 200}},
		"WrongKey": {"It lives but does no work.", "other", map[string]int{"/livez": 200, "/readyz": 503, "/healthz": 503}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &worker{orders: newOrdersClient(settings{ordersURL: orders.URL, apiKey: tc.key}), reached: &reach{now: time.Now}}
			err := w.pack(t.Context())
			if (err == nil) != (tc.key == testKey) {
				t.Errorf("pack = %v", err)
			}
			got := map[string]int{}
			for path := range tc.want {
				rec := httptest.NewRecorder()
				w.handler(s).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
				got[path] = rec.Code
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nstatus (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLedgerBeginsAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(name, make([]byte, maxLedger+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := appendLedger(name, []string{"o-9"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil || string(got) != "o-9\n" {
		t.Errorf("ledger has %d bytes, %v; want only the newest line", len(got), err)
	}
	if err := appendLedger(filepath.Join(name, "x"), []string{"o-9"}); err == nil {
		t.Error("a ledger was written under a file")
	}
}

// TestEveryTellsChangesOnly counts what is logged while an act fails three times, then works.
func TestEveryTellsChangesOnly(t *testing.T) {
	var out strings.Builder
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	every(ctx, time.Millisecond, slog.New(slog.NewTextHandler(&out, nil)), func(context.Context) error {
		n++
		switch {
		case n == 6:
			cancel()
			return errors.New("not told: it was stopped")
		case n <= 3:
			return errors.New("no answer")
		}
		return nil
	})
	got := map[string]int{
		"no answer": strings.Count(out.String(), "no answer"), "works": strings.Count(out.String(), "works again"),
		"stopped": strings.Count(out.String(), "stopped"),
	}
	if diff := cmp.Diff(map[string]int{"no answer": 1, "works": 1, "stopped": 0}, got); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
}
