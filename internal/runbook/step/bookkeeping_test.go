package step

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// TestBegin begins runs, each twice, for a worker may be killed before the engine knows that it did.
func TestBegin(t *testing.T) {
	first := func(p *plan.Plan) { p.Previous = "" }
	building := record.Generation{Environment: "production", Name: "new", Phase: record.Building, Run: "r1"}
	live := record.Generation{Environment: "production", Name: "old", Phase: record.Live, Verified: true, Run: "r1"}
	cases := map[string]struct {
		reason    string
		operation string
		edit      func(*plan.Plan)
		want      []record.Generation
	}{
		"Rollover":   {"both generations are known, also an old one that somebody else made", Rollover, nil, []record.Generation{live, building}},
		"First":      {"there is none before the first", Rollover, first, []record.Generation{building}},
		"SwitchBack": {"an operation on generations that stand says nothing of them", "switch-back", nil, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			if tc.edit != nil {
				tc.edit(&b.plan)
			}
			b.plan.Environment = "staging" // r1 of the bench is of production
			ctx := t.Context()
			for range 2 {
				ok(t, b.Begin(ctx, Start{Run: "r2", Operation: tc.operation, By: "me@here", Plan: b.plan}))
			}
			r := b.run(t, "r2")
			var p plan.Plan
			ok(t, json.Unmarshal(r.Plan, &p))
			same(t, "what was begun is what runs", b.plan, p)
			r.Plan, r.Started = nil, time.Time{}
			same(t, tc.reason, record.Run{
				ID: "r2", Operation: tc.operation, Environment: "staging", Generation: "new", Previous: b.plan.Previous,
				By: "me@here", State: record.Running,
			}, r)
			got, err := b.Records.Generations(ctx, "staging")
			ok(t, err)
			for i := range tc.want {
				tc.want[i].Environment, tc.want[i].Run = "staging", "r2"
			}
			byName := cmpopts.SortSlices(func(a, b record.Generation) bool { return a.Name > b.Name })
			if diff := cmp.Diff(tc.want, got, byName, cmpopts.IgnoreFields(record.Generation{}, "Created", "Changed")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestWish: a story begins with what was asked for, by whom, and from which commits.
func TestWish(t *testing.T) {
	web := plan.Deploy{Unit: plan.Unit{Name: "web"}, Tag: "v2"}
	orders := plan.Deploy{Unit: plan.Unit{Name: "orders", Version: "sha256:1"}}
	with := func(change func(*plan.Deploy)) *plan.Deploy {
		d := web
		change(&d)
		return &d
	}
	testing := &plan.Promotion{From: &plan.Stage{Environment: "testing"}}
	for want, p := range map[string]plan.Plan{
		"rollover of production":                                                        {},
		"deployment of web v2 to production":                                            {Deploy: &web},
		"restart of web v2 in production":                                               {Deploy: with(func(d *plan.Deploy) { d.Restart = true })},
		"roll-back of web in production to v2":                                          {Deploy: with(func(d *plan.Deploy) { d.Back = true })},
		"promotion of web v2 from testing to production":                                {Deploy: with(func(d *plan.Deploy) { d.Promoted = true }), Promotion: testing},
		"promotion of the set shop from testing to production: orders sha256:1, web v2": {Set: &plan.Set{Name: "shop", Deploys: []plan.Deploy{orders, web}}, Promotion: testing},
		"promotion of the set shop from testing to production: web v2 (left as it is: ads, db)": {
			Set: &plan.Set{Name: "shop", Deploys: []plan.Deploy{web}, Stands: []string{"ads", "db"}}, Promotion: testing,
		},
		"rollover of production (commit 12345678-dirty, none, unknown)": {
			Premises: plan.Observed{Sources: []plan.Source{{Commit: "123456789", Dirty: true}, {Dirty: true}, {Trouble: "no rights"}}},
		},
	} {
		p.Environment = "production"
		same(t, "wish", want, wish(Start{Operation: Rollover, Plan: p}))
	}
	b := newBench(t, nil)
	ok(t, b.Begin(t.Context(), Start{Run: "r1", Operation: Rollover, By: "me@here", Plan: b.plan})) // once more
	first, err := b.Records.Events(t.Context(), "r1", 0)
	ok(t, err)
	if len(first) != 1 || first[0].Message != "rollover of production was asked for" || first[0].By != "me@here" {
		t.Errorf("the story begins with %+v", first)
	}
}

// TestBeginKeepsWhoMadeIt: a generation that one run made is live when the next begins.
func TestBeginKeepsWhoMadeIt(t *testing.T) {
	b := newBench(t, nil)
	made := b.generation(t, "new")
	b.plan.Previous, b.plan.Generation = "new", "newer"
	b.begin(t, "r2")
	got := b.generation(t, "new")
	same(t, "run and time of the making stay", []any{made.Run, made.Created}, []any{got.Run, got.Created})
	same(t, "phase", record.Live, got.Phase)
}

// TestWaitAndGoOn does everything twice; the second must change nothing.
func TestWaitAndGoOn(t *testing.T) {
	b := newBench(t, nil)
	ctx, id := t.Context(), ID{Run: "r1", Name: "approve", Time: 1}
	for range 2 {
		ok(t, b.Wait(ctx, Waiting{Step: id, Why: "the shift waits for an approval"}))
		r := b.run(t, "r1")
		same(t, "a run that waits says so, and for what", []any{record.Waiting, "the shift waits for an approval"}, []any{r.State, r.Reason})
	}
	for range 2 {
		ok(t, b.GoOn(ctx, Approval{ID: id, By: "bea@desk"}))
		r := b.run(t, "r1")
		same(t, "a run that goes on waits for nothing", []any{record.Running, ""}, []any{r.State, r.Reason})
	}
	id.Time = 2
	ok(t, b.Wait(ctx, Waiting{Step: id, Why: "the users are back"}))
	same(t, "the story", []string{
		"started approve: the shift waits for an approval", "done approve: approved by bea@desk", "started approve: the users are back",
	}, b.story(t))
}

func TestPause(t *testing.T) {
	b := newBench(t, nil)
	ctx, id := t.Context(), ID{Run: "r1", Name: "soak", Time: 1}
	for range 2 {
		ok(t, b.PauseBegins(ctx, Pause{Step: id, For: time.Hour}))
	}
	for range 2 {
		ok(t, b.PauseEnds(ctx, id))
	}
	same(t, "the story", []string{"started soak: the way back stays open for 1h0m0s", "done soak: the time is over"}, b.story(t))
	same(t, "a pause is no wait for a person", record.Running, b.run(t, "r1").State)
}

func TestNote(t *testing.T) {
	b := newBench(t, nil)
	ctx := t.Context()
	asked := Remark{Step: ID{Run: "r1", Name: "note", Time: 1}, By: "me@here", Text: "abort was asked for", Command: &CommandDetail{Command: "abort"}}
	for range 2 {
		ok(t, b.Note(ctx, asked))
	}
	ok(t, b.Note(ctx, Remark{Step: ID{Run: "r1", Name: "note", Time: 2}, Text: "abort was asked for"}))
	events := b.events(t, "r1")
	want := []record.Event{
		{Run: "r1", Key: "note#1/note", Kind: record.Note, Message: "abort was asked for", By: "me@here", Detail: json.RawMessage(`{"command":"abort","accepted":false}`)},
		{Run: "r1", Key: "note#2/note", Kind: record.Note, Message: "abort was asked for"},
	}
	if diff := cmp.Diff(want, events, cmpopts.IgnoreFields(record.Event{}, "Seq", "At")); diff != "" {
		t.Errorf("a remark is recorded once, outside of steps; the same words later are another (-want +got):\n%s", diff)
	}
}

func TestFinish(t *testing.T) {
	cases := map[string]struct {
		reason string
		end    End
		want   string
	}{
		"Done":   {"what went well needs no reason", End{Run: "r1", State: record.Done}, "note : done"},
		"Failed": {"why it failed is in the story", End{Run: "r1", State: record.RunFailed, Reason: "no cluster"}, "note : failed: no cluster"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			ctx := t.Context()
			ok(t, b.Finish(ctx, tc.end))
			r := b.run(t, "r1")
			same(t, tc.reason, []any{tc.end.State, tc.end.Reason}, []any{r.State, r.Reason})
			if r.Ended == nil {
				t.Fatal("a run that ended has a time at which it did")
			}
			ok(t, b.Finish(ctx, tc.end))
			ok(t, b.GoOn(ctx, Approval{ID: ID{Run: "r1", Name: "approve", Time: 1}})) // of a worker that was late
			same(t, "a run ends once, and stays so", r, b.run(t, "r1"))
			same(t, "its end is told once", tc.want, b.story(t)[0])
			same(t, "key of the end", EndKey, b.events(t, "r1")[0].Key)
		})
	}
}

func TestBookkeepingOfNoRun(t *testing.T) {
	b := newBench(t, nil)
	ctx, id := t.Context(), ID{Run: "r9", Name: "approve", Time: 1}
	for name, err := range map[string]error{
		"Wait": b.Wait(ctx, Waiting{Step: id}), "GoOn": b.GoOn(ctx, Approval{ID: id}), "Finish": b.Finish(ctx, End{Run: "r9", State: record.Done}),
	} {
		if err == nil {
			t.Errorf("%s: a run that never began has no state", name)
		}
	}
	wantCode(t, "Wait", b.Wait(ctx, Waiting{Step: id}), fault.Invalid)
}
