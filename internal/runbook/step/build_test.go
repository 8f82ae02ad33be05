package step

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/render"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// TestProvision makes clusters, and adopts the one that served before the first roll-over. Each is told which one it is.
func TestProvision(t *testing.T) {
	server := kubetest.Start(t, "c")
	existing := func(p *plan.Plan) {
		p.Cluster = spec.Cluster{Provider: "existing", Existing: &spec.ExistingCluster{Contexts: []string{"a", "b"}, Live: "a"}}
	}
	cases := map[string]struct {
		reason string
		before bool // the provider has a cluster that served before
		edit   func(*plan.Plan)
		want   []string
	}{
		"Plain": {reason: "a provider without that power has nothing to adopt", want: []string{"create new"}},
		"Adopts": {
			reason: "the live cluster is marked before another is made, or that could be the same", before: true,
			edit: existing, want: []string{"adopt a as old", "create new"},
		},
		"Known": {
			reason: "one that was a generation when the plan was made is not adopted", before: true,
			edit: func(p *plan.Plan) { existing(p); p.Premises.Generations = []string{"old"} }, want: []string{"create new"},
		},
		"First": {
			reason: "with nothing live there is nothing to adopt", before: true,
			edit: func(p *plan.Plan) { existing(p); p.Previous = "" }, want: []string{"create new"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.edit)
			b.clusters.access = server.Access
			delete(b.clusters.standing, "new")
			if tc.before {
				b.makeProvider = func(spec.Cluster) (cluster.Provider, error) { return &serving{clusters: b.clusters}, nil }
			}
			ok(t, b.Provision(t.Context(), ID{Run: "r1", Name: "provision/cluster", Time: 1}))
			same(t, tc.reason, tc.want, b.clusters.calls)
			story := b.story(t)
			ok(t, b.Provision(t.Context(), ID{Run: "r1", Name: "provision/cluster", Time: 1}))
			same(t, "a second run has nothing to tell", story, b.story(t))
			told := kubetest.Objects(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: active-generation, namespace: crossfade-system}}")[0]
			found, err := server.Connect(t).Get(t.Context(), told)
			ok(t, err)
			same(t, "what it is told", any(map[string]any{"generation": "new", "active": b.plan.Previous, "isActive": "false"}), found.Object["data"])
			ok(t, server.Connect(t).Delete(t.Context(), told))
		})
	}
}

// TestProvisionNotAdopted: when the live cluster cannot be marked, none is made.
func TestProvisionNotAdopted(t *testing.T) {
	b := newBench(t, func(p *plan.Plan) { p.Cluster.Existing = &spec.ExistingCluster{Live: "a"} })
	b.clusters.err = fault.New(fault.Failed, "another generation is in a")
	b.makeProvider = func(spec.Cluster) (cluster.Provider, error) { return &serving{clusters: b.clusters}, nil }
	wantCode(t, "provision", b.Provision(t.Context(), ID{Run: "r1", Name: "provision/cluster", Time: 1}), fault.Failed)
	same(t, "calls", []string{"adopt a as old"}, b.clusters.calls)
}

// TestConfirm compares a plan with what is.
func TestConfirm(t *testing.T) {
	cases := map[string]struct {
		reason string
		set    func(*testing.T, *bench) // after the plan was made
		code   fault.Code
	}{
		"Fits": {reason: "what has not changed is confirmed, again and again"},
		"Appeared": {
			reason: "a generation that came meanwhile", code: fault.Failed,
			set: func(_ *testing.T, b *bench) { b.clusters.standing["production2611210259"] = cluster.Ready },
		},
		"UsersMoved": {
			reason: "users that were moved meanwhile", code: fault.Failed,
			set: func(t *testing.T, b *bench) {
				ok(t, b.router.Apply(t.Context(), traffic.Route{Host: "shop.example.com", Sides: []traffic.Side{{Generation: "x", Weight: 100}}}))
			},
		},
		"Tampered": {
			reason: "a plan that is not the one that was shown", code: fault.Invalid,
			set: func(t *testing.T, b *bench) { b.plan.Retire.Keep = !b.plan.Retire.Keep },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.clusters.standing = map[string]cluster.Phase{}
			cfg := &spec.Config{Environments: []spec.Environment{{
				Metadata: spec.Metadata{Name: "production"},
				Spec:     spec.EnvironmentSpec{Cluster: spec.Cluster{Provider: "local"}, Routes: []spec.Route{{Host: "shop.example.com", Router: "front", Backend: &spec.Backend{}}}},
			}}}
			cfg.Platform.Spec.Routers = []spec.Router{b.plan.Routes[0].Router}
			p, err := b.Prepare(t.Context(), cfg, "production")
			ok(t, err)
			b.plan = *p
			if tc.set != nil {
				tc.set(t, b)
			}
			b.replan(t)
			for range 2 {
				wantCode(t, tc.reason, b.Confirm(t.Context(), ID{Run: "r1", Name: "plan", Time: 1}), tc.code)
			}
		})
	}
}

// TestNotReady: a cluster that is not ready is waited for, and its state is in the error.
func TestNotReady(t *testing.T) {
	b := newBench(t, nil)
	b.clusters.standing["new"] = cluster.Partial
	_, err := b.job(t.Context()).connect(t.Context(), "new")
	wantRefusal(t, "partial", err, fault.Unavailable, "cluster new is not ready: partial")
	_, _, err = b.job(t.Context()).target(t.Context(), "")
	wantCode(t, "no checks without a cluster", err, fault.Unavailable)
}

func TestTarget(t *testing.T) {
	b := newBench(t, nil)
	_, target, err := b.job(t.Context()).target(t.Context(), "shop")
	ok(t, err)
	target.Route = nil // compared by TestEntry
	same(t, "what checks can use", []any{"r1", "production", "new", "old", "shop", "127.0.0.1", b.clusters.access},
		[]any{target.Run, target.Environment, target.Generation, target.Previous, target.Namespace, target.Ingress, target.Access})
}

func TestUnitOf(t *testing.T) {
	p := &plan.Plan{Prime: []plan.Unit{{Name: "web", Timeout: 1}}, Services: []plan.Unit{{Name: "web", Timeout: 2}}}
	for name, tc := range map[string]struct {
		layer, unit string
		want        time.Duration
		code        fault.Code
	}{
		"Prime":   {"prime", "web", 1, ""},
		"Service": {"deploy", "web", 2, ""},
		"Unknown": {"deploy", "crm", 0, fault.Failed},
	} {
		u, err := unitOf(p, tc.layer, tc.unit)
		wantCode(t, name, err, tc.code)
		same(t, name, tc.want, u.Timeout)
	}
}

// TestApplyUnitNeedsItsObjects: what was shown is what runs, or nothing.
func TestApplyUnitNeedsItsObjects(t *testing.T) {
	b := newBench(t, func(p *plan.Plan) {
		p.Services = []plan.Unit{{Name: "web", Manifests: "sha256:0", Timeout: time.Minute}}
	})
	err := b.ApplyUnit(t.Context(), ID{Run: "r1", Name: "deploy/web", Time: 1})
	wantCode(t, "objects that are not in the record", err, fault.Invalid)
	releases, err := b.Records.Releases(t.Context(), "production", "web")
	ok(t, err)
	if len(releases) != 0 {
		t.Errorf("nothing was released, but: %+v", releases)
	}
}

// TestApplyUnitOnStandby: what acts on the world outside does so only in the generation that is active, however often it is deployed.
func TestApplyUnitOnStandby(t *testing.T) {
	server := kubetest.Start(t, "c")
	c := server.Connect(t)
	job := kubetest.Objects(t, `{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: default},
  spec: {schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}}}`)[0]
	raw, err := render.Encode([]*unstructured.Unstructured{job})
	ok(t, err)
	b := newBench(t, func(p *plan.Plan) { p.Services = []plan.Unit{{Name: "web", Timeout: time.Minute}} })
	b.clusters.access = server.Access
	sum := sha256.Sum256(raw)
	b.plan.Services[0].Manifests = "sha256:" + hex.EncodeToString(sum[:])
	b.replan(t)
	_, err = b.Records.PutBlob(t.Context(), raw)
	ok(t, err)
	deployed := func(time int) bool {
		t.Helper()
		ok(t, b.ApplyUnit(t.Context(), ID{Run: "r1", Name: "deploy/web", Time: time}))
		found, err := c.Get(t.Context(), job)
		ok(t, err)
		suspended, _, _ := unstructured.NestedBool(found.Object, "spec", "suspend")
		return !suspended
	}
	same(t, "it runs on standby", false, deployed(1))
	same(t, "it runs on standby, deployed again", false, deployed(2))
	ok(t, withhold.HandOver(t.Context(), withhold.Side{}, withhold.Side{Cluster: c}, withhold.Options{Progress: t.Logf}))
	same(t, "it runs when its generation is active", true, deployed(3))
}
