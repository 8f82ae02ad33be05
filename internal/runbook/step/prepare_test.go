package step

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/render"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

const deployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: web}},
template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: registry.example.com/web:1.0}]}}}}`

// config has one service with one manifest.
func config(t *testing.T, manifest string) *spec.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "web.yaml")
	ok(t, os.WriteFile(file, []byte(manifest), 0o600))
	return &spec.Config{
		Services: []spec.Service{{
			Metadata: spec.Metadata{Name: "web"},
			Spec:     spec.ServiceSpec{Namespace: "shop", Image: "registry.example.com/web", Manifests: spec.Manifests{Files: []string{file}}},
		}},
		Environments: []spec.Environment{{
			Metadata: spec.Metadata{Name: "production"},
			Spec:     spec.EnvironmentSpec{Cluster: spec.Cluster{Provider: "local"}, Services: []spec.ServiceRef{{Name: "web", Version: "1.4"}}},
		}},
	}
}

// TestPrepare: the version that was good in production goes before the one of the configuration, and what the plan names is
// in the record.
func TestPrepare(t *testing.T) {
	for name, tc := range map[string]struct {
		good string
		want string
	}{
		"First":    {"", "1.4"},
		"KnowGood": {"1.7", "1.7"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.clusters.standing = map[string]cluster.Phase{}
			ctx := t.Context()
			if tc.good != "" {
				r := record.Release{Environment: "production", Generation: "old", Service: "web", Version: tc.good, Run: "r0"}
				ok(t, b.Records.PutRelease(ctx, r))
				ok(t, b.Records.MarkGood(ctx, r))
			}
			p, err := b.Prepare(ctx, config(t, deployment), "production")
			ok(t, err)
			same(t, "version", tc.want, p.Services[0].Version)
			raw, err := b.Records.Blob(ctx, p.Services[0].Manifests)
			ok(t, err)
			objects, err := render.Decode(raw)
			ok(t, err)
			same(t, "images of what will run", []string{"registry.example.com/web:" + tc.want}, render.Images(objects))
			same(t, "objects", []string{"apps/Deployment shop/web"}, p.Services[0].Objects)
			ok(t, p.Intact())
		})
	}
}

func TestPrepareFails(t *testing.T) {
	b := newBench(t, nil)
	ctx := t.Context()
	_, err := b.Prepare(ctx, config(t, deployment), "staging")
	wantCode(t, "an environment that is not in the configuration", err, fault.Invalid)
	_, err = b.Prepare(ctx, config(t, "{"), "production")
	wantRefusal(t, "a manifest that cannot be read", err, fault.Invalid, "service web: ")
}

// TestAside: operations on generations that stand go by the last roll-over, whatever came after it.
func TestAside(t *testing.T) {
	b := newBench(t, nil)
	ctx := t.Context()
	_, err := b.Aside(ctx, "staging", "new", "old")
	wantRefusal(t, "an environment without a roll-over", err, fault.Invalid, "environment staging has had no roll-over")
	b.plan.Shift.Drain, b.plan.Copy = 7, &plan.Copy{Owned: []string{"ConfigMap shop/settings"}}
	b.begin(t, "r2")
	ok(t, b.Begin(ctx, Start{Run: "r3", Operation: "retire", Plan: plan.Plan{Environment: "production"}}))
	got, err := b.Aside(ctx, "production", "new", "old")
	ok(t, err)
	same(t, "the plan", &plan.Plan{
		Environment: "production", Generation: "new", Previous: "old", Cluster: b.plan.Cluster, Routes: b.plan.Routes, Shift: b.plan.Shift, Copy: b.plan.Copy,
	}, got)
}

func TestShares(t *testing.T) {
	b := newBench(t, nil)
	b.put(t, 10)
	got, err := b.Shares(t.Context(), "production")
	ok(t, err)
	same(t, "shares", map[string]int{"old": 90, "new": 10}, got)
}
