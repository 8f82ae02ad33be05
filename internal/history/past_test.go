package history

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// TestChoose: a roll-back goes to what was good before what runs, whatever failed since.
func TestChoose(t *testing.T) {
	at := func(version, tag string, good bool) record.Release {
		return record.Release{Version: version, Tag: tag, Manifests: "m" + version, Good: good}
	}
	good := func(version string) record.Release { return at(version, "v"+version, true) }
	bad := func(version string) record.Release { return at(version, "v"+version, false) }
	cases := map[string]struct {
		reason  string
		all     []record.Release
		left    bool
		version string
		current bool
		want    string // "" for none
		code    fault.Code
	}{
		"Before":        {reason: "the one before", all: []record.Release{good("3"), good("2"), good("1")}, want: "2"},
		"Same":          {reason: "one that was released again is the same", all: []record.Release{good("2"), good("2"), good("1")}, want: "1"},
		"SkipsBad":      {reason: "what was never good is nothing to go back to", all: []record.Release{good("3"), bad("2"), good("1")}, want: "1"},
		"FailedGone":    {reason: "one that failed and was taken away does not run", all: []record.Release{bad("3"), good("2"), good("1")}, want: "1"},
		"FailedLeft":    {reason: "one that failed and was left does: back is what was good until then", all: []record.Release{bad("3"), good("2"), good("1")}, left: true, want: "2"},
		"OnlyOne":       {reason: "there is nothing before the first", all: []record.Release{good("1")}, code: fault.Failed},
		"Nothing":       {reason: "nor without any", code: fault.Failed},
		"Current":       {reason: "what runs is the last good one", all: []record.Release{bad("3"), good("2")}, current: true, want: "2"},
		"CurrentLeft":   {reason: "or the one that was left", all: []record.Release{bad("3"), good("2")}, left: true, current: true, want: "3"},
		"NoCurrent":     {reason: "nothing that is good runs", all: []record.Release{bad("1")}, current: true, code: fault.Failed},
		"ByTag":         {reason: "any release may be named by its tag", all: []record.Release{good("2"), bad("1")}, version: "v1", want: "1"},
		"ByDigest":      {reason: "or its digest", all: []record.Release{good("2"), good("1")}, version: "1", want: "1"},
		"TagMoved":      {reason: "of those with one tag the good one", all: []record.Release{at("b", "v1", false), at("a", "v1", true)}, version: "v1", want: "a"},
		"NeverReleased": {reason: "what was never there is an error", all: []record.Release{good("2")}, version: "v9", code: fault.Invalid},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := Past{Environment: "production", Service: "web", All: tc.all, Left: tc.left}
			got, err := p.Choose(tc.version, tc.current)
			if code := fault.CodeOf(err); code != tc.code {
				t.Errorf("%s: the error is of code %q, want %q: %v", tc.reason, code, tc.code, err)
			}
			same(t, tc.reason, tc.want, got.Version)
			if err != nil && fault.HintOf(err) == "" {
				t.Errorf("%s: the error says not what to do: %v", tc.reason, err)
			}
		})
	}
}

// TestRead: whether a release that failed was left is in the story of its run, of which other services may be part.
func TestRead(t *testing.T) {
	for name, tc := range map[string]struct {
		started, done []string
		good, want    bool
	}{
		"Waited":     {},
		"Staged":     {started: []string{"stage", "clean"}, done: []string{"clean"}},
		"Rolled":     {started: []string{"roll"}, want: true},
		"Unrolled":   {started: []string{"roll", "roll-back"}, done: []string{"roll-back"}},
		"Led":        {started: []string{"stage", "switch", "switch-back"}, want: true},
		"Shared":     {started: []string{"stage", "share/10"}, want: true},
		"LedBack":    {started: []string{"stage", "switch", "switch-back"}, done: []string{"switch-back"}},
		"Good":       {started: []string{"roll", "good"}, good: true},
		"Set":        {started: []string{"roll/web", "roll-back/web"}, want: true},
		"SetBack":    {started: []string{"roll/web", "roll-back/web"}, done: []string{"roll-back/web"}},
		"SetOfOther": {started: []string{"roll/orders"}},
		"OtherBack":  {started: []string{"roll/web", "roll-back/orders"}, done: []string{"roll-back/orders"}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			store := fresh(t)
			begun(t, store, record.Run{ID: "d1", Environment: "production"})
			r := record.Release{Environment: "production", Generation: "old", Service: "web", Version: "2", Run: "d1"}
			ok(t, store.PutRelease(t.Context(), r))
			if tc.good {
				ok(t, store.MarkGood(t.Context(), r))
			}
			for _, s := range tc.started {
				told(t, store, record.Event{Run: "d1", Step: s, Kind: record.StepStarted})
			}
			for _, s := range tc.done {
				told(t, store, record.Event{Run: "d1", Step: s, Kind: record.StepDone})
			}
			got, err := Read(t.Context(), store, "production", "web")
			ok(t, err)
			same(t, "left", tc.want, got.Left)
		})
	}
}

// TestReadLive: after a switch-back, what was released into the generation that the users have left does not stand.
func TestReadLive(t *testing.T) {
	for name, tc := range map[string]struct{ live, want string }{
		"Next": {"new", "2"}, "Back": {"old", "1"}, "Unknown": {"", "2"}, // of clusters that were never rolled over, the record knows no generation
	} {
		t.Run(name, func(t *testing.T) {
			store := fresh(t)
			for i, generation := range []string{"old", "new"} {
				at := time.Unix(int64(i), 0)
				r := record.Release{Environment: "production", Generation: generation, Service: "web", Version: string(rune('1' + i)), Run: generation, At: at}
				ok(t, store.PutRelease(t.Context(), r))
				ok(t, store.MarkGood(t.Context(), r))
				phase := record.Standby
				if generation == tc.live {
					phase = record.Live
				}
				ok(t, store.PutGeneration(t.Context(), record.Generation{Environment: "production", Name: generation, Phase: phase, Created: at, Changed: at}))
			}
			p, err := ReadLive(t.Context(), store, "production", "web")
			ok(t, err)
			got, _ := p.Stands()
			same(t, "what stands", tc.want, got.Version)
		})
	}
}

// TestStands: what failed and was left hides what was good before; what was taken away does not.
func TestStands(t *testing.T) {
	good, bad := record.Release{Version: "1", Good: true}, record.Release{Version: "2"}
	for name, tc := range map[string]struct {
		past Past
		want string
	}{
		"Nothing": {Past{}, ""},
		"Good":    {Past{All: []record.Release{good}}, "1"},
		"Gone":    {Past{All: []record.Release{bad, good}}, "1"},
		"Left":    {Past{All: []record.Release{bad, good}, Left: true}, ""},
	} {
		r, is := tc.past.Stands()
		if r.Version != tc.want || is != (tc.want != "") {
			t.Errorf("%s: Stands() = %s, %v, want %q", name, r.Version, is, tc.want)
		}
	}
}

// TestWasGood: a version is good since the first time.
func TestWasGood(t *testing.T) {
	p := Past{All: []record.Release{{Version: "2", Good: true, Run: "c"}, {Version: "1", Good: true, Run: "b"}, {Version: "2", Good: true, Run: "a"}, {Version: "3"}}}
	for version, want := range map[string]string{"2": "a", "1": "b", "3": "", "4": ""} {
		if r, is := p.WasGood(version); r.Run != want || is != (want != "") {
			t.Errorf("WasGood(%s) = %s, %v, want %q", version, r.Run, is, want)
		}
	}
}

func fresh(t *testing.T) *record.Store {
	t.Helper()
	store, err := record.Open(t.Context(), filepath.Join(t.TempDir(), "record.db"))
	ok(t, err)
	t.Cleanup(func() { store.Close() })
	return store
}

// begun records a run.
func begun(t *testing.T, store *record.Store, r record.Run) {
	t.Helper()
	ok(t, store.PutRun(t.Context(), r))
}

// told records an event; what it says makes it another one.
func told(t *testing.T, store *record.Store, e record.Event) {
	t.Helper()
	e.Key = e.Step + "/" + string(e.Kind) + "/" + e.Message
	_, err := store.Append(t.Context(), e)
	ok(t, err)
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
}

func same(t *testing.T, reason string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", reason, diff)
	}
}
