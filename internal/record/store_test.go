package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// helperVariable makes the test program append events to the record it names.
const helperVariable = "RECORD_TEST_APPEND_TO"

func TestMain(m *testing.M) {
	if path := os.Getenv(helperVariable); path != "" {
		if err := appendForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

var day = time.Date(2026, 11, 21, 1, 30, 0, 123456789, time.UTC)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err, fault.HintOf(err))
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fresh(t *testing.T) *Store { return open(t, filepath.Join(t.TempDir(), "record.db")) }

// run records a run of the given id, started so many seconds after the day began.
func run(t *testing.T, s *Store, id, environment string, second int) Run {
	t.Helper()
	r := Run{
		ID: id, Operation: "rollover", Environment: environment, Generation: "new", Previous: "old", By: "ann@desk",
		State: Running, Plan: json.RawMessage(`{"steps":3}`), Started: day.Add(time.Duration(second) * time.Second),
	}
	if err := s.PutRun(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRuns(t *testing.T) {
	s := fresh(t)
	first, second, third := run(t, s, "a", "production", 1), run(t, s, "b", "production", 2), run(t, s, "c", "staging", 3)
	changed := first
	changed.By = "bob@desk"
	if err := s.PutRun(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	got, err := s.Run(t.Context(), "a")
	if diff := cmp.Diff(first, got); diff != "" || err != nil {
		t.Errorf("Run() after it was recorded twice -want +got, %v:\n%s", err, diff)
	}
	ended := day.Add(time.Hour)
	second.State, second.Reason, second.Ended = RunRefused, "a check said no", &ended
	if err := s.UpdateRun(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	late := second
	late.State, late.Ended = Running, nil
	if err := s.UpdateRun(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	for environment, want := range map[string][]Run{"production": {second, first}, "": {third, second, first}, "nowhere": nil} {
		got, err := s.Runs(t.Context(), environment, 10)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Run{}, "Plan")); diff != "" || err != nil {
			t.Errorf("Runs(%q) -want +got, %v:\n%s", environment, err, diff)
		}
	}
	if got, err := s.Runs(t.Context(), "", 1); err != nil || len(got) != 1 || got[0].Plan != nil {
		t.Errorf("Runs(1) = %+v, %v", got, err)
	}
}

// TestRunsOfServices: a run about one service says so, for ever, and one about the environment says nothing.
func TestRunsOfServices(t *testing.T) {
	s := fresh(t)
	whole := run(t, s, "a", "production", 1)
	web := whole
	web.ID, web.Operation, web.Service, web.Started = "b", "deploy", "web", day.Add(time.Minute)
	if err := s.PutRun(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	moved := web
	moved.Generation, moved.Service, moved.Plan = "newer", "orders", nil
	if err := s.UpdateRun(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	web.Generation = "newer" // where it goes may change, what it is about does not
	got, err := s.Run(t.Context(), "b")
	if diff := cmp.Diff(web, got); diff != "" || err != nil {
		t.Errorf("Run() -want +got, %v:\n%s", err, diff)
	}
	all, err := s.Runs(t.Context(), "production", 10)
	if diff := cmp.Diff([]Run{web, whole}, all, cmpopts.IgnoreFields(Run{}, "Plan")); diff != "" || err != nil {
		t.Errorf("Runs() -want +got, %v:\n%s", err, diff)
	}
}

// TestReleasesByTag: the tag by which a version was asked for stays with it, and a repetition may change it with the version.
func TestReleasesByTag(t *testing.T) {
	s := fresh(t)
	r := Release{Environment: "production", Generation: "prod1", Service: "web", Version: "sha256:1", Tag: "v1", Manifests: "sha256:0", Run: "a", At: day}
	again := r
	again.Version, again.Tag = "sha256:2", "v2"
	for _, r := range []Release{r, again} {
		if err := errors.Join(s.PutRelease(t.Context(), r), s.MarkGood(t.Context(), r)); err != nil {
			t.Fatal(err)
		}
	}
	again.Good, again.Verified = true, day
	all, err := s.Releases(t.Context(), "production", "web")
	if diff := cmp.Diff([]Release{again}, all); diff != "" || err != nil {
		t.Errorf("Releases() -want +got, %v:\n%s", err, diff)
	}
	good, err := s.Good(t.Context(), "production")
	if diff := cmp.Diff(map[string]Release{"web": again}, good); diff != "" || err != nil {
		t.Errorf("Good() -want +got, %v:\n%s", err, diff)
	}
}

func TestEvents(t *testing.T) {
	s := fresh(t)
	run(t, s, "a", "production", 1)
	run(t, s, "b", "production", 2)
	e := Event{Run: "a", Key: "deploy/web/1", Step: "deploy/web", Kind: StepStarted, Message: "deployed web", By: "ann", At: day, Detail: json.RawMessage(`{"n":1}`)}
	other := Event{Run: "b", Key: "deploy/web/1", Kind: Note, Message: "same key, another run", At: day}
	repeated := e
	repeated.Message = "deployed web again"
	for i, step := range []struct {
		event Event
		isNew bool
	}{{e, true}, {repeated, false}, {other, true}, {e, false}} {
		if isNew, err := s.Append(t.Context(), step.event); err != nil || isNew != step.isNew {
			t.Errorf("Append() number %d = %v, %v, want %v", i, isNew, err, step.isNew)
		}
	}
	e.Seq, other.Seq = 1, 2
	for name, c := range map[string]struct {
		run   string
		after int64
		want  []Event
	}{"one run": {"a", 0, []Event{e}}, "the other": {"b", 1, []Event{other}}, "after the last": {"a", 1, nil}} {
		got, err := s.Events(t.Context(), c.run, c.after)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: Events() -want +got, %v:\n%s", name, err, diff)
		}
	}
	if _, err := s.Append(t.Context(), Event{Run: "unknown", Key: "k"}); fault.CodeOf(err) != fault.Failed {
		t.Errorf("Append() to an unknown run = %v", err)
	}
}

// TestEventsOnceInOrder holds, for any order of recording with any repetitions: each key once, in the order of its first recording.
func TestEventsOnceInOrder(t *testing.T) {
	s := fresh(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		r := run(t, s, fmt.Sprint("run-", round), "production", round)
		var want []string
		seen := map[string]bool{}
		for _, key := range rapid.SliceOfN(rapid.StringMatching(`[a-e]{1,2}`), 0, 20).Draw(rt, "keys") {
			isNew, err := s.Append(t.Context(), Event{Run: r.ID, Key: key, Kind: Note, At: day})
			if err != nil || isNew == seen[key] {
				rt.Fatalf("Append(%q) = %v, %v", key, isNew, err)
			}
			if isNew {
				want = append(want, key)
			}
			seen[key] = true
		}
		if diff := cmp.Diff(want, keys(rt, s, r.ID)); diff != "" {
			rt.Fatalf("events -want +got:\n%s", diff)
		}
	})
}

// keys returns the keys of a run's events, and fails when their Seq do not ascend.
func keys(t interface{ Fatalf(string, ...any) }, s *Store, run string) (all []string) {
	events, err := s.Events(context.Background(), run, 0)
	if err != nil {
		t.Fatalf("Events() = %v", err)
	}
	last := int64(0)
	for _, e := range events {
		if e.Seq <= last {
			t.Fatalf("Seq %d after %d", e.Seq, last)
		}
		last, all = e.Seq, append(all, e.Key)
	}
	return all
}

func TestGenerations(t *testing.T) {
	s := fresh(t)
	g := Generation{Environment: "production", Name: "prod1", Phase: Building, Run: "a", Created: day, Changed: day}
	h := Generation{Environment: "production", Name: "prod2", Phase: Building, Run: "b", Created: day.Add(time.Minute), Changed: day.Add(time.Minute)}
	later := day.Add(time.Hour)
	err := errors.Join(
		s.PutGeneration(t.Context(), g), s.PutGeneration(t.Context(), h),
		s.SetPhase(t.Context(), "production", "prod1", Live, later),
		s.SetPhase(t.Context(), "production", "prod1", Live, later.Add(time.Hour)), // a repetition
	)
	if err != nil {
		t.Fatal(err)
	}
	h.Verified, h.Phase, h.Changed = true, Standby, later
	again := h
	again.Run, again.Created = "c", later // who made it and when is not rewritten
	if err := s.PutGeneration(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	g.Phase, g.Changed = Live, later
	got, err := s.Generations(t.Context(), "production")
	if diff := cmp.Diff([]Generation{h, g}, got); diff != "" || err != nil {
		t.Errorf("Generations() -want +got, %v:\n%s", err, diff)
	}
	if got, err := s.Generation(t.Context(), "production", "prod1"); err != nil || cmp.Diff(g, got) != "" {
		t.Errorf("Generation() = %+v, %v", got, err)
	}
}

func TestReleases(t *testing.T) {
	s := fresh(t)
	release := func(service, version, run string, minute int) Release {
		return Release{
			Environment: "production", Generation: "prod1", Service: service, Version: version, Run: run,
			Manifests: "sha256:0", At: day.Add(time.Duration(minute) * time.Minute),
		}
	}
	old, current, next := release("web", "v1", "a", 1), release("web", "v2", "b", 2), release("web", "v3", "c", 3)
	orders := release("orders", "v9", "a", 1)
	for _, r := range []Release{old, current, next, orders} {
		if err := s.PutRelease(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	later := current
	later.At = later.At.Add(time.Hour)
	for _, r := range []Release{old, current, later} { // it is good since the first time
		if err := s.MarkGood(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutRelease(t.Context(), current); err != nil { // recorded again, it stays good
		t.Fatal(err)
	}
	old.Good, current.Good = true, true
	old.Verified, current.Verified = old.At, current.At
	good, err := s.Good(t.Context(), "production")
	if diff := cmp.Diff(map[string]Release{"web": current}, good); diff != "" || err != nil {
		t.Errorf("Good() -want +got, %v:\n%s", err, diff)
	}
	all, err := s.Releases(t.Context(), "production", "web")
	if diff := cmp.Diff([]Release{next, current, old}, all); diff != "" || err != nil {
		t.Errorf("Releases() -want +got, %v:\n%s", err, diff)
	}
}

// TestSets: what was verified together comes back, the latest first, and a run that says it again is heard once.
func TestSets(t *testing.T) {
	s := fresh(t)
	set := func(environment, run, web string, minute int) Set {
		return Set{Environment: environment, Generation: "g", Run: run, Versions: map[string]string{"web": web}, At: day.Add(time.Duration(minute) * time.Minute)}
	}
	first, second, again := set("testing", "a", "1", 1), set("testing", "b", "2", 2), set("testing", "a", "3", 3)
	for _, x := range []Set{first, second, again, set("production", "c", "0", 4)} {
		if err := s.PutSet(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	for limit, want := range map[int][]Set{9: {again, second}, 1: {again}} {
		all, err := s.Sets(t.Context(), "testing", limit)
		if diff := cmp.Diff(want, all); diff != "" || err != nil {
			t.Errorf("Sets() -want +got, %v:\n%s", err, diff)
		}
	}
}

func TestBlobs(t *testing.T) {
	s := fresh(t)
	for _, data := range [][]byte{{}, []byte("kind: Service\n"), bytes.Repeat([]byte{0}, 1<<20)} {
		digest, err := s.PutBlob(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := s.PutBlob(t.Context(), data); err != nil || again != digest {
			t.Errorf("PutBlob() again = %s, %v", again, err)
		}
		got, err := s.Blob(t.Context(), digest)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("Blob(%s) = %d bytes, %v", digest, len(got), err)
		}
	}
	const abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2 appendix B.1
	if digest, err := s.PutBlob(t.Context(), []byte("abc")); err != nil || digest != abc {
		t.Errorf("PutBlob(abc) = %s, %v", digest, err)
	}
}

func TestAbsent(t *testing.T) {
	s := fresh(t)
	_, noRun := s.Run(t.Context(), "r")
	_, noGeneration := s.Generation(t.Context(), "e", "g")
	_, noBlob := s.Blob(t.Context(), "sha256:0")
	for name, err := range map[string]error{
		"Run": noRun, "Generation": noGeneration, "Blob": noBlob,
		"UpdateRun": s.UpdateRun(t.Context(), Run{ID: "r"}), "SetPhase": s.SetPhase(t.Context(), "e", "g", Live, day),
		"MarkGood": s.MarkGood(t.Context(), Release{}),
		"Follow":   s.Follow(t.Context(), "r", 0, func(Event) error { return nil }),
	} {
		if fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), "in the record") {
			t.Errorf("%s of what is not there = %v", name, err)
		}
	}
}

// TestFollow has many follow a run from a second connection while it is written: nothing is missed, and it ends with the run.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.db")
	writer, reader := open(t, path), open(t, path)
	r := run(t, writer, "r", "production", 1)
	const count = 50
	told := make([][]string, 10)
	var followers errgroup.Group
	for i := range told {
		followers.Go(func() error {
			return reader.Follow(t.Context(), "r", 0, func(e Event) error { told[i] = append(told[i], e.Key); return nil })
		})
	}
	var want []string
	for i := range count {
		want = append(want, fmt.Sprint(i))
		if _, err := writer.Append(t.Context(), Event{Run: "r", Key: fmt.Sprint(i), Kind: Progress, At: day}); err != nil {
			t.Fatal(err)
		}
	}
	r.State, r.Ended = Done, &day
	if err := writer.UpdateRun(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := followers.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, told := range told {
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("told -want +got:\n%s", diff)
		}
	}
	enough := errors.New("enough")
	if err := reader.Follow(t.Context(), "r", 0, func(Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("Follow() with a function that fails = %v", err)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	s := fresh(t)
	run(t, s, "r", "production", 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Follow(ctx, "r", 0, func(Event) error { return nil }) }()
	cancel()
	if err := <-done; fault.CodeOf(err) != fault.Interrupted {
		t.Errorf("Follow() = %v", err)
	}
}
