package engine

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

func TestWorkflows(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	work(t, e)
	t.Run("faults of steps arrive as they were", func(t *testing.T) { testFaults(t, e) })
	t.Run("the id is a lock, and signals and queries arrive", func(t *testing.T) { testLock(t, e) })
	t.Run("cancelled and terminated", func(t *testing.T) { testEnds(t, e) })
	t.Run("history and replay", func(t *testing.T) { testReplay(t, e) })
	t.Run("what is not there", func(t *testing.T) { testAbsent(t, e) })
}

func testFaults(t *testing.T, e *Engine) {
	cases := map[string]struct {
		reason   string
		workflow string
		fault    *fault.Error
		want     *fault.Error
	}{
		"refused": {
			reason: "a check's no keeps its code, text and hint", workflow: "fail",
			fault: fault.New(fault.Refused, "check stock said no: 3 eggs").WithHint("buy eggs"),
			want:  &fault.Error{Code: fault.Refused, Message: "check stock said no: 3 eggs", Hint: "buy eggs"},
		},
		"failed": {
			reason: "a final failure is not tried again", workflow: "fail",
			fault: fault.New(fault.Failed, "cannot bake"), want: &fault.Error{Code: fault.Failed, Message: "cannot bake"},
		},
		"unavailable": {reason: "a passing failure is tried again until it passes", workflow: "flaky", want: nil},
		"panic": {
			reason: "a bug in a step ends the run with an error", workflow: "crash",
			want: &fault.Error{Code: fault.Failed, Message: "cannot finish step crash: internal error: out of eggs"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := e.Wait(t.Context(), start(t, e, name, c.workflow, order{Fault: c.fault}), nil)
			if diff := cmp.Diff(c.want, shown(err)); diff != "" {
				t.Errorf("%s: Wait() -want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// shown is what a person sees of an error; nil for none.
func shown(err error) *fault.Error {
	if err == nil {
		return nil
	}
	return &fault.Error{Code: fault.CodeOf(err), Message: err.Error(), Hint: fault.HintOf(err)}
}

func testLock(t *testing.T, e *Engine) {
	x := start(t, e, "till", "patient", order{Text: "nothing"})
	_, err := e.Start(t.Context(), Workflow{ID: "till", Name: "patient", Queue: "q", Input: order{}})
	if diff := cmp.Diff(&fault.Error{Code: fault.Locked, Message: "cannot start till: it is running already"}, shown(err)); diff != "" {
		t.Errorf("second Start() -want +got:\n%s", diff)
	}
	var told string
	if err := e.Query(t.Context(), x, "told", &told); err != nil || told != "nothing" {
		t.Errorf("Query() = %q, %v", told, err)
	}
	status, err := e.Find(t.Context(), Execution{ID: "till"})
	want := Status{Execution: x, Name: "patient", Queue: "q", Open: true, Outcome: "Running", Started: status.Started}
	if diff := cmp.Diff(want, status); diff != "" || err != nil {
		t.Errorf("Find() -want +got, %v:\n%s", err, diff)
	}
	eventually(t, 10*time.Second, "the open execution is listed", func() bool {
		list, err := e.Open(t.Context())
		return err == nil && slices.ContainsFunc(list, func(s Status) bool { return s.Execution == x })
	})
	if err := e.Signal(t.Context(), Execution{ID: "till"}, "tell", "the news"); err != nil {
		t.Fatal(err)
	}
	if err := e.Wait(t.Context(), x, &told); err != nil || told != "the news" {
		t.Errorf("Wait() = %q, %v", told, err)
	}
	status, err = e.Find(t.Context(), x)
	if status.Open || status.Outcome != "Completed" || status.Closed == nil || err != nil {
		t.Errorf("Find() after the end = %+v, %v", status, err)
	}
	again := start(t, e, "till", "patient", order{}) // an ended one does not lock
	if err := e.Terminate(t.Context(), again, "test"); err != nil {
		t.Error(err)
	}
}

func testEnds(t *testing.T, e *Engine) {
	file := filepath.Join(t.TempDir(), "notes")
	x := start(t, e, "oven", "hang", order{File: file})
	eventually(t, 10*time.Second, "the step hangs", func() bool { return len(lines(t, file)) == 1 })
	if err := e.Cancel(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err := e.Wait(t.Context(), x, nil)
	if got := lines(t, file); len(got) != 2 || got[1] != "cancelled" {
		t.Errorf("the step's context was not cancelled before the run ended: %v (Wait: %v)", got, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a cancelled step went on for %v", took)
	}
	y := start(t, e, "till", "patient", order{})
	if err := e.Terminate(t.Context(), y, "test"); err != nil {
		t.Fatal(err)
	}
	want := &fault.Error{Code: fault.Failed, Message: "the run was terminated"}
	if diff := cmp.Diff(want, shown(e.Wait(t.Context(), y, nil))); diff != "" {
		t.Errorf("Wait() of a terminated run -want +got:\n%s", diff)
	}
}

func testReplay(t *testing.T, e *Engine) {
	x := start(t, e, "diary", "notes", order{File: filepath.Join(t.TempDir(), "notes"), Count: 3})
	if err := e.Wait(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	history, err := e.History(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	if err := Replay(history, registerWorkflows); err != nil {
		t.Errorf("Replay() of the same workflow: %v", err)
	}
	changed := func(r worker.WorkflowRegistry) {
		r.RegisterWorkflowWithOptions(func(ctx workflow.Context, _ order) error { return workflow.Sleep(ctx, time.Hour) }, workflow.RegisterOptions{Name: "notes"})
	}
	if err := Replay(history, changed); err == nil {
		t.Error("Replay() of a changed workflow said nothing")
	}
}

func testAbsent(t *testing.T, e *Engine) {
	nobody := Execution{ID: "nobody"}
	if status, err := e.Find(t.Context(), nobody); err != nil || status != (Status{}) {
		t.Errorf("Find() = %+v, %v", status, err)
	}
	for what, err := range map[string]error{
		"signal": e.Signal(t.Context(), nobody, "tell", "x"), "cancel": e.Cancel(t.Context(), nobody),
		"query": e.Query(t.Context(), nobody, "told", nil), "wait for": e.Wait(t.Context(), nobody, nil),
	} {
		want := &fault.Error{Code: fault.Invalid, Message: "cannot " + what + " nobody: no such run is open"}
		if diff := cmp.Diff(want, shown(err)); diff != "" {
			t.Errorf("%s -want +got:\n%s", what, diff)
		}
	}
}
