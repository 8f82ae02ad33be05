package step

import (
	"context"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// enqueue has a deployment of a service wait for its place, and returns its wait.
func (b *bench) enqueue(t *testing.T, run, service string) func(context.Context) error {
	t.Helper()
	p := plan.Plan{Environment: "production", Generation: "old", Deploy: &plan.Deploy{Unit: plan.Unit{Name: service}}}
	ok(t, b.Enqueue(t.Context(), Start{Run: run, Operation: Deploy, By: "me@here", Plan: p}))
	same(t, "it is recorded as queued", record.Queued, b.run(t, run).State)
	return func(ctx context.Context) error { return b.AwaitPlace(ctx, ID{Run: run, Name: "queue", Time: 1}) }
}

// TestAwaitPlace: a deployment waits for the one of the same service that is under way, and for no other.
func TestAwaitPlace(t *testing.T) {
	b := newBench(t, nil)
	first := b.beginDeploy(t, "d1", nil)
	b.beginDeploy(t, "elsewhere", func(p *plan.Plan) { p.Environment = "staging" })
	ok(t, b.enqueue(t, "o1", "orders")(t.Context()))
	second := b.enqueue(t, "d2", "web")
	b.awaits(t, "the one before it is under way", "d2", "d1", second)
	ok(t, b.Wait(t.Context(), Waiting{Step: ID{Run: first.Run, Name: "approve", Time: 1}, Why: "web v2 waits for an approval"}))
	b.awaits(t, "a person must decide about it", "d2", "d1: web v2 waits for an approval (crossfade approve", second)
	ok(t, b.Finish(t.Context(), End{Run: "d1", State: record.Done}))
	ok(t, second(t.Context()))
	ok(t, b.Begin(t.Context(), Start{Run: "d2", Operation: Deploy}))
	same(t, "then it is under way", record.Running, b.run(t, "d2").State)
}

// TestNewestWins: of the deployments that have not begun, the newest goes on, also when a roll-over holds it up.
func TestNewestWins(t *testing.T) {
	b := newBench(t, nil) // the roll-over r1 is under way
	clock := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	b.Now = func() time.Time { clock = clock.Add(time.Millisecond); return clock }
	b.put(t, 0)
	held := b.beginDeploy(t, "d1", nil)
	second, other := b.enqueue(t, "d2", "web"), b.enqueue(t, "o1", "orders")
	wantRefusal(t, "held up by a roll-over it has not begun", b.Admit(t.Context(), held), fault.Locked, "superseded by d2 of me@here")
	ok(t, b.Finish(t.Context(), End{Run: "d1", State: record.Superseded}))
	third := b.enqueue(t, "d3", "web")
	wantRefusal(t, "a newer one waits", second(t.Context()), fault.Locked, "superseded by d3 of me@here")
	ok(t, third(t.Context()))
	ok(t, other(t.Context()))
	ok(t, b.Finish(t.Context(), End{Run: "d3", State: record.Aborted}))
	ok(t, second(t.Context())) // had nobody noticed until then
}
