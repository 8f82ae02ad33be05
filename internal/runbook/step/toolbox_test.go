package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// TestDo holds the order of intent, effect and outcome, whatever happens to a step. Every attempt is one call of do.
func TestDo(t *testing.T) {
	refused := fault.New(fault.Refused, "the check said no").WithHint("mend the shop")
	type attempt func(*bench, *job, context.CancelFunc) error // what the act does
	good := func(*bench, *job, context.CancelFunc) error { return nil }
	stopped := func(_ *bench, _ *job, cancel context.CancelFunc) error { cancel(); return nil }
	cases := map[string]struct {
		reason   string
		attempts []attempt
		again    bool // the last attempt is the second execution of the step, not the first once more
		want     []string
		err      error // of the last attempt
	}{
		"Done": {
			reason: "the intent and then the outcome", attempts: []attempt{good},
			want: []string{"started s: doing it", "done s: did it"},
		},
		"Twice": {
			reason: "a step that runs again after its end records nothing new", attempts: []attempt{good, good},
			want: []string{"started s: doing it", "done s: did it"},
		},
		"SecondExecution": {
			reason: "a step that comes again in a run has a story of its own", attempts: []attempt{good, good}, again: true,
			want: []string{"started s: doing it", "done s: did it", "started s: doing it", "done s: did it"},
		},
		"Stopped": {
			reason: "the outcome of a step that was stopped is not known, even when its act says it did well", attempts: []attempt{stopped},
			want: []string{"started s: doing it"}, err: context.Canceled,
		},
		"StoppedFails": {
			reason:   "nor is a failure that came of stopping it",
			attempts: []attempt{func(_ *bench, _ *job, cancel context.CancelFunc) error { cancel(); return refused }},
			want:     []string{"started s: doing it"}, err: context.Canceled,
		},
		"StoppedTalks": {
			reason:   "what a step says after it was stopped is not written",
			attempts: []attempt{func(_ *bench, j *job, cancel context.CancelFunc) error { cancel(); j.say("late"); return nil }},
			want:     []string{"started s: doing it"}, err: context.Canceled,
		},
		"StoppedThenGood": {
			reason: "the next process completes it, with one intent", attempts: []attempt{stopped, good},
			want: []string{"started s: doing it", "done s: did it"},
		},
		"Failed": {
			reason: "a failure is an outcome", attempts: []attempt{func(*bench, *job, context.CancelFunc) error { return refused }},
			want: []string{"started s: doing it", "failed s: the check said no"}, err: refused,
		},
		"OwnWords": {
			reason: "an act may say better what it did",
			attempts: []attempt{func(_ *bench, j *job, _ context.CancelFunc) error {
				j.done = "made all three"
				return nil
			}},
			want: []string{"started s: doing it", "done s: made all three"},
		},
		"SaidOnce": {
			reason: "the same words are recorded once, also by another attempt",
			attempts: slices.Repeat([]attempt{func(_ *bench, j *job, cancel context.CancelFunc) error {
				j.say("waiting for %d pods", 2)
				j.say("waiting for %d pods", 2)
				j.say("waiting for %d pods", 1)
				return nil
			}}, 2),
			want: []string{"started s: doing it", "progress s: waiting for 2 pods", "progress s: waiting for 1 pods", "done s: did it"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			var err error
			for i, act := range tc.attempts {
				ctx, cancel := context.WithCancel(t.Context())
				id := ID{Run: "r1", Name: "s", Time: 1}
				if tc.again {
					id.Time += i
				}
				err = b.do(ctx, id, "doing it", "did it", func(_ context.Context, j *job) error {
					if story := b.story(t); !slices.Contains(story, "started s: doing it") {
						t.Errorf("%s: the effect comes before the intent is recorded: %v", tc.reason, story)
					}
					return act(b, j, cancel)
				})
				cancel()
			}
			same(t, tc.reason, tc.want, b.story(t))
			if !errors.Is(err, tc.err) {
				t.Errorf("%s: got the error %v, want %v", tc.reason, err, tc.err)
			}
		})
	}
}

func TestDoKeepsHintAndData(t *testing.T) {
	b := newBench(t, nil)
	fail := fault.New(fault.Failed, "no: %w", fault.New(fault.Failed, "deep").WithHint("mend the shop"))
	ctx := t.Context()
	_ = b.do(ctx, ID{Run: "r1", Name: "bad", Time: 1}, "", "", func(context.Context, *job) error { return fail })
	ok(t, b.do(ctx, ID{Run: "r1", Name: "good", Time: 1}, "", "", func(_ context.Context, j *job) error {
		j.data = map[string]int{"pods": 3}
		return nil
	}))
	details := map[string]string{}
	for _, e := range b.events(t, "r1") {
		details[string(e.Kind)+" "+e.Step] = string(e.Detail)
	}
	same(t, "people see the hint of a failure, machines the data of an outcome", map[string]string{
		"started bad": "", "failed bad": `{"hint":"mend the shop"}`, "started good": "", "done good": `{"pods":3}`,
	}, details)
}

// TestDoWithoutRecord: what cannot be recorded is not done, and what was done and cannot be recorded has not succeeded.
func TestDoWithoutRecord(t *testing.T) {
	id := ID{Run: "r1", Name: "s", Time: 1}
	t.Run("Intent", func(t *testing.T) {
		b := newBench(t, nil)
		b.Now = func() time.Time { _ = b.Records.Close(); return time.Time{} } // after the run was read, before the intent is written
		err := b.do(t.Context(), id, "", "", func(context.Context, *job) error {
			t.Error("it acted without a recorded intent")
			return nil
		})
		if err == nil {
			t.Error("a step without a recorded intent must fail")
		}
	})
	for name, outcome := range map[string]error{"Outcome": nil, "Failure": fault.New(fault.Refused, "the check said no")} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			err := b.do(t.Context(), id, "", "", func(context.Context, *job) error {
				ok(t, b.Records.Close())
				return outcome
			})
			if err == nil || errors.Is(err, outcome) {
				t.Errorf("an outcome that is not in the record must be the failure, got %v", err)
			}
		})
	}
	t.Run("UnknownRun", func(t *testing.T) {
		err := newBench(t, nil).do(t.Context(), ID{Run: "r2", Name: "s", Time: 1}, "", "", func(context.Context, *job) error {
			t.Error("it acted for a run that never began")
			return nil
		})
		wantCode(t, "a run that never began", err, fault.Invalid)
	})
}

// TestInsist holds for how long a peer is asked again.
func TestInsist(t *testing.T) {
	cases := map[string]struct {
		reason string
		act    func(b *bench, try int) error
		tries  int
		code   fault.Code
		want   []string
	}{
		"Answers": {
			reason: "a peer that comes back within the patience is no failure", tries: 3,
			act: func(_ *bench, try int) error {
				if try < 3 {
					return errUnavailable
				}
				return nil
			},
			want: []string{"started s: ", "progress s: asked again, since cannot reach it", "done s: "},
		},
		"Never": {
			reason: "patience ends, and the failure is for good", tries: 2, code: fault.Failed,
			act: func(b *bench, try int) error {
				if try == 2 {
					b.wait(patience)
				}
				return errUnavailable
			},
			want: []string{"started s: ", "progress s: asked again, since cannot reach it", "failed s: no answer for 2m0s: cannot reach it"},
		},
		"Refused": {
			reason: "an answer is an answer", tries: 1, code: fault.Refused,
			act:  func(*bench, int) error { return fault.New(fault.Refused, "no") },
			want: []string{"started s: ", "failed s: no"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b, tries := newBench(t, nil), 0
			err := b.do(t.Context(), ID{Run: "r1", Name: "s", Time: 1}, "", "", func(context.Context, *job) error {
				tries++
				return tc.act(b, tries)
			})
			wantCode(t, tc.reason, err, tc.code)
			same(t, tc.reason+": tries", tc.tries, tries)
			same(t, tc.reason, tc.want, b.story(t))
			if tc.code == fault.Failed && fault.HintOf(err) == "" {
				t.Errorf("%s: the error says not what to do: %v", tc.reason, err)
			}
		})
	}
}

// TestInsistEndsWithItsContext: a step that waits for a peer ends at once when it is stopped.
func TestInsistEndsWithItsContext(t *testing.T) {
	b := newBench(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	err := b.do(ctx, ID{Run: "r1", Name: "s", Time: 1}, "", "", func(context.Context, *job) error {
		if tries++; tries == 2 {
			time.AfterFunc(10*time.Millisecond, cancel) // during the pause before the third
		}
		return errUnavailable
	})
	if !errors.Is(err, context.Canceled) || tries != 2 {
		t.Errorf("got %v after %d tries, want an end after 2", err, tries)
	}
	if last := b.story(t); slices.ContainsFunc(last, func(l string) bool { return strings.HasPrefix(l, "failed") }) {
		t.Errorf("an outcome was recorded: %v", last)
	}
}

// TestShapes holds the JSON of what steps take: it is in the journals of runs under way.
func TestShapes(t *testing.T) {
	id := ID{Run: "r1", Name: "deploy/web", Time: 2}
	const named = `{"run":"r1","id":"deploy/web","time":2}`
	for want, value := range map[string]any{
		named:                                    id,
		`{"step":` + named + `,"share":10}`:      Weight{Step: id, Share: 10},
		`{"step":` + named + `,"why":"w"}`:       Waiting{Step: id, Why: "w"},
		`{"step":` + named + `,"for":1}`:         Pause{Step: id, For: 1},
		`{"step":` + named + `,"text":"t"}`:      Remark{Step: id, Text: "t"},
		`{"run":"r1","state":"done"}`:            End{Run: "r1", State: record.Done},
		`{"command":"abort","accepted":true}`:    CommandDetail{Command: "abort", Accepted: true},
		`{"run":"","operation":"o","by":"b"`:     Start{Operation: "o", By: "b"}, // a plan follows
		fmt.Sprintf(`"%s#2/done"`, "deploy/web"): id.key("done"),
	} {
		got, err := json.Marshal(value)
		ok(t, err)
		if _, open := value.(Start); open {
			got = got[:min(len(got), len(want))]
		}
		same(t, fmt.Sprintf("%T", value), want, string(got))
	}
}

func TestJSONOf(t *testing.T) {
	for name, tc := range map[string]struct {
		data any
		want string
	}{
		"Nothing":     {nil, ""},
		"Data":        {[]string{"a"}, `["a"]`},
		"Unwriteable": {func() {}, `"json: unsupported type: func()"`},
	} {
		same(t, name, tc.want, string(jsonOf(tc.data)))
	}
}
