package step

import (
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/release/image"
	"github.com/crossfade-dev/crossfade/internal/release/image/registrytest"
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
			p := past{environment: "production", service: "web", all: tc.all, left: tc.left}
			got, err := p.choose(tc.version, tc.current)
			wantCode(t, tc.reason, err, tc.code)
			same(t, tc.reason, tc.want, got.Version)
			if err != nil && fault.HintOf(err) == "" {
				t.Errorf("%s: the error says not what to do: %v", tc.reason, err)
			}
		})
	}
}

// TestPast: whether a release that failed was left is in the story of its run.
func TestPast(t *testing.T) {
	for name, tc := range map[string]struct {
		started, done []string
		good, want    bool
	}{
		"Waited":   {},
		"Staged":   {started: []string{"stage", "clean"}, done: []string{"clean"}},
		"Rolled":   {started: []string{"roll"}, want: true},
		"Unrolled": {started: []string{"roll", "roll-back"}, done: []string{"roll-back"}},
		"Led":      {started: []string{"stage", "switch", "switch-back"}, want: true},
		"Shared":   {started: []string{"stage", "share/10"}, want: true},
		"LedBack":  {started: []string{"stage", "switch", "switch-back"}, done: []string{"switch-back"}},
		"Good":     {started: []string{"roll", "good"}, good: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.beginDeploy(t, "d1", nil)
			r := record.Release{Environment: "production", Generation: "old", Service: "web", Version: "2", Run: "d1"}
			ok(t, b.Records.PutRelease(t.Context(), r))
			if tc.good {
				ok(t, b.Records.MarkGood(t.Context(), r))
			}
			for _, s := range tc.started {
				b.tell(t, "d1", s, record.StepStarted)
			}
			for _, s := range tc.done {
				b.tell(t, "d1", s, record.StepDone)
			}
			got, err := b.past(t.Context(), "production", "web")
			ok(t, err)
			same(t, "left", tc.want, got.left)
		})
	}
}

// switched begins a run that has released a version of the image and led the users to it.
func (b *bench) switched(t *testing.T, run, repository, version string) ID {
	t.Helper()
	b.put(t, 0)
	id := b.beginDeploy(t, run, func(p *plan.Plan) {
		p.Deploy.Image, p.Deploy.GoodTag, p.Deploy.Unit.Version = repository, "latest", version
	})
	ok(t, b.Records.PutRelease(t.Context(), record.Release{Environment: "production", Generation: "old", Service: "web", Version: version, Run: run}))
	id.Name = "good"
	return id
}

// TestMarkGood: the record calls a version good, and then the tag does, to the same digest however often it is done.
func TestMarkGood(t *testing.T) {
	registry := registrytest.Start(t, registrytest.Options{})
	digest := registrytest.Push(t, registry.Address, "shop/web:v2")
	repository := registry.Address + "/shop/web"
	for _, version := range []string{"v2", digest} { // a roll-over deploys by the tag of the configuration: which digest that was, nobody knows
		b := newBench(t, nil)
		id := b.switched(t, "d1", repository, version)
		for range 2 {
			ok(t, b.MarkGood(t.Context(), id))
		}
		good, err := b.Records.Good(t.Context(), "production")
		ok(t, err)
		same(t, "what is good", version, good["web"].Version)
		tag, err := image.Client{}.Current(t.Context(), repository, "latest")
		ok(t, err)
		same(t, "what the tag names", map[bool]string{true: digest}[version == digest], tag)
	}
}

// TestMarkGoodWithoutRegistry: the record has it, the tag has not, and the run fails; a version is never good by its tag alone.
func TestMarkGoodWithoutRegistry(t *testing.T) {
	registry := registrytest.Start(t, registrytest.Options{})
	digest := registrytest.Push(t, registry.Address, "shop/web:v2")
	b := newBench(t, nil)
	id := b.switched(t, "d1", registry.Address+"/shop/web", digest)
	registry.Stop(t)
	b.Now = func() time.Time { b.wait(patience); return b.now() }
	wantRefusal(t, "a registry that is away", b.MarkGood(t.Context(), id), fault.Failed, "no answer for 2m0s")
	good, err := b.Records.Good(t.Context(), "production")
	ok(t, err)
	same(t, "what is good", digest, good["web"].Version)
}

// TestMarkGoodElsewhere: a version that no user meets any more was not verified.
func TestMarkGoodElsewhere(t *testing.T) {
	b := newBench(t, nil)
	id := b.switched(t, "d1", "", "sha256:2")
	b.put(t, 100)
	wantRefusal(t, "after a switch", b.MarkGood(t.Context(), id), fault.Failed, "the users have left old meanwhile")
	good, err := b.Records.Good(t.Context(), "production")
	ok(t, err)
	same(t, "nothing is good", 0, len(good))
}

// TestClears: a version is taken away while its run is admitted, and after that only where no roll-over is concerned.
func TestClears(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(*testing.T, *bench)
		want bool
	}{
		"Admitted": {func(*testing.T, *bench) {}, true},
		"Kept":     {func(t *testing.T, b *bench) { b.tell(t, "d1", Kept, record.StepStarted) }, true},
		"Frozen": {func(t *testing.T, b *bench) {
			b.tell(t, "d1", Kept, record.StepStarted)
			b.begin(t, "r2")
		}, false},
		"Replaced": {func(t *testing.T, b *bench) {
			b.tell(t, "d1", Kept, record.StepStarted)
			b.put(t, 100)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			ok(t, b.Finish(t.Context(), End{Run: "r1", State: record.Done}))
			b.put(t, 0)
			ok(t, b.Admit(t.Context(), b.beginDeploy(t, "d1", nil)))
			tc.set(t, b)
			j := b.job(t.Context())
			var err error
			j.run, j.plan, err = b.load(t.Context(), "d1")
			ok(t, err)
			got, err := j.clears(t.Context())
			ok(t, err)
			same(t, "clears", tc.want, got)
		})
	}
}
