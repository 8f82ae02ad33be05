package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	maxSlow    = 30 * time.Second       // the longest response that /slow gives
	slowChunk  = 200 * time.Millisecond // between two chunks of it
	maxBanner  = 4 << 10                // bytes of the banner that are shown
	catalogAge = 5 * time.Second        // between two looks at the products
)

var frontPage = template.Must(template.New("front").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>The shop</title>
<h1>The shop</h1>{{with .Banner}}
<p>{{.}}</p>{{end}}
<ul>{{range .Products}}
<li>{{.Title}}: {{.Price}}</li>{{else}}
<li>sold out</li>{{end}}
</ul>
</html>
`))

// web is the front of the shop.
type web struct {
	orders    *ordersClient
	reached   *reach
	catalog   *catalog
	banner    string
	slowChunk time.Duration
}

func runWeb(ctx context.Context, cfg settings, log *slog.Logger) error {
	if err := cfg.needKey(); err != nil {
		return err
	}
	c, err := newCatalog(cfg)
	if err != nil {
		return err
	}
	ln, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	app := &web{
		orders: newOrdersClient(cfg), reached: &reach{now: time.Now}, catalog: c, banner: cfg.banner, slowChunk: slowChunk,
	}
	// The background goes on while the server drains: its answers are still asked for.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go every(background, pollInterval, log.With("watches", "orders"), app.watchOrders)
	go every(background, catalogAge, log.With("watches", "products"), c.refresh)
	s := newServer(cfg, log)
	return s.serve(ctx, ln, app.handler(s))
}

func (a *web) watchOrders(ctx context.Context) error {
	err := a.orders.Ready(ctx)
	if err == nil {
		a.reached.note()
	}
	return err
}

func (a *web) handler(s *server) http.Handler {
	mux := http.NewServeMux()
	// Ready once it has reached the orders API; later trouble there must not take every front away with it.
	s.probes(mux, a.reached.ever)
	mux.HandleFunc("GET /healthz", a.serveHealth)
	mux.HandleFunc("GET /{$}", a.serveFront)
	mux.HandleFunc("GET /products", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string][]product{"products": a.catalog.list()})
	})
	mux.HandleFunc("POST /orders", a.serveOrder)
	mux.HandleFunc("GET /slow", a.serveSlow)
	return mux
}

// serveHealth is for the router in front: alive, and can reach the orders API. It says yes also while this pod drains,
// because the router asks it through the node's port, where one pod on its way out would speak for the whole node.
func (a *web) serveHealth(w http.ResponseWriter, _ *http.Request) {
	if !a.reached.recent() {
		fail(w, http.StatusServiceUnavailable, "the orders API does not answer")
		return
	}
	reply(w, http.StatusOK, "ok")
}

func (a *web) serveFront(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = frontPage.Execute(w, struct {
		Banner   string
		Products []product
	}{a.readBanner(), a.catalog.list()})
}

// readBanner reads the banner each time, because a mounted ConfigMap changes under way; without one there is no banner.
func (a *web) readBanner() string {
	if a.banner == "" {
		return ""
	}
	f, err := os.Open(a.banner)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxBanner))
	return string(text)
}

func (a *web) serveOrder(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOrder))
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Sprintf("cannot read the order: %v", err))
		return
	}
	key := cmp.Or(r.Header.Get(idempotencyHeader), rand.Text())
	status, answer, err := a.orders.Place(r.Context(), key, body)
	if err != nil {
		fail(w, http.StatusBadGateway, "the orders API does not answer")
		return
	}
	a.reached.note()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

// serveSlow answers for as many seconds as it is asked to, a chunk at a time, and says "done" in the last line.
func (a *web) serveSlow(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.ParseFloat(r.URL.Query().Get("seconds"), 64)
	if err != nil || !(seconds > 0 && seconds <= maxSlow.Seconds()) {
		fail(w, http.StatusBadRequest, fmt.Sprintf("seconds must be a number above 0 and at most %g", maxSlow.Seconds()))
		return
	}
	chunks := max(1, int(seconds*float64(time.Second)/float64(slowChunk)))
	out := http.NewResponseController(w)
	t := time.NewTicker(a.slowChunk)
	defer t.Stop()
	for i := range chunks {
		fmt.Fprintf(w, "chunk %d of %d\n", i+1, chunks)
		if out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-t.C:
		}
	}
	fmt.Fprintln(w, "done")
}
