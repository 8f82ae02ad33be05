package step

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// bench is a toolbox with a real record, a router and clusters in memory, and a run of a roll-over from old to new that has
// begun. Its clock goes on by a second each time it is read.
type bench struct {
	*Toolbox
	router   *memory
	clusters *clusters
	plan     plan.Plan

	mu   sync.Mutex
	time time.Time
}

// newBench begins the run r1 of a plan; edit may change the plan before.
func newBench(t *testing.T, edit func(*plan.Plan)) *bench {
	t.Helper()
	b := &bench{time: time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC), router: newMemory(), clusters: newClusters(t, "old", "new"), plan: thePlan()}
	if edit != nil {
		edit(&b.plan)
	}
	b.Toolbox = &Toolbox{
		StateDir: t.TempDir(), Records: freshRecord(t), Now: b.now,
		makeRouter:   func(spec.Router) (traffic.Router, error) { return b.router, nil },
		makeProvider: func(spec.Cluster) (cluster.Provider, error) { return b.clusters, nil },
	}
	b.begin(t, "r1")
	return b
}

func freshRecord(t *testing.T) *record.Store {
	t.Helper()
	store, err := record.Open(t.Context(), filepath.Join(t.TempDir(), "record.db"))
	ok(t, err)
	t.Cleanup(func() { _ = store.Close() }) // some tests have closed it
	return store
}

func (b *bench) begin(t *testing.T, run string) {
	t.Helper()
	ok(t, b.Begin(t.Context(), Start{Run: run, Operation: Rollover, By: "me@here", Plan: b.plan}))
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.time = b.time.Add(time.Second)
	return b.time
}

// wait lets time pass.
func (b *bench) wait(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.time = b.time.Add(d)
}

// job is a step's execution, for tests of what steps are made of.
func (b *bench) job(ctx context.Context) *job {
	return &job{Toolbox: b.Toolbox, id: ID{Run: "r1", Name: "test", Time: 1}, run: record.Run{ID: "r1"}, plan: &b.plan, ctx: ctx}
}

// put gives every route of the plan the sides of both generations, the new one with the given share.
func (b *bench) put(t *testing.T, share int) {
	t.Helper()
	for _, r := range b.plan.Routes {
		ok(t, b.router.Apply(t.Context(), traffic.Route{Host: r.Host, PreLiveHost: r.PreLive, PreLive: "new", Sides: []traffic.Side{
			{Generation: "old", Endpoints: []string{"10.0.0.1:30080"}, Weight: 100 - share},
			{Generation: "new", Endpoints: []string{"10.0.0.2:30080"}, Weight: share},
		}}))
	}
}

// verify records that the new generation was verified.
func (b *bench) verify(t *testing.T) {
	t.Helper()
	g := b.generation(t, "new")
	g.Verified, g.Phase = true, record.Standby
	ok(t, b.Records.PutGeneration(t.Context(), g))
}

func (b *bench) generation(t *testing.T, name string) record.Generation {
	t.Helper()
	g, err := b.Records.Generation(t.Context(), b.plan.Environment, name)
	ok(t, err)
	return g
}

func (b *bench) run(t *testing.T, id string) record.Run {
	t.Helper()
	r, err := b.Records.Run(t.Context(), id)
	ok(t, err)
	return r
}

// events are those of a run after its beginning.
func (b *bench) events(t *testing.T, run string) []record.Event {
	t.Helper()
	events, err := b.Records.Events(context.WithoutCancel(t.Context()), run, 0)
	ok(t, err)
	return slices.DeleteFunc(events, func(e record.Event) bool { return e.Key == BeginKey })
}

// story is what is recorded of the run r1 after its beginning: "kind step: message", in order.
func (b *bench) story(t *testing.T) []string {
	t.Helper()
	var lines []string
	for _, e := range b.events(t, "r1") {
		lines = append(lines, string(e.Kind)+" "+e.Step+": "+e.Message)
	}
	return lines
}

// thePlan moves two routes of one router from old to new.
func thePlan() plan.Plan {
	front := spec.Router{Name: "front", Caddy: &spec.CaddyRouter{Admin: "http://127.0.0.1:2019", Listen: "127.0.0.1:8080"}}
	return plan.Plan{
		Environment: "production", Generation: "new", Previous: "old", Cluster: spec.Cluster{Provider: "local"},
		Routes: []plan.Route{
			{Host: "shop.example.com", PreLive: "pre-live.shop.example.com", Router: front, Namespace: "shop", Service: "web"},
			{Host: "api.example.com", PreLive: "pre-live.api.example.com", Router: front, Namespace: "shop", Service: "api"},
		},
		Shift: spec.Shift{Steps: []int{100}, Drain: spec.Duration(150 * time.Millisecond)},
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
}

// same compares what is with what should be.
func same(t *testing.T, reason string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", reason, diff)
	}
}

// wantCode compares the code of an error; "" for none.
func wantCode(t *testing.T, reason string, err error, code fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != code {
		t.Errorf("%s: the error is of code %q, want %q: %v", reason, got, code, err)
	}
}

// errUnavailable is a peer that does not answer.
var errUnavailable = fault.New(fault.Unavailable, "cannot reach it").WithHint("look whether it runs")

// memory is a traffic.Router in memory. Faults are injected by its functions.
type memory struct {
	mu      sync.Mutex
	routes  map[string]traffic.Observed
	applied int // how often a route was changed
	entry   string

	lie  func(host string, seen *traffic.Observed) // changes what is observed
	fail func(call, host string) error             // before a call has an effect
}

var _ traffic.Router = (*memory)(nil)

func newMemory() *memory { return &memory{routes: map[string]traffic.Observed{}} }

func (m *memory) begins(call, host string) error {
	if m.fail == nil {
		return nil
	}
	return m.fail(call, host)
}

func (m *memory) Observe(ctx context.Context, host string) (*traffic.Observed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.begins("observe", host)); err != nil {
		return nil, err
	}
	seen, known := m.routes[host]
	if !known {
		return nil, nil //nolint:nilnil // as the interface says it
	}
	seen.Route.Sides = slices.Clone(seen.Route.Sides)
	if m.lie != nil {
		m.lie(host, &seen)
	}
	return &seen, nil
}

func (m *memory) Apply(ctx context.Context, route traffic.Route) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.begins("apply", route.Host)); err != nil {
		return err
	}
	sum := 0
	for _, s := range route.Sides {
		sum += s.Weight
	}
	if sum != 0 && sum != 100 {
		return fault.New(fault.Invalid, "the weights of %s add up to %d", route.Host, sum)
	}
	route.Sides = slices.Clone(route.Sides)
	was := m.routes[route.Host]
	if !cmp.Equal(was.Route, route) {
		m.applied++
	}
	m.routes[route.Host] = traffic.Observed{Route: route, Counts: was.Counts}
	return nil
}

func (m *memory) Remove(ctx context.Context, host string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.begins("remove", host)); err != nil {
		return err
	}
	delete(m.routes, host)
	return nil
}

func (m *memory) Entry() string { return m.entry }

// busy lets a generation have requests under way on a host.
func (m *memory) busy(host, generation string, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.routes[host]
	seen.Counts = map[string]traffic.Counters{generation: {InFlight: n}}
	m.routes[host] = seen
}

// weights are the shares on every host that has a route.
func (m *memory) weights() map[string]map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]map[string]int{}
	for host, seen := range m.routes {
		all[host] = map[string]int{}
		for _, s := range seen.Route.Sides {
			all[host][s.Generation] = s.Weight
		}
	}
	return all
}
