// Package load puts an open-loop load on an HTTP entry point and says, request by request, whether its users would have
// noticed anything. Open loop means that a request leaves in every slot whether or not earlier ones are back, and that its
// latency counts from its slot: a server that stalls for a second shows a second of latency, not one slow request.
package load

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// DefaultRate is the number of requests a second when Options name none.
const DefaultRate = 200

// DefaultTimeout is how long one request may take when Options say nothing.
const DefaultTimeout = 30 * time.Second

// Options describe a load. Count or Duration should bound it; else it goes on until Stop.
type Options struct {
	Entry    string        // URL of the entry point: scheme http, address, no path
	HTTP2    string        // URL of the entry point for kinds over HTTP/2; "" for Entry
	Host     string        // the host name that every request asks for; "" for the one of Entry
	Rate     int           // requests a second; 0 for DefaultRate
	Count    int           // the number of requests to send; 0 for no bound
	Duration time.Duration // how long to send; 0 for no bound
	Timeout  time.Duration // the most that one request may take, from the first byte sent; 0 for DefaultTimeout
	Kinds    []Kind        // the mix, at least one
}

// Kind is one kind of request of a mix.
type Kind struct {
	Name   string
	Method string // "" for GET
	Path   string // with the query
	Body   string // sent as application/json when not empty
	Share  int    // how many of all requests are of this kind, relative to the shares of the others; at least 1
	// NewConnection makes each request of the kind dial a connection of its own. The others share keep-alive connections.
	NewConnection bool
	// HTTP2 sends the requests of the kind over HTTP/2 without TLS; they share a few connections.
	HTTP2 bool
	// Stream marks long responses: their latency is the time to the first byte, and their body must arrive whole all the same.
	Stream bool
	// Check reads a response (its status is below 500, its body is whole) and returns an error when it is not the right one.
	// It is called from many goroutines. nil accepts every response.
	Check func(status int, body []byte) error
}

// Generator is one load. Make it with New, start it with Run.
type Generator struct {
	options Options
	address string
	cycle   []int // indexes into Kinds, in the order in which requests leave
	pool    *pool
	http2   *multiplexed
	stats   *stats
	stop    chan struct{}
	once    sync.Once
}

// New checks the options and makes a load that has not started. Its errors are of code Invalid.
func New(o Options) (*Generator, error) {
	entry, err := url.Parse(o.Entry)
	if err != nil || entry.Scheme != "http" || entry.Host == "" {
		return nil, fault.New(fault.Invalid, "cannot load the entry point %q: it is not an http URL", o.Entry).
			WithHint("give it as http://ADDRESS:PORT")
	}
	if len(o.Kinds) == 0 {
		return nil, fault.New(fault.Invalid, "cannot load %s: there is no kind of request to send", o.Entry)
	}
	if o.Rate == 0 {
		o.Rate = DefaultRate
	}
	if o.Rate < 0 || o.Rate > 100_000 {
		return nil, fault.New(fault.Invalid, "cannot load %s with %d requests a second", o.Entry, o.Rate).
			WithHint("choose a rate from 1 to 100000")
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Host == "" {
		o.Host = entry.Host
	}
	address := entry.Host
	if entry.Port() == "" {
		address = net.JoinHostPort(entry.Hostname(), "80")
	}
	return &Generator{
		options: o, address: address, cycle: spread(o.Kinds), pool: newPool(address), http2: newMultiplexed(cmp.Or(o.HTTP2, o.Entry)),
		stats: newStats(), stop: make(chan struct{}),
	}, nil
}

// spread returns one cycle of the mix in which each kind comes as often as its share says, evenly spaced.
func spread(kinds []Kind) []int {
	total := 0
	for _, k := range kinds {
		total += max(k.Share, 1)
	}
	credit := make([]int, len(kinds))
	cycle := make([]int, 0, total)
	for range total {
		best := 0
		for i, k := range kinds {
			credit[i] += max(k.Share, 1)
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= total
		cycle = append(cycle, best)
	}
	return cycle
}

// Mark begins a phase under each of the names: every request whose slot comes from now on counts there, until the next
// Mark. A name that comes again continues its phase. It may be called at any time by anybody.
func (g *Generator) Mark(names ...string) { g.stats.mark(time.Now(), names) }

// Stop ends the sending; Run returns when the requests under way are back. It may be called any number of times.
func (g *Generator) Stop() { g.once.Do(func() { close(g.stop) }) }

// Report says what has come back so far. It may be called at any time, also while the load runs.
func (g *Generator) Report() Report { return g.stats.report() }

// Run sends the load and returns the report once every request is back or timed out. It may be called once. When ctx ends it
// gives up at once: requests under way are then counted as abandoned, neither good nor failed.
func (g *Generator) Run(ctx context.Context) Report {
	defer g.pool.close()
	defer g.http2.close()
	// A deadline of ctx must end requests as its cancellation does, not a moment earlier as a timeout of theirs.
	outer := ctx
	ctx, cancel := context.WithCancel(context.WithoutCancel(outer))
	defer cancel()
	defer context.AfterFunc(outer, cancel)()
	var underway sync.WaitGroup
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; !g.done(ctx, i, start); i++ {
		slot := start.Add(time.Duration(i) * time.Second / time.Duration(g.options.Rate))
		timer.Reset(time.Until(slot)) // a generator that is late sends at once and counts the delay as latency
		select {
		case <-timer.C:
		case <-g.stop:
			continue
		case <-ctx.Done():
			continue
		}
		kind := &g.options.Kinds[g.cycle[i%len(g.cycle)]]
		phases := g.stats.sent()
		underway.Go(func() { g.one(ctx, kind, slot, phases) })
	}
	underway.Wait()
	g.stats.end(time.Now())
	return g.stats.report()
}

// done reports whether no further request should leave after i of them.
func (g *Generator) done(ctx context.Context, i int, start time.Time) bool {
	select {
	case <-g.stop:
		return true
	case <-ctx.Done():
		return true
	default:
	}
	o := g.options
	return o.Count > 0 && i >= o.Count || o.Duration > 0 && time.Since(start) >= o.Duration
}

// one sends a request and records what became of it.
func (g *Generator) one(ctx context.Context, k *Kind, slot time.Time, phases []*phase) {
	do := g.pool.do
	if k.HTTP2 {
		do = g.http2.do
	}
	r := do(ctx, k, g.options.Host, g.options.Timeout)
	if r.err != nil && ctx.Err() != nil {
		g.stats.abandoned(phases)
		return
	}
	latency := r.finished.Sub(slot)
	if k.Stream && !r.firstByte.IsZero() {
		latency = r.firstByte.Sub(slot)
	}
	g.stats.back(outcome{kind: k.Name, at: slot, latency: latency, response: r, cause: verdict(k, r)}, phases)
}
