package runbook

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// promoted lets a deployment come from another stage, past a gate with everything in it.
func promoted(p *plan.Plan) {
	p.Stage, p.Promotion = true, &plan.Promotion{
		From: &plan.Stage{Environment: "testing"}, Authors: []string{"anna@desk"},
		Gate: spec.Promotion{Checks: []spec.Check{{Name: "smoke"}}, Approve: "other"},
	}
}

// by has people send commands when steps begin.
func by(commands map[string]Command) script { return script{edit: promoted, commands: commands} }

// TestDeployPromoted: a version that comes from another stage passes its gate first, and proves the whole stage in the end.
func TestDeployPromoted(t *testing.T) {
	approval := func(who string) map[string]Command { return map[string]Command{"approve": {Name: Approve, By: who}} }
	gate := []string{"gate", "approve", "approve ends"}
	rolling := func(edits ...func(*plan.Plan)) func(*plan.Plan) {
		return func(p *plan.Plan) {
			promoted(p)
			p.Deploy.Strategy.BlueGreen = nil
			for _, edit := range edits {
				edit(p)
			}
		}
	}
	open := func(p *plan.Plan) { p.Promotion.Gate = spec.Promotion{} }
	tests := map[string]deployCase{
		"Other": {
			reason: "somebody else approves before anything is touched", script: by(approval("bea@desk")),
			want: slices.Concat(gate, []string{"admit", "stage", "preview", "switch", "verify", "good", "drain", "keep", "keep ends", "remove"}), state: record.Done,
		},
		"Author": {
			reason: "who brought it there may not, on no machine", script: by(map[string]Command{"approve": {Name: Approve, By: "anna@laptop"}, "note": {Name: Abort}}),
			want: gate[:2], state: record.Aborted,
		},
		"Asker": {
			reason: "nor may who asks for it", script: by(map[string]Command{"approve": {Name: Approve, By: "me@elsewhere"}, "note": {Name: Abort}}),
			want: gate[:2], state: record.Aborted,
		},
		"Refused": {
			reason: "what the stage before says no to is not touched", script: script{edit: promoted, fail: map[string]error{"gate": errNo}}, want: gate[:1], state: record.RunRefused,
		},
		"Anybody": {
			reason: "anybody means the author, too",
			script: script{edit: func(p *plan.Plan) { promoted(p); p.Promotion.Gate.Approve = "anybody" }, commands: approval("anna@desk")},
			want:   slices.Concat(gate, []string{"admit", "stage", "preview", "switch", "verify", "good", "drain", "keep", "keep ends", "remove"}), state: record.Done,
		},
		"StageRefuses": {
			reason: "when the whole stage says no, the users go back", script: script{edit: func(p *plan.Plan) { promoted(p); open(p) }, fail: map[string]error{"verify": errNo}},
			want: []string{"admit", "stage", "preview", "switch", "verify", "switch-back"}, state: record.SwitchedBack,
		},
		"Rolling": {
			reason: "a rolling one proves the stage as well", script: script{edit: rolling(open)}, want: []string{"admit", "roll", "verify", "good"}, state: record.Done,
		},
		"RollingRefused": {
			reason: "and is rolled back where that was asked for", script: script{edit: rolling(open, remove), fail: map[string]error{"verify": errNo}},
			want: []string{"admit", "roll", "verify", "roll-back"}, state: record.RunRefused,
		},
		"Soak": {
			reason: "a soak alone is a gate, too", script: script{edit: rolling(func(p *plan.Plan) { p.Promotion.Gate = spec.Promotion{Soak: spec.Duration(time.Hour)} })},
			want: []string{"gate", "admit", "roll", "verify", "good"}, state: record.Done,
		},
	}
	for name, tc := range tests {
		t.Run(name, tc.check)
	}
}

// setPlan brings three services into production: orders rolling, web as blueGreen after it, ads beside them.
func setPlan() plan.Plan {
	web := *deployPlan().Deploy
	web.Unit.Needs = []string{"orders"}
	web.Strategy.BlueGreen.Keep = 0
	orders := plan.Deploy{Unit: plan.Unit{Name: "orders", Version: "sha256:2"}}
	return plan.Plan{Environment: "production", Generation: "live", Stage: true, Set: &plan.Set{Name: "shop", Deploys: []plan.Deploy{orders, web}}}
}

// TestPromote: a set goes over as a whole, or not at all.
func TestPromote(t *testing.T) {
	brought := []string{"admit", "roll/orders", "stage/web", "preview/web", "switch/web", "verify"}
	kept := []string{"good/orders", "good/web", "drain/web", "remove/web"}
	failed := func(step string) map[string]error { return map[string]error{step: errNo} }
	broken := fault.New(fault.Failed, "it crashes")
	tests := map[string]struct {
		reason string
		script script
		want   []string
		state  record.RunState
		says   string // why it ended
	}{
		"Whole": {reason: "each after what it needs, and good when the whole is", want: slices.Concat(brought, kept), state: record.Done},
		"Gate": {
			reason: "after the gate of the promotion", script: script{edit: promoted, commands: map[string]Command{"approve": {Name: Approve, By: "bea@desk"}}},
			want: slices.Concat([]string{"gate", "approve", "approve ends"}, brought, kept), state: record.Done,
		},
		"Approvals": {
			reason: "a person is asked at the preview of a service that wants one",
			script: script{edit: func(p *plan.Plan) { p.Set.Deploys[1].Strategy.BlueGreen.Approve = true }, commands: asked("approve", Approve, false)},
			want:   slices.Concat(brought[:4], []string{"approve", "approve ends"}, brought[4:], kept), state: record.Done,
		},
		"FirstFails": {
			reason: "what fails is rolled back, too, and nothing else was touched", script: script{fail: map[string]error{"roll/orders": broken}},
			want: []string{"admit", "roll/orders", "roll-back/orders"}, state: record.RunFailed, says: "orders: it crashes",
		},
		"FirstFailsRemoved": {
			reason: "of what was not begun nothing is removed",
			script: script{fail: map[string]error{"roll/orders": broken}, edit: func(p *plan.Plan) { p.Set.Deploys[1].Strategy.OnFailure = "remove" }},
			want:   []string{"admit", "roll/orders", "roll-back/orders"}, state: record.RunFailed, says: "orders: it crashes",
		},
		"SecondFails": {
			reason: "what has gone over goes back; a colour without users is left for debugging", script: script{fail: map[string]error{"stage/web": broken}},
			want: []string{"admit", "roll/orders", "stage/web", "roll-back/orders"}, state: record.RunFailed, says: "web: it crashes",
		},
		"SecondFailsRemoved": {
			reason: "or removed", script: script{fail: map[string]error{"stage/web": broken}, edit: func(p *plan.Plan) { p.Set.Deploys[1].Strategy.OnFailure = "remove" }},
			want: []string{"admit", "roll/orders", "stage/web", "clean/web", "roll-back/orders"}, state: record.RunFailed, says: "web: it crashes",
		},
		"WholeRefused": {
			reason: "when the whole says no, all go back, those first that need others", script: script{fail: failed("verify")},
			want: slices.Concat(brought, []string{"switch-back/web", "roll-back/orders"}), state: record.SwitchedBack, says: "the check said no",
		},
		"CannotGoBack": {
			reason: "one that cannot go back does not keep the others from it, and is named", script: script{fail: map[string]error{"verify": errNo, "switch-back/web": broken}},
			want: slices.Concat(brought, []string{"switch-back/web", "roll-back/orders"}), state: record.RunFailed,
			says: "the check said no; the set is mixed, as not everything went back: web: it crashes",
		},
		"Aborted": {
			reason: "an abort is no other end than a failure", script: script{commands: asked("switch/web", Abort, false)},
			want: slices.Concat(brought[:5], []string{"switch-back/web", "roll-back/orders"}), state: record.Aborted, says: "abort was asked for by me@here",
		},
		"AbortedAtApproval": {
			reason: "also where a person was asked",
			script: script{edit: func(p *plan.Plan) { p.Set.Deploys[1].Strategy.BlueGreen.Approve = true }, commands: asked("approve", Abort, true)},
			want:   slices.Concat(brought[:4], []string{"approve", "clean/web", "roll-back/orders"}), state: record.Aborted, says: "abort was asked for by me@here",
		},
		"Waiting": {
			reason: "before its turn there is nothing to be undone", script: script{fail: map[string]error{"admit": broken}}, want: brought[:1], state: record.RunFailed, says: "it crashes",
		},
		"NotGood": {
			reason: "what runs and holds does not go back because nobody could record it", script: script{fail: map[string]error{"good/web": broken}},
			want: slices.Concat(brought, []string{"good/orders", "good/web"}), state: record.RunFailed, says: "web: it crashes",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, err := tc.script.play(t, OperationPromote, Promote, setPlan())
			got := steps(l.lines)
			if i := slices.Index(got, "good/web"); i >= 0 && i+1 < len(got) && got[i+1] == "good/orders" { // side by side
				got[i], got[i+1] = got[i+1], got[i]
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: steps (-want +got):\n%s\nall: %v", tc.reason, diff, l.lines)
			}
			if l.end.State != tc.state || l.end.Reason != tc.says || (err == nil) != (tc.state == record.Done) {
				t.Errorf("%s: ended as %q (%s) with %v, want %q (%s)", tc.reason, l.end.State, l.end.Reason, err, tc.state, tc.says)
			}
		})
	}
}

// TestApprovalsInTurn: two services that want an approval at the same time are asked for one after the other, each by its name.
func TestApprovalsInTurn(t *testing.T) {
	p := setPlan()
	orders := *deployPlan().Deploy
	orders.Unit.Name = "orders"
	p.Set.Deploys[0], p.Set.Deploys[1].Unit.Needs = orders, nil
	for i := range p.Set.Deploys {
		p.Set.Deploys[i].Strategy.BlueGreen = &spec.BlueGreen{Approve: true}
	}
	l, err := script{commands: map[string]Command{"approve": {Name: Approve}, "approve#2": {Name: Approve}}}.play(t, OperationPromote, Promote, p)
	if err != nil || l.end.State != record.Done {
		t.Fatalf("ended as %q (%s): %v", l.end.State, l.end.Reason, err)
	}
	got := slices.DeleteFunc(steps(l.lines), func(s string) bool { return s != "approve" && s != "approve ends" })
	if diff := cmp.Diff([]string{"approve", "approve ends", "approve", "approve ends"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSamePerson(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{{"anna@desk", "anna@desk", true}, {"anna@desk", "anna@laptop", true}, {"anna", "anna@desk", true}, {"anna@desk", "bea@desk", false}, {"anna", "ann", false}} {
		if samePerson(tc.a, tc.b) != tc.want {
			t.Errorf("samePerson(%s, %s) = %v", tc.a, tc.b, !tc.want)
		}
	}
}

// TestSkips: what is skipped, and why, is part of the story, before anything is asked or touched.
func TestSkips(t *testing.T) {
	l, err := script{edit: func(p *plan.Plan) {
		p.Promotion = &plan.Promotion{Skips: []string{"testing", "staging"}, Reason: "it burns"}
	}}.play(t, OperationDeploy, Deploy, deployPlan())
	if err != nil || len(l.lines) < 2 || l.lines[0] != "note: skips testing, staging: it burns" || l.lines[1] != "admit" {
		t.Errorf("%v, %v", l.lines, err)
	}
}
