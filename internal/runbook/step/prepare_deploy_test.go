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
