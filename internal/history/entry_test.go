package history

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
)

var day = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return day.Add(time.Duration(seconds) * time.Second) }

// planned begins a run of a plan.
func planned(t *testing.T, store *record.Store, r record.Run, p plan.Plan) {
	t.Helper()
	raw, err := json.Marshal(p)
	ok(t, err)
	r.Plan = raw
	begun(t, store, r)
}

// happened records an event of a run, at so many seconds.
func happened(t *testing.T, store *record.Store, seconds int, e record.Event) {
	t.Helper()
	e.At = at(seconds)
	if e.Key == "" {
		e.Key = e.Step + "#1/" + string(e.Kind)
	}
	_, err := store.Append(t.Context(), e)
	ok(t, err)
}

// TestOf tells of a set's promotion what concerns one of its services: who, when, from where, with whose approval, how it was proved, and how long
// each step took.
func TestOf(t *testing.T) {
	store := fresh(t)
	web, orders := plan.Deploy{Unit: plan.Unit{Name: "web"}, Promoted: true}, plan.Deploy{Unit: plan.Unit{Name: "orders"}}
	sources := []plan.Source{{Repository: "https://example.com/shop.git", Commit: "1234", Dirty: true}}
	planned(t, store, record.Run{ID: "p1", Operation: "promote", Environment: "production", By: "anna", State: record.Running, Started: at(0)}, plan.Plan{
		Environment: "production", Services: []plan.Unit{orders.Unit, web.Unit}, Set: &plan.Set{Name: "shop", Deploys: []plan.Deploy{orders, web}},
		Promotion: &plan.Promotion{From: &plan.Stage{Environment: "testing"}, Skips: []string{"staging"}, Reason: "it burns"},
		Premises:  plan.Observed{Sources: sources},
	})
	r := record.Release{Environment: "production", Generation: "g", Service: "web", Version: "sha256:2", Tag: "v2", Manifests: "m", Run: "p1", At: at(3)}
	ok(t, store.PutRelease(t.Context(), r))
	approval := func(accepted bool) json.RawMessage {
		raw, err := json.Marshal(map[string]any{"command": "approve", "accepted": accepted})
		ok(t, err)
		return raw
	}
	check := `{"name": "smoke", "detail": "answered 200", "duration": 5}`
	for i, e := range []record.Event{
		{Key: "note#1/note", Kind: record.Note, By: "anna", Detail: approval(false)},
		{Key: "note#2/note", Kind: record.Note, By: "bea", Detail: approval(true)},
		{Key: "note#3/note", Kind: record.Note, By: "bea", Detail: approval(true)},
		{Step: "roll/orders", Kind: record.StepStarted, Message: "rolling"},
		{Step: "roll/orders", Kind: record.StepDone, Message: "rolled", Detail: json.RawMessage(`{"checks": [` + check + `]}`)},
		{Step: "preview/web", Kind: record.StepStarted, Message: "asking"},
		{Step: "preview/web", Kind: record.Progress, Message: "waiting"},
		{Step: "preview/web", Kind: record.StepDone, Message: "1 check holds", Detail: json.RawMessage(`[` + check + `]`)},
		{Step: "switch/web", Kind: record.StepStarted, Message: "switching"},
		{Step: "switch/web", Kind: record.StepDone, Message: "switched", Detail: json.RawMessage(`{"applied": {"created": ["x"]}, "checks": [` + check + `]}`)},
		{Step: "verify", Kind: record.StepStarted, Message: "asking the whole"},
		{Step: "verify", Kind: record.StepFailed, Message: "check front: 500", Detail: json.RawMessage(`{"hint": "mend it"}`)},
		{Step: "switch-back/web", Kind: record.StepStarted, Message: "leading back"},
	} {
		e.Run = "p1"
		happened(t, store, i, e)
	}
	got, err := Of(t.Context(), store, "", "web")
	ok(t, err)
	held := func(step string) Check { return Check{Step: step, Name: "smoke", Detail: "answered 200", Duration: 5} }
	same(t, "what is told", []Entry{{
		Release: r, Operation: "promote", By: "anna", State: record.Running, From: "testing", Set: "shop", Promoted: true,
		Skipped: []string{"staging"}, Reason: "it burns", ApprovedBy: []string{"bea"}, Sources: sources,
		Checks: []Check{held("preview/web"), held("switch/web")},
		Steps: []Step{
			{Step: "preview/web", Outcome: record.StepDone, Message: "1 check holds", Took: 2 * time.Second},
			{Step: "switch/web", Outcome: record.StepDone, Message: "switched", Took: time.Second},
			{Step: "verify", Outcome: record.StepFailed, Message: "check front: 500", Took: time.Second},
			{Step: "switch-back/web", Outcome: record.StepStarted, Message: "leading back"},
		},
	}}, got)
}

// TestOfTook: a release took until it was good; one that never was, as long as its run.
func TestOfTook(t *testing.T) {
	store := fresh(t)
	for i, environment := range []string{"testing", "production"} {
		end := at(100)
		planned(t, store, record.Run{ID: environment, Operation: "deploy", Environment: environment, Started: at(0), Ended: &end}, plan.Plan{Deploy: &plan.Deploy{Back: true}})
		r := record.Release{Environment: environment, Service: "web", Run: environment, At: at(20 + i)}
		ok(t, store.PutRelease(t.Context(), r))
		if environment == "testing" {
			r.At = at(30)
			ok(t, store.MarkGood(t.Context(), r))
		}
	}
	all, err := Of(t.Context(), store, "", "web")
	ok(t, err)
	var took []time.Duration
	for _, e := range all {
		took = append(took, e.Took)
		if !e.RolledBack || e.Restarted || e.Promoted {
			t.Errorf("of a roll-back is told %+v", e)
		}
	}
	same(t, "the latest first", []time.Duration{100 * time.Second, 30 * time.Second}, took)
	one, err := Of(t.Context(), store, "testing", "web")
	ok(t, err)
	same(t, "of one environment", 1, len(one))
}

// TestOfTrouble: a plan that this program cannot read is an error, and no empty story.
func TestOfTrouble(t *testing.T) {
	store := fresh(t)
	begun(t, store, record.Run{ID: "r", Environment: "production", Plan: json.RawMessage(`[]`)})
	ok(t, store.PutRelease(t.Context(), record.Release{Environment: "production", Service: "web", Run: "r"}))
	if _, err := Of(t.Context(), store, "", "web"); fault.CodeOf(err) != fault.Failed {
		t.Errorf("got %v", err)
	}
}
