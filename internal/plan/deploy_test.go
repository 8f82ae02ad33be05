package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func wanted() Wanted {
	return Wanted{Rendered: rendered()["service/web"], Version: "sha256:2", Tag: "v2"}
}

// TestMakeDeploy: nothing in a plan is left to a default, and only what was verified in production is called good.
func TestMakeDeploy(t *testing.T) {
	image := func(c *spec.Config) { c.Services[0].Spec.Image = "registry.example.com/web" }
	stages := func(names ...string) func(*spec.Config) {
		return func(c *spec.Config) { image(c); c.Platform.Spec.Stages = names }
	}
	rolling := spec.Strategy{OnFailure: "leave"}
	tests := map[string]struct {
		reason   string
		change   func(*spec.Config)
		strategy spec.Strategy
		goodTag  string
	}{
		"NoImage":  {"a service without an image has no tag", func(*spec.Config) {}, rolling, ""},
		"NoStages": {"without stages everything is production", image, rolling, "latest"},
		"Last":     {"the last stage is production", stages("testing", "production"), rolling, "latest"},
		"Earlier":  {"the stages before it are not", stages("production", "elsewhere"), rolling, ""},
		"NoStage":  {"nor is what is no stage", stages("testing"), rolling, ""},
		"Named":    {"the tag may have another name", func(c *spec.Config) { image(c); c.Platform.Spec.GoodTag = "good" }, rolling, "good"},
		"BlueGreen": {
			"blueGreen drains", func(c *spec.Config) {
				c.Services[0].Spec.Strategy.BlueGreen = &spec.BlueGreen{Checks: []spec.Check{{HTTP: &spec.HTTPCheck{}}}}
			},
			spec.Strategy{OnFailure: "leave", BlueGreen: &spec.BlueGreen{
				Checks: withDefaults([]spec.Check{{HTTP: &spec.HTTPCheck{}}}), Drain: spec.Duration(30 * time.Second),
			}},
			"",
		},
		"Nginx": {
			"the upstream has the service's name", func(c *spec.Config) {
				c.Services[0].Spec.Strategy.BlueGreen = &spec.BlueGreen{Drain: 1, Front: &spec.Front{Nginx: &spec.NginxFront{NodePort: 30080}}}
			},
			spec.Strategy{OnFailure: "leave", BlueGreen: &spec.BlueGreen{Drain: 1, Front: &spec.Front{Nginx: &spec.NginxFront{NodePort: 30080, Upstream: "web"}}}},
			"",
		},
		"Front": {
			"users from outside are led at once unless steps are written", func(c *spec.Config) {
				c.Services[0].Spec.Strategy.BlueGreen = &spec.BlueGreen{Drain: 1, Front: &spec.Front{HTTPRoute: &spec.HTTPRoute{Interval: 5}}}
			}, spec.Strategy{OnFailure: "leave", BlueGreen: &spec.BlueGreen{
				Drain: 1, Front: &spec.Front{HTTPRoute: &spec.HTTPRoute{Steps: []int{100}, Interval: 5}},
			}}, "",
		},
		"Written": {
			"what is written holds", func(c *spec.Config) {
				c.Services[0].Spec.Strategy = spec.Strategy{OnFailure: "remove", BlueGreen: &spec.BlueGreen{Approve: true, Drain: 1, Keep: 2}}
			}, spec.Strategy{OnFailure: "remove", BlueGreen: &spec.BlueGreen{Approve: true, Drain: 1, Keep: 2}}, "",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cfg, before := shop(), shop()
			tc.change(cfg)
			tc.change(before)
			p, err := MakeDeploy(cfg, "production", "web", wanted(), live())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.strategy, p.Deploy.Strategy); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			got := []string{p.Deploy.GoodTag, p.Deploy.Version(), p.Deploy.Unit.Version, p.Generation, p.Service()}
			if diff := cmp.Diff([]string{tc.goodTag, "v2", "sha256:2", "prod2611140130", "web"}, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(before, cfg); diff != "" {
				t.Errorf("MakeDeploy changed the configuration: %s", diff)
			}
			if err := p.Intact(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMakeDeployRefuses(t *testing.T) {
	tests := map[string]struct {
		environment, service string
		change               func(*spec.Config, *Observed)
		code                 fault.Code
		want, hint           string
	}{
		"environment": {"staging", "web", nil, fault.Invalid, "there is no environment staging", ""},
		"service":     {"production", "wbe", nil, fault.Invalid, "there is no service wbe", ""},
		"elsewhere":   {"production", "elsewhere", nil, fault.Invalid, "environment production has no service elsewhere", "it has web, orders, db"},
		"empty": {
			"production", "web", func(c *spec.Config, _ *Observed) { c.Environments[0].Spec.Services = nil }, fault.Invalid,
			"environment production has no service web", "add it to spec.services of the environment",
		},
		"nothing live": {
			"production", "web", func(_ *spec.Config, o *Observed) { o.Live = "" }, fault.Failed,
			"environment production has no live generation to deploy into", "crossfade rollover production builds one, with every service",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cfg, seen := shop(), live()
			if tc.change != nil {
				tc.change(cfg, &seen)
			}
			_, err := MakeDeploy(cfg, tc.environment, tc.service, wanted(), seen)
			if fault.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.want) || tc.hint != "" && fault.HintOf(err) != tc.hint {
				t.Errorf("got %v (%s, hint %q), want %q (%s, hint %q)", err, fault.CodeOf(err), fault.HintOf(err), tc.want, tc.code, tc.hint)
			}
		})
	}
}

// TestDeployHash: the same is planned as the same, and anything that would be done in another way has another hash.
func TestDeployHash(t *testing.T) {
	hash := func(change func(*spec.Config, *Wanted)) string {
		cfg, w := shop(), wanted()
		change(cfg, &w)
		p, err := MakeDeploy(cfg, "production", "web", w, live())
		if err != nil {
			t.Fatal(err)
		}
		return p.Hash
	}
	seen := map[string]string{hash(func(*spec.Config, *Wanted) {}): "nothing"}
	if again := hash(func(*spec.Config, *Wanted) {}); seen[again] == "" {
		t.Error("the same plan has another hash")
	}
	for name, change := range map[string]func(*spec.Config, *Wanted){
		"version":   func(_ *spec.Config, w *Wanted) { w.Version = "sha256:3" },
		"tag":       func(_ *spec.Config, w *Wanted) { w.Tag = "v3" },
		"manifests": func(_ *spec.Config, w *Wanted) { w.Manifests = "sha256:other" },
		"restart":   func(_ *spec.Config, w *Wanted) { w.Restart = true },
		"back":      func(_ *spec.Config, w *Wanted) { w.Back = true },
		"strategy":  func(c *spec.Config, _ *Wanted) { c.Services[0].Spec.Strategy.BlueGreen = &spec.BlueGreen{} },
		"onFailure": func(c *spec.Config, _ *Wanted) { c.Services[0].Spec.Strategy.OnFailure = "remove" },
		"keep":      func(c *spec.Config, _ *Wanted) { c.Services[0].Spec.Strategy.BlueGreen = &spec.BlueGreen{Keep: 1} },
		"image":     func(c *spec.Config, _ *Wanted) { c.Services[0].Spec.Image = "registry.example.com/web" },
		"timeout":   func(c *spec.Config, _ *Wanted) { c.Services[0].Spec.Timeout = 1 },
	} {
		h := hash(change)
		if other := seen[h]; other != "" {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[h] = name
	}
}

// TestNginxNodes: nothing about the nodes is left to a default, and their users are not left behind by a roll-over.
func TestNginxNodes(t *testing.T) {
	cfg := shop()
	cfg.Environments[0].Spec.Nginx = &spec.Nginx{
		SSH: spec.SSH{User: "deploy"}, Nodes: []spec.NginxNode{{Name: "n1", Address: "10.0.0.1"}, {Name: "n2", Command: []string{"sudo", "nginx"}, PIDFile: "/run/edge.pid", Dir: "/etc/edge"}},
	}
	cfg.Services[0].Spec.Strategy.BlueGreen = &spec.BlueGreen{Front: &spec.Front{Nginx: &spec.NginxFront{NodePort: 30080}}}
	want := &spec.Nginx{SSH: spec.SSH{User: "deploy"}, Nodes: []spec.NginxNode{
		{Name: "n1", Address: "10.0.0.1", Command: []string{"nginx"}, PIDFile: "/run/nginx.pid", Dir: "/etc/nginx/conf.d"},
		{Name: "n2", Command: []string{"sudo", "nginx"}, PIDFile: "/run/edge.pid", Dir: "/etc/edge"},
	}}
	p, err := MakeDeploy(cfg, "production", "web", wanted(), live())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, p.Nginx); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	first := live()
	first.Live = ""
	if p, err = Make(cfg, "production", rendered(), first); err != nil || cmp.Diff(want, p.Nginx) != "" {
		t.Errorf("the first generation takes the users of nginx: %v, %+v", err, p)
	}
	_, err = Make(cfg, "production", rendered(), live())
	if fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), "nginx leads users to web") || fault.HintOf(err) == "" {
		t.Errorf("a roll-over would leave the users of nginx behind: %v (hint %q)", err, fault.HintOf(err))
	}
}

// TestRollbackAtOnce: the steps of a front are for versions that nobody knows yet.
func TestRollbackAtOnce(t *testing.T) {
	for _, back := range []bool{false, true} {
		cfg, w := shop(), wanted()
		written := &spec.HTTPRoute{Steps: []int{10, 100}, Interval: 5}
		cfg.Services[0].Spec.Strategy.BlueGreen = &spec.BlueGreen{Front: &spec.Front{HTTPRoute: written}}
		w.Back = back
		p, err := MakeDeploy(cfg, "production", "web", w, live())
		if err != nil {
			t.Fatal(err)
		}
		want := written
		if back {
			want = &spec.HTTPRoute{Steps: []int{100}}
		}
		if diff := cmp.Diff(want, p.Deploy.Strategy.BlueGreen.Front.HTTPRoute); diff != "" || len(written.Steps) != 2 {
			t.Errorf("back %v: the front (-want +got), of which %v is written:\n%s", back, written, diff)
		}
	}
}
