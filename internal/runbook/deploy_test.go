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

// deployPlan deploys web as blueGreen, with everything that may be asked for but an approval.
func deployPlan() plan.Plan {
	return plan.Plan{
		Environment: "production", Generation: "live",
		Deploy: &plan.Deploy{
			Unit: plan.Unit{Name: "web", Version: "sha256:2"}, Tag: "v2",
			Strategy: spec.Strategy{OnFailure: "leave", BlueGreen: &spec.BlueGreen{
				Checks: []spec.Check{{Name: "smoke"}}, Drain: spec.Duration(time.Minute), Keep: spec.Duration(time.Hour),
			}},
		},
	}
}

// deployCase is a script of a deployment, and what it must tell.
type deployCase struct {
	reason string
	script script
	want   []string
	state  record.RunState
}

func (tc deployCase) check(t *testing.T) {
	l, err := tc.script.play(t, OperationDeploy, Deploy, deployPlan())
	if diff := cmp.Diff(tc.want, steps(l.lines)); diff != "" {
		t.Errorf("%s: steps (-want +got):\n%s\nall: %v", tc.reason, diff, l.lines)
	}
	if l.end.State != tc.state {
		t.Errorf("%s: the run ended as %q (%s), want %q", tc.reason, l.end.State, l.end.Reason, tc.state)
	}
	if (err == nil) != (tc.state == record.Done) {
		t.Errorf("%s: error %v in state %q", tc.reason, err, tc.state)
	}
	if (tc.state == record.Done) != (l.end.Reason == "") {
		t.Errorf("%s: ended as %q for the reason %q", tc.reason, tc.state, l.end.Reason)
	}
}

// remove has what fails taken away.
func remove(p *plan.Plan) { p.Deploy.Strategy.OnFailure = "remove" }

// asked has a person send a command when a step begins.
func asked(step, command string, clean bool) map[string]Command {
	return map[string]Command{step: {Name: command, By: "me@here", Clean: clean}}
}

var errNo = fault.New(fault.Refused, "the check said no")

// TestDeployBlueGreen: the users are led to a version that has proved itself, and what they are not led to may be taken away.
func TestDeployBlueGreen(t *testing.T) {
	proved := []string{"admit", "stage", "preview"}
	kept := slices.Concat(proved, []string{"switch", "good", "drain", "keep", "keep ends", "remove"})
	approves := func(p *plan.Plan) { p.Deploy.Strategy.BlueGreen.Approve = true }
	back := slices.Concat(proved, []string{"switch", "switch-back"})
	shares := func(p *plan.Plan) {
		p.Deploy.Strategy.BlueGreen.Front = &spec.Front{HTTPRoute: &spec.HTTPRoute{Steps: []int{10, 50, 100}}}
	}
	shared := []string{"share/10", "share/50", "share/100"}
	tests := map[string]deployCase{
		"Whole": {reason: "every step comes once and in order", want: kept, state: record.Done},
		"Least": {
			reason: "without checks, and with nothing to wait for, there are no steps for it", want: []string{"admit", "stage", "switch", "good", "remove"},
			script: script{edit: func(p *plan.Plan) { p.Deploy.Strategy.BlueGreen = &spec.BlueGreen{} }}, state: record.Done,
		},
		"Approved": {
			reason: "a person is asked when the checks hold, and before any user is led",
			script: script{edit: approves, commands: asked("approve", Approve, false)},
			want:   slices.Concat(proved, []string{"approve", "approve ends"}, kept[3:]), state: record.Done,
		},
		"ApprovedTooEarly": {
			reason: "an approval that nobody asked for yet is none: it must come again",
			script: script{edit: approves, commands: map[string]Command{"stage": {Name: Approve}, "approve": {Name: Abort}}},
			want:   slices.Concat(proved, []string{"approve"}), state: record.Aborted,
		},
		"NotReady": {
			reason: "what does not become ready is left, and no user was led to it",
			script: script{fail: map[string]error{"stage": fault.New(fault.Failed, "it crashes")}}, want: proved[:2], state: record.RunFailed,
		},
		"NotReadyRemoved": {
			reason: "or taken away, where that was asked for", script: script{edit: remove, fail: map[string]error{"stage": fault.New(fault.Failed, "it crashes")}},
			want: []string{"admit", "stage", "clean"}, state: record.RunFailed,
		},
		"CheckFails": {
			reason: "a check that says no before any user was led ends it", script: script{fail: map[string]error{"preview": errNo}},
			want: proved, state: record.RunRefused,
		},
		"CheckFailsRemoved": {
			reason: "and then what failed may be taken away", script: script{edit: remove, fail: map[string]error{"preview": errNo}},
			want: slices.Concat(proved, []string{"clean"}), state: record.RunRefused,
		},
		"CannotClean": {
			reason: "that it cannot be taken away is said, too, and does not hide why it failed",
			script: script{edit: remove, fail: map[string]error{"preview": errNo, "clean": fault.New(fault.Failed, "it stays")}},
			want:   slices.Concat(proved, []string{"clean"}), state: record.RunRefused,
		},
		"LeadRefused": {
			reason: "when the users meet a check that says no, they are led back by themselves, and the version is left",
			script: script{fail: map[string]error{"switch": errNo}}, want: back, state: record.SwitchedBack,
		},
		"LeadRefusedRemoved": {
			reason: "it is taken away only when they are back", script: script{edit: remove, fail: map[string]error{"switch": errNo}},
			want: slices.Concat(back, []string{"clean"}), state: record.SwitchedBack,
		},
		"LeadFails": {
			reason: "a failure leads back as well, and is no refusal", script: script{fail: map[string]error{"switch": fault.New(fault.Failed, "no answer")}},
			want: back, state: record.RunFailed,
		},
		"CannotSwitchBack": {
			reason: "a version that users may still be led to is never taken away",
			script: script{edit: remove, fail: map[string]error{"switch": errNo, "switch-back": fault.New(fault.Failed, "no answer")}},
			want:   back, state: record.RunRefused,
		},
		"Shared": {
			reason: "users from outside are led to it step by step, and then all users",
			script: script{edit: shares}, want: slices.Concat(proved, shared, kept[3:]), state: record.Done,
		},
		"ShareRefused": {
			reason: "when some of them meet a check that says no, they are led back",
			script: script{edit: shares, fail: map[string]error{"share/50": errNo}}, want: slices.Concat(proved, shared[:2], []string{"switch-back"}), state: record.SwitchedBack,
		},
		"ShareRefusedRemoved": {
			reason: "what failed is taken away when nobody can be led to it any more",
			script: script{edit: func(p *plan.Plan) { shares(p); remove(p) }, fail: map[string]error{"share/10": errNo}},
			want:   slices.Concat(proved, shared[:1], []string{"switch-back", "drain", "drain ends", "clean"}), state: record.SwitchedBack,
		},
		"ShareAborted": {
			reason: "and when a person says so", script: script{edit: shares, commands: asked("share/10", Abort, true)},
			want: slices.Concat(proved, shared[:1], []string{"switch-back", "drain", "drain ends", "clean"}), state: record.Aborted,
		},
		"CannotMarkGood": {
			reason: "a version that cannot be recorded as good serves on, and the one before stays",
			script: script{edit: remove, fail: map[string]error{"good": fault.New(fault.Failed, "no registry")}}, want: kept[:5], state: record.RunFailed,
		},
		"NextInKeep": {
			reason: "the next run may have the place: the version before is left to it",
			script: script{commands: asked("keep", MakeWay, false)}, want: kept[:7], state: record.Done,
		},
		"NextBefore": {
			reason: "also when the next run comes while the version before is not kept yet",
			script: script{commands: asked("stage", MakeWay, false)}, want: kept[:6], state: record.Done,
		},
	}
	for name, tc := range tests {
		t.Run(name, tc.check)
	}
}

// TestDeployAborted sends an abort to each place of a deployment.
func TestDeployAborted(t *testing.T) {
	whole := []string{"admit", "stage", "preview", "switch", "good", "drain", "keep", "keep ends", "remove"}
	tests := map[string]struct {
		want  []string // without clean
		clean []string // what comes then, with it
		state record.RunState
	}{
		"admit":   {whole[:1], nil, record.Aborted},
		"stage":   {whole[:2], []string{"clean"}, record.Aborted},
		"preview": {whole[:3], []string{"clean"}, record.Aborted},
		"switch":  {slices.Concat(whole[:4], []string{"switch-back"}), []string{"clean"}, record.Aborted},
		"good":    {whole, nil, record.Done},
		"drain":   {whole, nil, record.Done},
		"keep":    {whole, nil, record.Done},
	}
	for at, tc := range tests {
		for _, clean := range []bool{false, true} {
			c := deployCase{reason: "abort in " + at, script: script{commands: asked(at, Abort, clean)}, want: tc.want, state: tc.state}
			if clean {
				c.want = slices.Concat(tc.want, tc.clean)
			}
			t.Run(at, c.check)
		}
	}
}

// TestDeployRolling: what fails is left as it is, or the version before takes its place again.
func TestDeployRolling(t *testing.T) {
	rolling := func(more ...func(*plan.Plan)) func(*plan.Plan) {
		return func(p *plan.Plan) {
			p.Deploy.Strategy.BlueGreen = nil
			for _, edit := range more {
				edit(p)
			}
		}
	}
	tests := map[string]deployCase{
		"Whole": {reason: "it is good when every pod is there", script: script{edit: rolling()}, want: []string{"admit", "roll", "good"}, state: record.Done},
		"Left": {
			reason: "what fails is left for debugging", script: script{edit: rolling(), fail: map[string]error{"roll": errNo}},
			want: []string{"admit", "roll"}, state: record.RunRefused,
		},
		"Removed": {
			reason: "or the version before takes its place again", script: script{edit: rolling(remove), fail: map[string]error{"roll": errNo}},
			want: []string{"admit", "roll", "roll-back"}, state: record.RunRefused,
		},
		"NeverBegun": {
			reason: "what was not rolled is not rolled back", script: script{edit: rolling(remove), fail: map[string]error{"admit": fault.New(fault.Failed, "no generation")}},
			want: []string{"admit"}, state: record.RunFailed,
		},
		"Aborted": {
			reason: "an abort leaves it where it is", script: script{edit: rolling(), commands: asked("roll", Abort, false)},
			want: []string{"admit", "roll"}, state: record.Aborted,
		},
		"AbortedClean": {
			reason: "unless it is to be clean", script: script{edit: rolling(), commands: asked("roll", Abort, true)},
			want: []string{"admit", "roll", "roll-back"}, state: record.Aborted,
		},
		"AbortedWaiting": {
			reason: "while it waits nothing was begun", script: script{edit: rolling(), commands: asked("admit", Abort, true)},
			want: []string{"admit"}, state: record.Aborted,
		},
		"CannotRollBack": {
			reason: "that is said, too", script: script{edit: rolling(remove), fail: map[string]error{"roll": errNo, "roll-back": fault.New(fault.Failed, "no answer")}},
			want: []string{"admit", "roll", "roll-back"}, state: record.RunRefused,
		},
		"CannotMarkGood": {
			reason: "what runs and holds is not rolled back because nobody could record it",
			script: script{edit: rolling(remove), fail: map[string]error{"good": fault.New(fault.Failed, "no registry")}},
			want:   []string{"admit", "roll", "good"}, state: record.RunFailed,
		},
	}
	for name, tc := range tests {
		t.Run(name, tc.check)
	}
}
