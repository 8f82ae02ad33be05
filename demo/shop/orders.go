package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"sync"
)

const (
	maxOrder    = 4 << 10 // bytes of one order
	maxKept     = 10_000  // orders kept in memory; the oldest are forgotten
	maxQuantity = 100
	maxPack     = 100 // orders packed at once
)

var productName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// order is what a customer sends.
type order struct {
	Product  string `json:"product"`  // the name of a Product
	Quantity int    `json:"quantity"` // 1 to 100
}

// counts is how many orders one orders pod has seen since it started.
type counts struct {
	Received int `json:"received"`
	Packed   int `json:"packed"`
	Kept     int `json:"kept"`
}

// packed lists the orders that a call of pack took.
type packed struct {
	Packed []string `json:"packed"`
}

func runOrders(ctx context.Context, cfg settings, log *slog.Logger) error {
	if err := cfg.needKey(); err != nil {
		return err
	}
	ln, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	s := newServer(cfg, log)
	return s.serve(ctx, ln, ordersHandler(s, newStore(maxKept), cfg.apiKey))
}

// ordersHandler is the orders API. All but the probes ask for the key.
func ordersHandler(s *server, st *store, apiKey string) http.Handler {
	mux := http.NewServeMux()
	s.probes(mux, nil)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, "alive") })
	mux.HandleFunc("POST /orders", locked(apiKey, st.servePlace))
	mux.HandleFunc("GET /orders/count", locked(apiKey, st.serveCount))
	mux.HandleFunc("POST /orders/pack", locked(apiKey, st.servePack))
	return mux
}

// locked lets only callers with the key through.
func locked(apiKey string, h http.HandlerFunc) http.HandlerFunc {
	want := []byte("Bearer " + apiKey)
	return func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			fail(w, http.StatusUnauthorized, "the API key is missing or wrong")
			return
		}
		h(w, r)
	}
}

func (s *store) servePlace(w http.ResponseWriter, r *http.Request) {
	if err := readOrder(http.MaxBytesReader(w, r.Body, maxOrder)); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	id := orderID(r.Header.Get(idempotencyHeader))
	s.place(id)
	writeJSON(w, http.StatusCreated, map[string]string{"id": id})
}

func (s *store) serveCount(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.counts())
}

func (s *store) servePack(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || n < 1 || n > maxPack {
		fail(w, http.StatusBadRequest, fmt.Sprintf("limit must be a number from 1 to %d", maxPack))
		return
	}
	writeJSON(w, http.StatusOK, packed{Packed: s.pack(n)})
}

// readOrder reads one order and nothing else.
func readOrder(r io.Reader) error {
	var o order
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return fmt.Errorf("cannot read the order: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("cannot read the order: something follows it")
	}
	if !productName.MatchString(o.Product) {
		return fmt.Errorf("cannot order the product %.70q: not a product's name", o.Product)
	}
	if o.Quantity < 1 || o.Quantity > maxQuantity {
		return fmt.Errorf("cannot order a quantity of %d: 1 to %d", o.Quantity, maxQuantity)
	}
	return nil
}

// orderID follows from the caller's key, so that an order placed again gets the same id from every replica. An order without
// a key is always a new one.
func orderID(key string) string {
	if key == "" {
		key = rand.Text()
	}
	sum := sha256.Sum256([]byte(key))
	return "o-" + hex.EncodeToString(sum[:8])
}

// store keeps the ids of the newest orders of one pod in memory, which is all that a demo needs of a database.
type store struct {
	limit int

	mu       sync.Mutex
	kept     []string            // oldest first
	next     int                 // index in kept of the first order that waits to be packed
	known    map[string]struct{} // what is in kept
	received int
	packed   int
}

func newStore(limit int) *store { return &store{limit: limit, known: map[string]struct{}{}} }

// place keeps the order, unless it is there already.
func (s *store) place(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, again := s.known[id]; again {
		return
	}
	s.received++
	s.known[id] = struct{}{}
	s.kept = append(s.kept, id)
	if len(s.kept) > s.limit {
		delete(s.known, s.kept[0])
		s.kept = s.kept[1:]
		s.next = max(0, s.next-1)
	}
}

// pack takes up to n orders that wait, oldest first.
func (s *store) pack(n int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := append([]string{}, s.kept[s.next:min(s.next+n, len(s.kept))]...)
	s.next += len(taken)
	s.packed += len(taken)
	return taken
}

func (s *store) counts() counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return counts{Received: s.received, Packed: s.packed, Kept: len(s.kept)}
}
