package demo

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/crossfade-dev/crossfade/internal/load"
)

// users are the load of the demo, from the moment generation one is live until the old generation is gone.
type users struct {
	load   *load.Generator
	cancel context.CancelFunc
	done   chan load.Report
	once   sync.Once
	report load.Report
}

// Mix is what users ask: pages over connections that stay and over new ones, orders, and downloads that take seconds.
func Mix() []load.Kind {
	return []load.Kind{
		{Name: "front page", Path: "/", Share: 50, Check: contains("The shop")},
		{Name: "products, new connection", Path: "/products", Share: 25, NewConnection: true, Check: contains("products")},
		{Name: "order", Method: "POST", Path: "/orders", Body: `{"product":"record","quantity":1}`, Share: 23, Check: ordered},
		{Name: "download of 5 s", Path: "/slow?seconds=5", Share: 1, Stream: true},
		{Name: "order, new connection", Method: "POST", Path: "/orders", Body: `{"product":"record","quantity":2}`, Share: 1, NewConnection: true, Check: ordered},
	}
}

// contains accepts a page that has the text.
func contains(text string) func(int, []byte) error {
	return func(status int, body []byte) error {
		if status != 200 || !strings.Contains(string(body), text) {
			return errors.New("not the page that was asked for")
		}
		return nil
	}
}

// ordered accepts an order that was taken.
func ordered(status int, body []byte) error {
	var order struct{ ID string }
	if status != 201 || json.Unmarshal(body, &order) != nil || order.ID == "" {
		return errors.New("the order was not taken")
	}
	return nil
}

// users starts the load on the entry point.
func (d *demo) users(ctx context.Context) (*users, error) {
	router := d.cfg.Platform.Spec.Routers[0]
	g, err := load.New(load.Options{
		Entry: "http://" + router.Caddy.Listen, Host: d.cfg.Environments[0].Spec.Routes[0].Host,
		Rate: d.Rate, Duration: loadLimit, Kinds: Mix(),
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	u := &users{load: g, cancel: cancel, done: make(chan load.Report, 1)}
	d.load = g
	g.Mark("one generation")
	go func() { u.done <- g.Run(ctx) }()
	return u, nil
}

// loadLimit bounds the load in time, whatever happens to the rest of the demo.
const loadLimit = 20 * time.Minute

// until waits until so many requests were sent.
func (u *users) until(ctx context.Context, count int64) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for u.load.Report().Requests.Sent < count {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// stop ends the sending, waits for the requests under way and returns what was found. It may be called any number of times.
func (u *users) stop() load.Report {
	u.once.Do(func() {
		u.load.Stop()
		u.report = <-u.done
		u.cancel()
	})
	return u.report
}

// phasesOf says under which names the load that goes on during a step of a run is counted.
func phasesOf(step string) []string {
	switch {
	case step == "gate" || step == "soak":
		return []string{step, phaseSteady}
	case strings.HasPrefix(step, "shift/") || step == "switch-back":
		return []string{step, phaseShift}
	default:
		return []string{step}
	}
}
