package promotion

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// shop is three stages with two services in each, a third one that production alone has, a fourth without an image, and an environment that is no stage.
func shop() *spec.Config {
	cfg := &spec.Config{Platform: spec.Platform{Spec: spec.PlatformSpec{Stages: []string{"testing", "staging", "production"}}}}
	for _, name := range []string{"testing", "staging", "production", "sandbox"} {
		env := spec.Environment{Metadata: spec.Metadata{Name: name}, Spec: spec.EnvironmentSpec{
			Cluster: spec.Cluster{Provider: "local"}, Services: []spec.ServiceRef{{Name: "web"}, {Name: "orders"}, {Name: "db"}},
		}}
		if name == "production" {
			env.Spec.Services = append(env.Spec.Services, spec.ServiceRef{Name: "ads"})
			env.Spec.Promotion = spec.Promotion{Checks: []spec.Check{{Name: "smoke"}}, Soak: spec.Duration(time.Hour), Approve: "other"}
		}
		cfg.Environments = append(cfg.Environments, env)
	}
	for _, name := range []string{"web", "orders", "ads"} {
		cfg.Services = append(cfg.Services, spec.Service{Metadata: spec.Metadata{Name: name}, Spec: spec.ServiceSpec{Image: "registry.example.com/" + name}})
	}
	cfg.Services = append(cfg.Services, spec.Service{Metadata: spec.Metadata{Name: "db"}})
	cfg.Stacks = []spec.Stack{
		{Metadata: spec.Metadata{Name: "shop"}, Spec: spec.StackSpec{Services: []string{"web", "orders"}}},
		{Metadata: spec.Metadata{Name: "things"}},
	}
	return cfg
}

// released is a release as it was recorded: "stage service version", by whom, "bad" for one that failed and was left.
type released struct{ what, by string }

var day = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

// recorded is a record in which these were released, a minute after each other.
func recorded(t *testing.T, all ...released) *record.Store {
	t.Helper()
	store, err := record.Open(t.Context(), filepath.Join(t.TempDir(), "record.db"))
	ok(t, err)
	t.Cleanup(func() { store.Close() })
	for i, r := range all {
		at := day.Add(time.Duration(i) * time.Minute)
		words := strings.Fields(r.what)
		run := record.Run{ID: "run-" + string(rune('a'+i)), Environment: words[0], Service: words[1], By: r.by, Started: at, Ended: &at}
		ok(t, store.PutRun(t.Context(), run))
		release := record.Release{
			Environment: words[0], Generation: "g", Service: words[1], Version: words[2], Tag: "tag-of-" + words[2], Manifests: "m" + words[2], Run: run.ID, At: at,
		}
		ok(t, store.PutRelease(t.Context(), release))
		if len(words) == 3 {
			ok(t, store.MarkGood(t.Context(), release))
			continue
		}
		_, err := store.Append(t.Context(), record.Event{Run: run.ID, Key: "roll", Step: "roll", Kind: record.StepStarted})
		ok(t, err)
	}
	return store
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
}

// TestServices: what does not fit the configuration is said before anything is looked for, and which stage is meant is found out.
func TestServices(t *testing.T) {
	noStages := func(c *spec.Config) { c.Platform.Spec.Stages = nil }
	for name, tc := range map[string]struct {
		wish   Wish
		change func(*spec.Config)
		from   string // or
		says   string
	}{
		"StageBefore":  {wish: Wish{Service: "web", Into: "production"}, from: "staging"},
		"Said":         {wish: Wish{Service: "web", Into: "production", From: "testing"}, from: "testing"},
		"Set":          {wish: Wish{Set: "shop", Into: "staging"}, from: "testing"},
		"NotInBetween": {wish: Wish{Service: "web", Into: "production"}, change: func(c *spec.Config) { c.Environments[1].Spec.Services = nil }, from: "testing"},
		"NoStages":     {wish: Wish{Service: "web", Into: "production"}, change: noStages, says: "the platform has no stages"},
		"NoStage":      {wish: Wish{Service: "web", Into: "sandbox"}, says: "environment sandbox is not a stage"},
		"FirstStage":   {wish: Wish{Service: "web", Into: "testing"}, says: "testing is the first stage"},
		"NoEnv":        {wish: Wish{Service: "web", Into: "prod"}, says: "there is no environment prod"},
		"NoService":    {wish: Wish{Service: "order", Into: "production"}, says: "there is no service order; did you mean orders?"},
		"NotThere":     {wish: Wish{Service: "ads", Into: "staging"}, says: "environment staging has no service ads"},
		"NotBefore":    {wish: Wish{Service: "ads", Into: "production"}, says: "no stage before production has ads"},
		"NoImage":      {wish: Wish{Service: "db", Into: "production"}, says: "service db has no versions"},
		"From":         {wish: Wish{Service: "web", Into: "staging", From: "production"}, says: "production is not a stage before staging"},
		"NoSet":        {wish: Wish{Set: "shpo", Into: "staging"}, says: "there is no stack shpo; did you mean shop?"},
		"EmptySet":     {wish: Wish{Set: "things", Into: "staging"}, says: "the set things has no services"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := shop()
			if tc.change != nil {
				tc.change(cfg)
			}
			_, err := tc.wish.Services(cfg)
			if tc.says == "" {
				ok(t, err)
				if tc.wish.From != tc.from {
					t.Errorf("it is promoted from %s, want %s", tc.wish.From, tc.from)
				}
				return
			}
			if err == nil || fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), tc.says) || fault.HintOf(err) == "" {
				t.Errorf("got %v (hint %q), want %q", err, fault.HintOf(err), tc.says)
			}
		})
	}
}

// TestFind: what is good in a stage is what runs there, by its digest.
func TestFind(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		past   []released
		want   string
		says   string
	}{
		"Latest":    {"the latest good one", []released{{"staging web sha256:1", "a"}, {"staging web sha256:2", "a"}}, "sha256:2", ""},
		"Back":      {"also one that was good before", []released{{"staging web sha256:1", "a"}, {"staging web sha256:2", "a"}, {"staging web sha256:1", "a"}}, "sha256:1", ""},
		"Elsewhere": {"another stage says nothing", []released{{"testing web sha256:1", "a"}}, "", "no version of web is good in staging"},
		"Left":      {"nor does one that failed and was left", []released{{"staging web sha256:1", "a"}, {"staging web sha256:2 bad", "a"}}, "", "no version of web is good"},
		"Tag":       {"nobody knows what a tag was", []released{{"staging web v1", "a"}}, "", "deployed to staging as v1, and not by a digest"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Find(t.Context(), recorded(t, tc.past...), Wish{Service: "web", Into: "production", From: "staging"}, []string{"web"})
			if tc.says == "" {
				ok(t, err)
			} else if fault.CodeOf(err) != fault.Failed || !strings.Contains(err.Error(), tc.says) || fault.HintOf(err) == "" {
				t.Errorf("%s: got %v (hint %q), want %q", tc.reason, err, fault.HintOf(err), tc.says)
			}
			if got.Of["web"].Version != tc.want {
				t.Errorf("%s: found %q, want %q", tc.reason, got.Of["web"].Version, tc.want)
			}
		})
	}
}

// TestFindSet: a set has the versions that were verified together last, whatever has changed since.
func TestFindSet(t *testing.T) {
	past := []released{
		{"staging web sha256:1", "a"}, {"staging orders sha256:1", "a"}, {"staging web sha256:2", "a"}, {"staging orders sha256:2 bad", "a"}, {"staging web v3", "a"},
	}
	set := func(web, orders string) map[string]string { return map[string]string{"web": web, "orders": orders} }
	for name, tc := range map[string]struct {
		reason string
		sets   []map[string]string // in order of time
		want   map[string]string
		left   []string
	}{
		"Last":    {"the last one", []map[string]string{set("sha256:1", "sha256:1"), set("sha256:2", "sha256:1")}, set("sha256:2", "sha256:1"), []string{"web", "orders"}},
		"Changed": {"what has changed since is not mixed in", []map[string]string{set("sha256:1", "sha256:1")}, set("sha256:1", "sha256:1"), []string{"web", "orders"}},
		"Part":    {"one in which a service is missing is none", []map[string]string{set("sha256:1", "sha256:1"), {"web": "sha256:2"}}, set("sha256:1", "sha256:1"), []string{"web", "orders"}},
		"Bad":     {"nor is one in which a version was not good in the end", []map[string]string{set("sha256:1", "sha256:1"), set("sha256:2", "sha256:2")}, set("sha256:1", "sha256:1"), []string{"web", "orders"}},
		"Tag":     {"nor one in which nobody knows a digest", []map[string]string{set("v3", "sha256:1")}, nil, nil},
		"Never":   {"two that were good each are no set", nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			store := recorded(t, past...)
			for i, versions := range tc.sets {
				ok(t, store.PutSet(t.Context(), record.Set{Environment: "staging", Run: string(rune('a' + i)), Versions: versions, At: day.Add(time.Duration(i) * time.Hour)}))
			}
			got, err := Find(t.Context(), store, Wish{Set: "shop", Into: "production", From: "staging"}, []string{"web", "orders"})
			if tc.want == nil {
				if fault.CodeOf(err) != fault.Failed || !strings.Contains(err.Error(), "never verified together in staging") || fault.HintOf(err) == "" {
					t.Errorf("%s: got %v, %v", tc.reason, got, err)
				}
				return
			}
			ok(t, err)
			versions := map[string]string{}
			for name, r := range got.Of {
				versions[name] = r.Version
			}
			if diff := cmp.Diff(tc.want, versions); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.left, got.Left); diff != "" {
				t.Errorf("what is at another version by now (-want +got):\n%s", diff)
			}
		})
	}
}

// TestThrough: a version passes the stages in which it was good, and a gate; what it skips needs a reason.
func TestThrough(t *testing.T) {
	gate := plan.GateOf(&shop().Environments[2])
	approval := spec.Promotion{Approve: "other"}
	unasked := gate
	unasked.Checks = nil
	at := func(minutes int) time.Time { return day.Add(time.Duration(minutes) * time.Minute) }
	from := func(stage string, p plan.Promotion) *plan.Promotion {
		p.From = &plan.Stage{Environment: stage}
		return &p
	}
	for name, tc := range map[string]struct {
		reason string
		past   []released
		way    Passage // of web at sha256:1 into production, unless it says
		want   *plan.Promotion
		says   string
	}{
		"Before": {
			reason: "it runs in the stage before", past: []released{{"staging web sha256:1", "anna"}},
			want: from("staging", plan.Promotion{Since: at(0), Authors: []string{"anna"}, Gate: gate}),
		},
		"Since": {
			reason: "it is good there since the first time", past: []released{{"staging web sha256:1", "anna"}, {"staging web sha256:2", "bea"}, {"staging web sha256:1", "carl"}},
			want: from("staging", plan.Promotion{Since: at(0), Authors: []string{"anna"}, Gate: gate}),
		},
		"Replaced": {
			reason: "what the users meet there by now says nothing about it", past: []released{{"staging web sha256:1", "anna"}, {"staging web sha256:2", "bea"}},
			want: from("staging", plan.Promotion{Since: at(0), Authors: []string{"anna"}, Gate: unasked}),
		},
		"Skips": {
			reason: "with a reason it may skip a stage, whose gate it cannot pass", past: []released{{"testing web sha256:1", "anna"}}, way: Passage{Reason: " it burns "},
			want: from("testing", plan.Promotion{Since: at(0), Authors: []string{"anna"}, Skips: []string{"staging"}, Reason: "it burns", Gate: approval}),
		},
		"SkipsAll": {
			reason: "or all of them", way: Passage{Reason: "it burns"},
			want: &plan.Promotion{Skips: []string{"testing", "staging"}, Reason: "it burns", Gate: approval},
		},
		"NoReason":    {reason: "without one it may not", past: []released{{"testing web sha256:1", "anna"}}, says: "this version of web was never good in staging"},
		"EmptyReason": {reason: "which says something", way: Passage{Reason: " \t"}, says: "never good in testing, staging"},
		"Bad":         {reason: "to have been there is not enough", past: []released{{"staging web sha256:1 bad", "anna"}}, says: "never good in testing, staging"},
		"From": {
			reason: "a stage that it has passed is not skipped, wherever it is taken from", past: []released{{"testing web sha256:1", "anna"}, {"staging web sha256:1", "bea"}},
			way: Passage{From: "testing"}, want: from("testing", plan.Promotion{Since: at(0), Authors: []string{"anna"}, Gate: approval}),
		},
		"Set": {
			reason: "a set is good when its last one is, and has the authors of all",
			past:   []released{{"staging orders sha256:2", "bea"}, {"staging web sha256:1", "anna"}}, way: Passage{Versions: map[string]string{"web": "sha256:1", "orders": "sha256:2"}},
			want: from("staging", plan.Promotion{Since: at(1), Authors: []string{"bea", "anna"}, Gate: gate}),
		},
		"SetInPart": {
			reason: "nor is it when one was never there", past: []released{{"staging web sha256:1", "anna"}},
			way: Passage{Versions: map[string]string{"web": "sha256:1", "orders": "sha256:2"}}, says: "this version of orders, web was never good in testing, staging",
		},
		"NowhereElse": {reason: "what runs in one stage alone skips none", way: Passage{Versions: map[string]string{"ads": "sha256:1"}}, want: &plan.Promotion{Gate: approval}},
		"First":       {reason: "nothing is before the first stage", way: Passage{Into: "testing"}},
		"NoStage":     {reason: "nor before what is none", way: Passage{Into: "sandbox"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := tc.way
			if w.Into == "" {
				w.Into = "production"
			}
			if w.Versions == nil {
				w.Versions = map[string]string{"web": "sha256:1"}
			}
			got, err := Through(t.Context(), recorded(t, tc.past...), shop(), w)
			if tc.says != "" {
				if fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), tc.says) || !strings.Contains(fault.HintOf(err), "--reason TEXT") {
					t.Errorf("%s: got %v (hint %q), want %q", tc.reason, err, fault.HintOf(err), tc.says)
				}
				return
			}
			ok(t, err)
			if got != nil && got.From != nil {
				if got.From.Cluster.Provider != "local" || got.From.Prefix != got.From.Environment {
					t.Errorf("its checks cannot be asked in %+v", got.From)
				}
				got.From = &plan.Stage{Environment: got.From.Environment}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestStands: what runs and is good need not be deployed; another configuration of the same version is another thing.
func TestStands(t *testing.T) {
	unit := func(version, manifests string) plan.Unit {
		return plan.Unit{Name: "web", Version: version, Manifests: manifests}
	}
	for name, tc := range map[string]struct {
		unit plan.Unit
		last []released
		want bool
	}{
		"Same":      {unit("sha256:1", "msha256:1"), nil, true},
		"Version":   {unit("sha256:2", "msha256:1"), nil, false},
		"Manifests": {unit("sha256:1", "other"), nil, false},
		"Left":      {unit("sha256:1", "msha256:1"), []released{{"production web sha256:2 bad", "a"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			store := recorded(t, append([]released{{"production web sha256:1", "a"}, {"production orders sha256:1", "a"}}, tc.last...)...)
			orders := plan.Unit{Name: "orders", Version: "sha256:1", Manifests: "msha256:1"}
			got, err := Stands(t.Context(), store, &plan.Plan{Environment: "production", Services: []plan.Unit{orders, tc.unit}})
			ok(t, err)
			if got != tc.want {
				t.Errorf("Stands() = %v", got)
			}
		})
	}
}

// TestSources: what nothing was committed of has no commit.
func TestSources(t *testing.T) {
	m := spec.Manifests{Files: []string{t.TempDir()}, Kustomize: t.TempDir(), Helm: &spec.Helm{Chart: t.TempDir(), ValuesFiles: []string{"/nowhere"}}}
	if got := Sources(t.TempDir(), m); got != nil {
		t.Errorf("Sources() = %+v", got)
	}
}
