package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/caddy"
)

const (
	edgeHost    = "shop.example.com"
	edgeSprints = 200                     // at full speed, each of both, in turn: what else the machine does changes from second to second
	edgeSprint  = 300 * time.Millisecond  // of one
	edgeRounds  = 30                      // at a steady rate, each of both, in turn
	edgeSteady  = 2500 * time.Millisecond // of one
	edgeRate    = 500                     // requests a second then
	edgeUsers   = 32                      // at full speed, each with one connection
)

// byHand is what a person writes for two generations with three quarters and a quarter of the users.
const byHand = `{"match": [{"host": ["%s"]}], "terminal": true, "handle": [{"handler": "reverse_proxy",
  "upstreams": [{"dial": "%s"}, {"dial": "%s"}],
  "load_balancing": {"selection_policy": {"policy": "weighted_round_robin", "weights": [75, 25]}}}]}`

// edges compares a route that Crossfade has set with one that a person has configured, on the same program, in turn.
func edges(ctx context.Context) ([]number, error) {
	dir, err := os.MkdirTemp("", "crossfade-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var backends []string
	for range 2 {
		address, stop, err := backend(ctx)
		if err != nil {
			return nil, err
		}
		defer stop()
		backends = append(backends, address)
	}
	ours, stop, err := routed(ctx, dir+"/ours", backends)
	if err != nil {
		return nil, err
	}
	defer stop()
	theirs, stop, err := handmade(ctx, dir+"/theirs", backends)
	if err != nil {
		return nil, err
	}
	defer stop()
	return race(ctx, ours, theirs)
}

// race measures both edges in turn, at full speed and at a steady rate. Of each pair of measurements the ratio counts, and of these the one
// in the middle.
func race(ctx context.Context, ours, theirs string) ([]number, error) {
	sprint, end := sprinter(ours, theirs)
	defer end()
	speed, err := inTurn(edgeSprints, ours, theirs, func(entry string) (float64, error) { return sprint(ctx, entry) })
	if err != nil {
		return nil, err
	}
	slow, err := inTurn(edgeRounds, ours, theirs, func(entry string) (float64, error) { return steady(ctx, entry) })
	if err != nil {
		return nil, err
	}
	throughput := number{
		What: "edge, requests a second", Ours: fmt.Sprintf("%.0f", speed.ours), Theirs: fmt.Sprintf("by hand: %.0f", speed.theirs),
		Ratio: speed.ratio, Hold: ">= 0.95", Holds: speed.ratio >= 0.95,
	}
	latency := number{
		What: fmt.Sprintf("edge, p99 at %d requests a second", edgeRate), Ours: fmt.Sprintf("%.2fms", slow.ours),
		Theirs: fmt.Sprintf("by hand: %.2fms", slow.theirs), Ratio: slow.ratio, Hold: "<= 1.05", Holds: slow.ratio <= 1.05,
	}
	return []number{throughput, latency}, nil
}

// compared are the medians of two things that were measured in turn, and of their ratio.
type compared struct{ ours, theirs, ratio float64 }

// inTurn measures both a number of times; which one is first changes.
func inTurn(times int, ours, theirs string, measure func(entry string) (float64, error)) (compared, error) {
	var all [3][]float64
	for i := range times {
		entries, got := []string{ours, theirs}, map[string]float64{}
		if i%2 == 1 {
			slices.Reverse(entries)
		}
		for _, entry := range entries {
			n, err := measure(entry)
			if err != nil {
				return compared{}, err
			}
			got[entry] = n
		}
		for k, n := range []float64{got[ours], got[theirs], got[ours] / got[theirs]} {
			all[k] = append(all[k], n)
		}
	}
	return compared{middle(all[0]), middle(all[1]), middle(all[2])}, nil
}

func middle(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// backend answers 1 KiB to everything.
func backend(ctx context.Context) (address string, stop func(), err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	body := []byte(strings.Repeat("x", 1024))
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })}
	go func() { _ = s.Serve(l) }()
	return l.Addr().String(), func() { _ = s.Close() }, nil
}

// start runs an edge of its own, and returns where it is.
func start(ctx context.Context, dir string) (edge.Status, func(), error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return edge.Status{}, nil, err
	}
	_ = l.Close()
	status, err := edge.Start(ctx, edge.Options{StateDir: dir, Listen: l.Addr().String()})
	return status, func() { _ = edge.Stop(context.WithoutCancel(ctx), dir) }, err
}

// routed is the entry of an edge with a route of ours.
func routed(ctx context.Context, dir string, backends []string) (string, func(), error) {
	status, stop, err := start(ctx, dir)
	if err != nil {
		return "", nil, err
	}
	router, err := caddy.New(caddy.Options{Admin: status.Admin, Listen: status.Listen, Edge: true})
	if err == nil {
		err = router.Apply(ctx, traffic.Route{Host: edgeHost, Sides: []traffic.Side{
			{Generation: "old", Endpoints: backends[:1], Weight: 75}, {Generation: "new", Endpoints: backends[1:], Weight: 25},
		}})
	}
	if err != nil {
		stop()
	}
	return status.Entry(), stop, err
}

// handmade is the entry of an edge with a route of a person.
func handmade(ctx context.Context, dir string, backends []string) (string, func(), error) {
	status, stop, err := start(ctx, dir)
	if err != nil {
		return "", nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(status.Admin, "unix/"))
	}}}
	body := fmt.Sprintf(byHand, edgeHost, backends[0], backends[1])
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://localhost/config/apps/http/servers/"+edge.Server+"/routes/0", strings.NewReader(body))
	if err != nil {
		stop()
		return "", nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err == nil {
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			err = fmt.Errorf("the configuration by hand is answered with %s", res.Status)
		}
	}
	if err != nil {
		stop()
	}
	return status.Entry(), stop, err
}

// sprinter returns what measures how many requests a second an entry answers when every user sends the next one at once. The users of an entry
// keep their connections from one sprint to the next, until end.
func sprinter(entries ...string) (sprint func(ctx context.Context, entry string) (float64, error), end func()) {
	transports := map[string]*http.Transport{}
	for _, entry := range entries {
		transports[entry] = &http.Transport{MaxIdleConnsPerHost: edgeUsers}
	}
	sprint = func(ctx context.Context, entry string) (float64, error) {
		return fullSpeed(ctx, transports[entry], entry)
	}
	return sprint, func() {
		for _, t := range transports {
			t.CloseIdleConnections()
		}
	}
}

func fullSpeed(ctx context.Context, transport http.RoundTripper, entry string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // an answer that never comes
	defer cancel()
	var answered, failed atomic.Int64
	var users sync.WaitGroup
	begun := time.Now()
	for range edgeUsers {
		users.Go(func() {
			for ctx.Err() == nil && time.Since(begun) < edgeSprint {
				if err := ask(ctx, transport, entry); err != nil {
					failed.Add(1)
				} else {
					answered.Add(1)
				}
			}
		})
	}
	users.Wait()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if n := failed.Load(); n > 0 {
		return 0, fmt.Errorf("%d requests failed at full speed", n)
	}
	return float64(answered.Load()) / time.Since(begun).Seconds(), nil
}

func ask(ctx context.Context, transport http.RoundTripper, entry string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, entry, http.NoBody)
	if err != nil {
		return err
	}
	req.Host = edgeHost
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// steady is the time in milliseconds in which 99 of 100 requests are answered at a steady rate.
func steady(ctx context.Context, entry string) (float64, error) {
	g, err := load.New(load.Options{Entry: entry, Host: edgeHost, Rate: edgeRate, Duration: edgeSteady, Kinds: []load.Kind{{Name: "get", Path: "/"}}})
	if err != nil {
		return 0, err
	}
	report := g.Run(ctx)
	if report.Requests.Failed > 0 {
		return 0, fmt.Errorf("%d of %d requests failed at a steady rate", report.Requests.Failed, report.Requests.Sent)
	}
	return report.Latency["all"].P99, ctx.Err()
}
