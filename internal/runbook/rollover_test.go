package runbook

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// script is a run in the engine's test environment: steps are told instead of done, some fail, and commands come when a
// step begins.
type script struct {
	fail     map[string]error   // by step, in its first execution
	commands map[string]Command // sent when the step begins, or the first note is told; of a later execution by "step#2"
	after    map[string]string  // by step: what is told before it ends, of something beside it
	edit     func(*plan.Plan)
}

// told is what the script's run did, in order: steps, notes, and its end.
type told struct {
	mu    sync.Mutex
	more  *sync.Cond
	lines []string
	end   step.End
}

func newTold() *told {
	l := &told{}
	l.more = sync.NewCond(&l.mu)
	return l
}

func (l *told) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
	l.more.Broadcast()
}

// await returns when a line that begins so has been told.
func (l *told) await(beginning string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !slices.ContainsFunc(l.lines, func(line string) bool { return strings.HasPrefix(line, beginning) }) {
		l.more.Wait()
	}
}

func thePlan() plan.Plan {
	return plan.Plan{
		Environment: "production", Generation: "new", Previous: "old", Copy: &plan.Copy{},
		Prime:    []plan.Unit{{Name: "base"}, {Name: "ingress", Needs: []string{"base"}}},
		Services: []plan.Unit{{Name: "orders"}, {Name: "web", Needs: []string{"orders"}}},
		Routes:   []plan.Route{{Host: "shop.example.com"}},
		Gate:     spec.Gate{Soak: spec.Duration(time.Second)},
		Shift:    spec.Shift{Steps: []int{10, 100}},
		Retire:   spec.Retire{After: spec.Duration(time.Hour)},
	}
}

// play runs the script to its end, with the procedure of an operation.
func (s script) play(t *testing.T, operation string, procedure any, p plan.Plan) (*told, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: 10 * time.Second}) // the machine may be busy
	l := newTold()
	act := func(id step.ID, text string) error {
		l.add("%s", text)
		execution := id.Name
		if id.Time != 1 {
			execution = fmt.Sprintf("%s#%d", id.Name, id.Time)
		}
		if c, ok := s.commands[execution]; ok {
			env.SignalWorkflow(controlSignal, c)
		}
		if id.Time != 1 {
			return nil
		}
		if beginning, ok := s.after[id.Name]; ok {
			l.await(beginning)
		}
		if err := s.fail[id.Name]; err != nil {
			return temporal.NewNonRetryableApplicationError(err.Error(), string(fault.CodeOf(err)), nil, "")
		}
		return nil
	}
	var tools *step.Toolbox
	plain := func(_ context.Context, id step.ID) error { return act(id, id.Name) }
	for _, a := range []any{
		tools.Confirm, tools.Provision, tools.OpenEntry, tools.ApplyUnit, tools.Copy, tools.Follow, tools.Sync, tools.EnterPreLive, tools.Verify, tools.HoldGate,
		tools.HandOver, tools.HandBack, tools.Drain, tools.Settle, tools.SettleBack, tools.Quarantine, tools.Delete, tools.StandDown, tools.Clean,
		tools.Admit, tools.Roll, tools.Unroll, tools.Stage, tools.Preview, tools.Switch, tools.SwitchBack, tools.MarkGood, tools.DrainVersion, tools.RemoveOld, tools.RemoveNew,
		tools.PassGate, tools.AdmitSet, tools.VerifyStage, tools.Scale, tools.Mirror, tools.LeadAskers, tools.RestoreCertificates, tools.RequestCertificates,
	} {
		env.RegisterActivity(a)
		env.OnActivity(a, mock.Anything, mock.Anything).Return(plain)
	}
	env.RegisterActivity(tools.GoOn)
	env.OnActivity(tools.GoOn, mock.Anything, mock.Anything).Return(func(_ context.Context, a step.Approval) error {
		l.add("%s ends", a.Name)
		return nil
	})
	for _, a := range []any{tools.PauseEnds, tools.FollowEnds} {
		env.RegisterActivity(a)
		env.OnActivity(a, mock.Anything, mock.Anything).Return(func(_ context.Context, id step.ID) error {
			l.add("%s ends", id.Name)
			return nil
		})
	}
	env.RegisterActivity(tools.Begin)
	env.OnActivity(tools.Begin, mock.Anything, mock.Anything).Return(nil)
	for _, a := range []any{tools.Weigh, tools.Share} {
		env.RegisterActivity(a)
		env.OnActivity(a, mock.Anything, mock.Anything).Return(func(_ context.Context, w step.Weight) error { return act(w.Step, w.Step.Name) })
	}
	env.RegisterActivity(tools.Wait)
	env.OnActivity(tools.Wait, mock.Anything, mock.Anything).Return(func(_ context.Context, w step.Waiting) error { return act(w.Step, w.Step.Name) })
	env.RegisterActivity(tools.PauseBegins)
	env.OnActivity(tools.PauseBegins, mock.Anything, mock.Anything).Return(func(_ context.Context, p step.Pause) error { return act(p.Step, p.Step.Name) })
	env.RegisterActivity(tools.Note)
	env.OnActivity(tools.Note, mock.Anything, mock.Anything).Return(func(_ context.Context, r step.Remark) error {
		return act(r.Step, "note: "+r.Text)
	})
	env.RegisterActivity(tools.Finish)
	env.OnActivity(tools.Finish, mock.Anything, mock.Anything).Return(func(_ context.Context, e step.End) error {
		l.end = e
		return nil
	})
	if s.edit != nil {
		s.edit(&p)
	}
	env.ExecuteWorkflow(procedure, step.Start{Run: "r1", Operation: operation, By: "me@here", Plan: p})
	if !env.IsWorkflowCompleted() {
		t.Fatalf("the run did not end; it did %v", l.lines)
	}
	return l, env.GetWorkflowError()
}

func TestRollover(t *testing.T) {
	build := []string{
		"plan", "provision/cluster", "provision/entry", "prime/base", "prime/ingress", "copy", "deploy/orders", "deploy/web",
		"pre-live", "verify", "gate",
	}
	cross := []string{"shift/scale", "shift/10", "shift/100", "follow ends", "sync", "hand-over", "drain", "settle", "soak"}
	back := []string{"switch-back", "switch-back/hand-over", "switch-back/settle"}
	gone := []string{"retire/quarantine", "retire/delete"}
	by := func(name string) Command { return Command{Name: name, By: "me@here"} }
	no, undecided := fault.New(fault.Refused, "the check said no"), fault.New(fault.Undecided, "not enough traffic to tell")
	tests := map[string]struct {
		reason string
		script script
		want   []string
		state  record.RunState
	}{
		"Whole": {
			reason: "every step comes once and in order",
			want:   slices.Concat(build, cross, []string{"soak ends"}, gone),
			state:  record.Done,
		},
		"FirstGeneration": {
			reason: "with nothing live there is nothing to copy, drain, soak or retire",
			script: script{edit: func(p *plan.Plan) { p.Previous, p.Copy, p.Shift.Steps = "", nil, []int{100} }},
			want: slices.Concat(without(build, "copy"), []string{
				"shift/100", "hand-over", "settle",
			}),
			state: record.Done,
		},
		"Certificates": {
			reason: "those of the backup are there before priming, the others are requested after it",
			script: script{edit: func(p *plan.Plan) { p.Certificates = []plan.Certificate{{}} }},
			want: slices.Concat(build[:3], []string{"certificates/restore"}, build[3:5], []string{"certificates/request"}, build[5:], cross,
				[]string{"soak ends"}, gone),
			state: record.Done,
		},
		"CertificateFails": {
			reason: "the live generation was not touched",
			script: script{edit: func(p *plan.Plan) { p.Certificates = []plan.Certificate{{}} }, fail: map[string]error{"certificates/request": no}},
			want:   slices.Concat(build[:3], []string{"certificates/restore"}, build[3:5], []string{"certificates/request", "stand-down"}),
			state:  record.RunRefused,
		},
		"CheckFailsBeforeShift": {
			reason: "the new generation is left, and no share was moved",
			script: script{fail: map[string]error{"verify": no}},
			want:   slices.Concat(build[:10], []string{"follow ends", "stand-down"}),
			state:  record.RunRefused,
		},
		"CheckFailsInShift": {
			reason: "the users go back by themselves, and the old generation stays",
			script: script{fail: map[string]error{"shift/100": no}},
			want:   slices.Concat(build, cross[:3], back, []string{"follow ends"}),
			state:  record.SwitchedBack,
		},
		"TooLittleTraffic": {
			reason: "a person says whether the shift goes on",
			script: script{fail: map[string]error{"shift/10": undecided}, commands: map[string]Command{"approve": by(Approve)}},
			want:   slices.Concat(build, cross[:2], []string{"approve", "approve ends"}, cross[2:], []string{"soak ends"}, gone),
			state:  record.Done,
		},
		"TooLittleTrafficForOne": {
			reason: "or moves the users back, to try again later",
			script: script{fail: map[string]error{"shift/10": undecided}, commands: map[string]Command{"approve": by(SwitchBack), "approve#2": by(Approve)}},
			want:   slices.Concat(build, cross[:2], []string{"approve"}, back, []string{"approve", "approve ends"}, cross, []string{"soak ends"}, gone),
			state:  record.Done,
		},
		"Ahead": {
			reason: "copies and those who ask come before everybody else; a person says whether there were enough copies",
			script: script{
				edit: func(p *plan.Plan) { p.Shift.Mirror, p.Shift.Header = &spec.MirrorFirst{}, &spec.HeaderFirst{} },
				fail: map[string]error{"shift/mirror": undecided}, commands: map[string]Command{"approve": by(Approve)},
			},
			want:  slices.Concat(build, []string{"shift/scale", "shift/mirror", "approve", "approve ends", "shift/header"}, cross[1:], []string{"soak ends"}, gone),
			state: record.Done,
		},
		"CopiesDiffer": {
			reason: "nobody is moved, and what was changed on the way is put back",
			script: script{edit: func(p *plan.Plan) { p.Shift.Mirror = &spec.MirrorFirst{} }, fail: map[string]error{"shift/mirror": no}},
			want:   slices.Concat(build, []string{"shift/scale", "shift/mirror"}, back, []string{"follow ends"}),
			state:  record.SwitchedBack,
		},
		"SwitchBackAndForward": {
			reason: "a switch-back in the soak waits for an approval, and then everything is crossed again",
			script: script{commands: map[string]Command{"soak": by(SwitchBack), "approve": by(Approve)}},
			want:   slices.Concat(build, cross, back, []string{"approve", "approve ends"}, cross, []string{"soak ends"}, gone),
			state:  record.Done,
		},
		"RetireEarly": {
			reason: "a person may end the soak",
			script: script{commands: map[string]Command{"soak": by(RetireNow)}},
			want:   slices.Concat(build, cross, gone),
			state:  record.Done,
		},
		"AbortWhileBuilding": {
			reason: "an abort with clean removes the new generation",
			script: script{commands: map[string]Command{"gate": {Name: Abort, By: "me@here", Clean: true}}, edit: func(p *plan.Plan) { p.Gate.Approve = true }},
			want:   slices.Concat(build, []string{"follow ends", "stand-down", "clean"}),
			state:  record.Aborted,
		},
		"AbortInShift": {
			reason: "the users go back before the run ends",
			script: script{commands: map[string]Command{"shift/10": by(Abort)}},
			want:   slices.Concat(build, cross[:2], back, []string{"follow ends", "stand-down"}),
			state:  record.Aborted,
		},
		"FollowFails": {
			reason: "what the following does not bring, the copy before the switch does",
			script: script{fail: map[string]error{"follow": no}, after: map[string]string{"gate": "note: changes in old are carried over no longer"}},
			want:   slices.Concat(build, without(cross, "follow ends"), []string{"soak ends"}, gone),
			state:  record.Done,
		},
		"SyncFails": {
			reason: "what cannot be copied at the switch would be lost: the users go back",
			script: script{fail: map[string]error{"sync": no}},
			want:   slices.Concat(build, cross[:5], back),
			state:  record.SwitchedBack,
		},
		"CommandAtTheWrongTime": {
			reason: "a switch-back before the shift changes nothing",
			script: script{commands: map[string]Command{"copy": by(SwitchBack)}},
			want:   slices.Concat(build, cross, []string{"soak ends"}, gone),
			state:  record.Done,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, err := tc.script.play(t, OperationRollover, Rollover, thePlan())
			if diff := cmp.Diff(tc.want, steps(l.lines)); diff != "" {
				t.Errorf("%s: steps (-want +got):\n%s\nall: %v", tc.reason, diff, l.lines)
			}
			if l.end.State != tc.state {
				t.Errorf("%s: the run ended as %q (%s), want %q", tc.reason, l.end.State, l.end.Reason, tc.state)
			}
			if (err == nil) != (tc.state == record.Done) {
				t.Errorf("%s: error %v in state %q", tc.reason, err, tc.state)
			}
		})
	}
}

// steps are the lines that are steps, with steps side by side in order of name.
func steps(lines []string) []string {
	var all []string
	for _, l := range lines {
		if !strings.HasPrefix(l, "note: ") && l != "follow" { // it begins beside the others
			all = append(all, l)
		}
	}
	if len(all) > 2 && strings.HasPrefix(all[1], "provision/") {
		slices.Sort(all[1:3]) // the two run side by side
	}
	return all
}

func without(list []string, out string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == out })
}
