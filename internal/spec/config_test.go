package spec

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// TestServiceIn: what an environment says of a service takes the place of what the service says, there alone.
func TestServiceIn(t *testing.T) {
	base := ServiceSpec{
		Namespace: "shop", Image: "registry.example.com/web", Needs: []string{"orders"}, Manifests: Manifests{Kustomize: "/base"}, Checks: []Check{{Name: "base"}},
	}
	with := func(change func(*ServiceSpec)) ServiceSpec {
		s := base
		change(&s)
		return s
	}
	for name, tc := range map[string]struct {
		reason string
		ref    ServiceRef
		want   ServiceSpec
	}{
		"Nothing":   {"what is not said is the service's", ServiceRef{Version: "v1"}, base},
		"Namespace": {"a namespace of the stage", ServiceRef{Namespace: "test"}, with(func(s *ServiceSpec) { s.Namespace = "test" })},
		"Files":     {"manifests in another form leave nothing of the service's", ServiceRef{Manifests: Manifests{Files: []string{"/a"}}}, with(func(s *ServiceSpec) { s.Manifests = Manifests{Files: []string{"/a"}} })},
		"Kustomize": {"an overlay", ServiceRef{Manifests: Manifests{Kustomize: "/b"}}, with(func(s *ServiceSpec) { s.Kustomize = "/b" })},
		"Helm":      {"a chart with values of the stage", ServiceRef{Manifests: Manifests{Helm: &Helm{Chart: "/c"}}}, with(func(s *ServiceSpec) { s.Manifests = Manifests{Helm: &Helm{Chart: "/c"}} })},
		"Checks":    {"checks of the stage", ServiceRef{Checks: []Check{{Name: "own"}}}, with(func(s *ServiceSpec) { s.Checks = []Check{{Name: "own"}} })},
		"NoChecks":  {"which may be none", ServiceRef{Checks: []Check{}}, with(func(s *ServiceSpec) { s.Checks = []Check{} })},
	} {
		t.Run(name, func(t *testing.T) {
			tc.ref.Name = "web"
			cfg := &Config{Services: []Service{{Metadata: Metadata{Name: "web"}, Spec: base}}}
			got, err := cfg.ServiceIn(&Environment{Spec: EnvironmentSpec{Services: []ServiceRef{{Name: "orders"}, tc.ref}}}, "web")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.Spec); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(base, cfg.Services[0].Spec); diff != "" {
				t.Errorf("the service itself was changed:\n%s", diff)
			}
		})
	}
	cfg := &Config{Services: []Service{{Metadata: Metadata{Name: "web"}}}}
	env := &Environment{Metadata: Metadata{Name: "testing"}}
	for _, service := range []string{"web", "wbe"} {
		if _, err := cfg.ServiceIn(env, service); fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", service, err)
		}
	}
}

func TestStagesBefore(t *testing.T) {
	p := &Platform{Spec: PlatformSpec{Stages: []string{"testing", "staging", "production"}}}
	for environment, want := range map[string]struct {
		before []string
		staged bool
	}{"testing": {nil, true}, "production": {[]string{"testing", "staging"}, true}, "sandbox": {nil, false}} {
		before, staged := p.StagesBefore(environment)
		if staged != want.staged || len(before) != len(want.before) || len(before) > 0 && !cmp.Equal(before, want.before) {
			t.Errorf("StagesBefore(%s) = %v, %v", environment, before, staged)
		}
	}
}
