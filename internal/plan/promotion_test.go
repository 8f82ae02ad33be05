package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// staged is the shop whose production is behind testing, where web has a namespace of its own, with a set of web and db: web needs db by way of orders.
func staged() *spec.Config {
	cfg := shop()
	testing := cfg.Environments[0]
	testing.Metadata.Name, testing.Spec.Prefix, testing.Spec.Verify = "testing", "try", nil
	cfg.Environments = append(cfg.Environments, testing)
	production := &cfg.Environments[0].Spec
	for i := range production.Services {
		if production.Services[i].Name == "web" {
			production.Services[i].Namespace, production.Services[i].Checks = "live", []spec.Check{{HTTP: &spec.HTTPCheck{URL: "http://live/"}}}
		}
	}
	production.Promotion = spec.Promotion{Checks: []spec.Check{{HTTP: &spec.HTTPCheck{URL: "http://try/"}}}, Approve: "other"}
	cfg.Platform.Spec.Stages = []string{"testing", "production"}
	cfg.Stacks = []spec.Stack{{Metadata: spec.Metadata{Name: "shop"}, Spec: spec.StackSpec{Services: []string{"web", "db"}}}}
	return cfg
}

func both() map[string]Wanted {
	return map[string]Wanted{"web": wanted(), "db": {Rendered: rendered()["service/db"], Version: "sha256:9"}}
}

// TestMakeSet: a set is planned in the order of its needs, also by way of services that are not in it, and with what the environment says of it.
func TestMakeSet(t *testing.T) {
	promotion := &Promotion{From: &Stage{Environment: "testing"}}
	p, err := MakeSet(staged(), "production", Set{Name: "shop", Proved: "r"}, both(), promotion, live())
	if err != nil {
		t.Fatal(err)
	}
	var order, units []string
	for _, d := range p.Set.Deploys {
		order = append(order, d.Unit.Name)
	}
	for _, u := range p.Services {
		units = append(units, u.Name)
	}
	want := []string{"db", "web"}
	if !cmp.Equal(want, order) || !cmp.Equal(want, units) {
		t.Errorf("the order is %v, of %v, want %v", order, units, want)
	}
	web := p.Set.Deploys[1]
	if diff := cmp.Diff([]any{"live", []string{"db"}, "sha256:2"}, []any{web.Unit.Namespace, web.Unit.Needs, web.Unit.Version}); diff != "" {
		t.Errorf("web (-want +got):\n%s", diff)
	}
	if got := web.Unit.Checks; len(got) != 1 || got[0].HTTP.URL != "http://live/" || got[0].HTTP.Status != 200 {
		t.Errorf("web is proved by %+v, want the check of production with every default", got)
	}
	if !p.Stage || len(p.Verify) != len(staged().Environments[0].Spec.Verify) || p.Promotion != promotion || p.Deploy != nil || p.Service() != "" || p.Names() != "the set shop" {
		t.Errorf("the plan is %+v", p)
	}
	if err := p.Intact(); err != nil {
		t.Error(err)
	}
}

// TestMakeSetStands: what runs there already is left as it is, and nobody waits for it.
func TestMakeSetStands(t *testing.T) {
	p, err := MakeSet(staged(), "production", Set{Name: "shop", Stands: []string{"db"}}, both(), nil, live())
	if err != nil || len(p.Set.Deploys) != 1 || p.Set.Deploys[0].Unit.Name != "web" || p.Set.Deploys[0].Unit.Needs != nil || len(p.Services) != 1 {
		t.Errorf("without db: %+v, %v", p, err)
	}
	p, err = MakeSet(staged(), "production", Set{Name: "shop", Stands: []string{"db", "web"}}, both(), nil, live())
	if err != nil || p.Set.Deploys != nil || p.Services != nil {
		t.Errorf("without any: %+v, %v", p, err)
	}
}

func TestMakeSetRefuses(t *testing.T) {
	none, missing := live(), both()
	none.Live = ""
	delete(missing, "db")
	for name, tc := range map[string]struct {
		environment, set string
		wanted           map[string]Wanted
		seen             Observed
		code             fault.Code
	}{
		"Set":         {"production", "shpo", both(), live(), fault.Invalid},
		"Environment": {"prod", "shop", both(), live(), fault.Invalid},
		"NothingLive": {"production", "shop", both(), none, fault.Failed},
		"NotRendered": {"production", "shop", missing, live(), fault.Failed},
	} {
		if _, err := MakeSet(staged(), tc.environment, Set{Name: tc.set}, tc.wanted, nil, tc.seen); fault.CodeOf(err) != tc.code {
			t.Errorf("%s: got %v, want the code %s", name, err, tc.code)
		}
	}
}

// TestMakeDeployStage: in a stage the whole is verified as well; the deployment of a service elsewhere is its own affair.
func TestMakeDeployStage(t *testing.T) {
	for environment, want := range map[string]bool{"production": true, "sandbox": false} {
		cfg := staged()
		sandbox := cfg.Environments[0]
		sandbox.Metadata.Name = "sandbox"
		cfg.Environments = append(cfg.Environments, sandbox)
		p, err := MakeDeploy(cfg, environment, "web", wanted(), live())
		if err != nil {
			t.Fatal(err)
		}
		if p.Stage != want || len(p.Verify) > 0 != want {
			t.Errorf("%s: Stage = %v, %d checks", environment, p.Stage, len(p.Verify))
		}
	}
}

// TestMakeOverrides: a roll-over has what the environment says of a service, too.
func TestMakeOverrides(t *testing.T) {
	p, err := Make(staged(), "production", rendered(), live())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range p.Services {
		if u.Name == "web" && (u.Namespace != "live" || u.Checks[0].HTTP.URL != "http://live/") {
			t.Errorf("web is %+v", u)
		}
	}
	for _, r := range p.Routes {
		if r.Service == "web" && r.Namespace != "live" {
			t.Errorf("the route is answered in %s", r.Namespace)
		}
	}
}

// TestPick: a step of a set is about one of its services.
func TestPick(t *testing.T) {
	p, err := MakeSet(staged(), "production", Set{Name: "shop"}, both(), nil, live())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Pick(""); err != nil || p.Deploy != nil {
		t.Errorf("a step about the whole: %v, %v", p.Deploy, err)
	}
	if err := p.Pick("web"); err != nil || p.Deploy.Unit.Name != "web" {
		t.Errorf("a step about web: %v, %v", p.Deploy, err)
	}
	if err := p.Pick("orders"); fault.CodeOf(err) != fault.Failed {
		t.Errorf("a step about what is not in the set: %v", err)
	}
	one, err := MakeDeploy(staged(), "production", "web", wanted(), live())
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Pick("anything"); err != nil || one.Deploy.Unit.Name != "web" || one.Names() != "web" {
		t.Errorf("a plan without a set: %v, %v", one.Deploy, err)
	}
}

// TestStageOf: a stage can be asked, and its gate has every default.
func TestStageOf(t *testing.T) {
	s, err := StageOf(staged(), "testing")
	if err != nil || s.Prefix != "try" || s.Cluster.Local.Nodes != 1 || len(s.Routes) == 0 {
		t.Errorf("StageOf() = %+v, %v", s, err)
	}
	if _, err := StageOf(staged(), "staging"); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("of no environment: %v", err)
	}
	gate := GateOf(&staged().Environments[0])
	if gate.Approve != "other" || gate.Checks[0].HTTP.Status != 200 || gate.Checks[0].Timeout != spec.Duration(30*time.Second) {
		t.Errorf("GateOf() = %+v", gate)
	}
}
