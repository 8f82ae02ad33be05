package plan

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

var update = flag.Bool("update", false, "write what the golden tests see into their files")

// now is the time of all plans in these tests, in a zone that is not UTC: 21 November 2026, 01:30 UTC.
var now = time.Date(2026, 11, 21, 2, 30, 59, 0, time.FixedZone("CET", 3600))

// shop is an environment with something of everything.
func shop() *spec.Config {
	unit := func(name string, needs ...string) spec.Unit {
		return spec.Unit{Name: name, Namespace: name, Needs: needs, Manifests: spec.Manifests{Kustomize: "/shop/" + name}}
	}
	service := func(name string, needs ...string) spec.Service {
		return spec.Service{Metadata: spec.Metadata{Name: name}, Spec: spec.ServiceSpec{
			Namespace: "shop", Needs: needs, Manifests: spec.Manifests{Files: []string{"/shop/" + name}},
		}}
	}
	web := service("web", "orders")
	web.Spec.Checks = []spec.Check{{HTTP: &spec.HTTPCheck{Route: "shop.example.com"}}, {Job: &spec.JobCheck{Manifest: "/shop/job.yaml"}}}
	web.Spec.Timeout = spec.Duration(time.Minute)
	return &spec.Config{
		Dir: "/shop",
		Platform: spec.Platform{Spec: spec.PlatformSpec{Routers: []spec.Router{
			{Name: "edge", Caddy: &spec.CaddyRouter{Listen: ":8080"}},
		}}},
		Services: []spec.Service{web, service("orders", "db"), service("db"), service("elsewhere")},
		Environments: []spec.Environment{{Metadata: spec.Metadata{Name: "production"}, Spec: spec.EnvironmentSpec{
			Prefix:  "prod",
			Cluster: spec.Cluster{Provider: "local"},
			Prime:   []spec.Unit{unit("ingress", "logs"), unit("logs"), unit("certs")},
			Copy: spec.Copy{
				Exclude: []spec.Selector{{Namespaces: []string{"tmp-*"}, Labels: map[string]string{"b": "2", "a": "1"}}},
				Owners:  map[string]string{"Deployment": "git", "ConfigMap": "sync"},
			},
			Services: []spec.ServiceRef{{Name: "web", Version: "1.0"}, {Name: "orders", Version: "2.0"}, {Name: "db"}},
			Routes: []spec.Route{
				{Host: "shop.example.com", Router: "edge", Service: "web", Port: "http", Health: "/healthz"},
				{Host: "api.example.com", PreLive: "next.example.com", Router: "edge", Backend: &spec.Backend{Namespace: "shop", Name: "orders-public"}},
			},
			Verify: []spec.Check{{HTTP: &spec.HTTPCheck{Route: "shop.example.com", Path: "/", Status: 204}}},
			Gate:   spec.Gate{Checks: []spec.Check{{Command: &spec.CommandCheck{Args: []string{"true"}, Dir: "/shop"}}}, Soak: spec.Duration(90 * time.Second), Approve: true},
			Shift: spec.Shift{
				Steps: []int{5, 50, 100}, Interval: spec.Duration(30 * time.Second),
				Mirror: &spec.MirrorFirst{Interval: spec.Duration(time.Minute), Differences: 0.5},
				Header: &spec.HeaderFirst{Name: "X-Generation", Value: "next"},
			},
			Retire: spec.Retire{After: spec.Duration(72 * time.Hour)},
		}}},
	}
}

func rendered() map[string]Rendered {
	result := map[string]Rendered{}
	for _, key := range []string{"prime/ingress", "prime/logs", "prime/certs", "service/web", "service/orders", "service/db"} {
		_, name, _ := strings.Cut(key, "/")
		result[key] = Rendered{
			Manifests: "sha256:" + name, Objects: []string{"apps/Deployment shop/" + name, "Service shop/" + name, "Namespace shop"}, Images: []string{name + ":1"},
		}
	}
	return result
}

func live() Observed {
	return Observed{
		Now: now, Live: "prod2611140130", Weights: map[string]int{"prod2611140130": 100},
		Generations: []string{"prod2611140130"}, Good: map[string]string{"web": "1.4.2", "elsewhere": "9"},
	}
}

// certified is live, with what a backup has.
func certified() Observed {
	o := live()
	o.Certificates = map[string]string{"shop": "valid until 2027-01-20", "api": "one will be requested: it expired on 2026-11-20 12:00 UTC"}
	return o
}

// TestMake compares whole plans, and their tables, by case.
func TestMake(t *testing.T) {
	first := Observed{Now: now, Weights: map[string]int{}, Good: map[string]string{}}
	tests := map[string]struct {
		reason string
		change func(*spec.EnvironmentSpec)
		seen   Observed
	}{
		"next":  {"a generation beside the live one, with everything", func(*spec.EnvironmentSpec) {}, live()},
		"first": {"nothing is live: nothing is copied, and users come at once", func(*spec.EnvironmentSpec) {}, first},
		"keep":  {"the old generation stays", func(e *spec.EnvironmentSpec) { e.Retire = spec.Retire{Keep: true} }, live()},
		"certificates": {"they are restored before priming, and the backup owns their Secrets", func(e *spec.EnvironmentSpec) {
			e.Certificates = []spec.Certificate{
				{Name: "shop", Names: []string{"shop.example.com", "www.example.com"}, Secret: spec.SecretName{Namespace: "shop", Name: "shop-tls"}, Issuer: spec.Issuer{Directory: "https://ca/dir"}, HTTP01: "edge"},
				{Name: "api", Names: []string{"api.example.com"}, Secret: spec.SecretName{Namespace: "shop", Name: "api-tls"}, Issuer: spec.Issuer{Directory: "https://ca/dir"}, HTTP01: "edge"},
			}
			e.CertificateBackup = &spec.CertificateBackup{Directory: "/backup", IdentityFile: "/keys/age"}
		}, certified()},
		"bare": {"nothing but a cluster and its default name", func(e *spec.EnvironmentSpec) {
			*e = spec.EnvironmentSpec{Cluster: spec.Cluster{Provider: "existing", Existing: &spec.ExistingCluster{Contexts: []string{"a", "b"}}}}
		}, Observed{Now: now, Live: "production2611140130", Generations: []string{"production2611140130"}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := shop()
			tc.change(&cfg.Environments[0].Spec)
			p, err := Make(cfg, "production", rendered(), tc.seen)
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			raw, err := json.MarshalIndent(p, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", append(raw, '\n'))
			var table bytes.Buffer
			if err := Table(&table, p); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", table.Bytes())
			if diff := cmp.Diff(shop().Services, cfg.Services); diff != "" {
				t.Errorf("Make changed the configuration: %s", diff)
			}
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestGenerationName(t *testing.T) {
	letters := []string{"p2611210130"}
	for l := 'b'; l <= 'z'; l++ {
		letters = append(letters, "p2611210130"+string(l))
	}
	tests := map[string]struct {
		reason string
		seen   Observed
		want   string
	}{
		"free":     {"the time in UTC", Observed{}, "p2611210130"},
		"standing": {"a generation of this minute stands", Observed{Generations: []string{"p2611210130"}}, "p2611210130b"},
		"live":     {"one that is live but does not stand", Observed{Live: "p2611210130"}, "p2611210130b"},
		"taken":    {"one that has gone keeps its name", Observed{Generations: []string{"p2611210130"}, Taken: []string{"p2611210130b"}}, "p2611210130c"},
		"full":     {"all letters are taken", Observed{Taken: letters}, ""},
	}
	for name, tc := range tests {
		tc.seen.Now = now
		got, err := generationName("p", tc.seen)
		if got != tc.want || (err != nil) != (tc.want == "") {
			t.Errorf("%s: %s: got %q, %v; want %q", name, tc.reason, got, err, tc.want)
		}
	}
}

func TestMakeRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(*spec.Config, map[string]Rendered)
		code   fault.Code
		want   string
	}{
		"environment": {func(c *spec.Config, _ map[string]Rendered) { c.Environments[0].Metadata.Name = "prod" }, fault.Invalid, "there is no environment production"},
		"prime":       {func(_ *spec.Config, r map[string]Rendered) { delete(r, "prime/logs") }, fault.Failed, "prime/logs of production was not rendered"},
		"service":     {func(_ *spec.Config, r map[string]Rendered) { delete(r, "service/db") }, fault.Failed, "service/db was not rendered"},
		"cycle":       {func(c *spec.Config, _ map[string]Rendered) { c.Services[2].Spec.Needs = []string{"web"} }, fault.Invalid, "[web orders db web]"},
		"unknown":     {func(c *spec.Config, _ map[string]Rendered) { c.Services = c.Services[1:] }, fault.Invalid, "there is no service web"},
		"router":      {func(c *spec.Config, _ map[string]Rendered) { c.Platform = spec.Platform{} }, fault.Invalid, "there is no router edge"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cfg, r := shop(), rendered()
			tc.change(cfg, r)
			_, err := Make(cfg, "production", r, live())
			if err == nil || fault.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v (%s), want %q (%s)", err, fault.CodeOf(err), tc.want, tc.code)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	tests := map[string]struct {
		change func(*Observed)
		want   string // "" when the plan still fits
	}{
		"nothing":          {func(*Observed) {}, ""},
		"time":             {func(o *Observed) { o.Now = o.Now.Add(time.Hour) }, ""},
		"order":            {func(o *Observed) { o.Weights["prod1"] = 0 }, ""},
		"service not ours": {func(o *Observed) { o.Good["elsewhere"] = "10" }, ""},
		"live":             {func(o *Observed) { o.Live = "prod2" }, "the plan no longer fits: the live generation was prod2611140130, is prod2"},
		"weights": {
			func(o *Observed) { o.Weights = map[string]int{"prod2611140130": 95, "prod2": 5} },
			"the plan no longer fits: the share of prod2 was 0 %, is 5 %; the share of prod2611140130 was 100 %, is 95 %",
		},
		"appeared": {func(o *Observed) { o.Generations = append(o.Generations, "prod2") }, "the plan no longer fits: the generation prod2 has appeared"},
		"gone":     {func(o *Observed) { o.Generations = nil }, "the plan no longer fits: the generation prod2611140130 has gone"},
		"good": {
			func(o *Observed) { o.Good = map[string]string{"web": "1.5", "db": "3"} },
			"the plan no longer fits: the good version of db was none, is 3; the good version of web was 1.4.2, is 1.5",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := Make(shop(), "production", rendered(), live())
			if err != nil {
				t.Fatal(err)
			}
			seen := live()
			tc.change(&seen)
			err = Check(p, seen)
			got := ""
			if err != nil {
				got = err.Error()
				if fault.CodeOf(err) != fault.Failed || fault.HintOf(err) != "make a new plan" {
					t.Errorf("code %s, hint %q", fault.CodeOf(err), fault.HintOf(err))
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
