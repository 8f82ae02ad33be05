package step

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/render"
)

// deploys has the bench deploy objects as a service in the cluster of a server.
func (b *bench) deploys(t *testing.T, server *kubetest.Server, objs []*unstructured.Unstructured) {
	t.Helper()
	raw, err := render.Encode(objs)
	ok(t, err)
	sum := sha256.Sum256(raw)
	b.plan.Deploy = &plan.Deploy{Unit: plan.Unit{Name: "web", Namespace: "default", Manifests: "sha256:" + hex.EncodeToString(sum[:]), Timeout: time.Minute}}
	b.clusters.access = server.Access
	b.replan(t) // with a record of its own
	_, err = b.Records.PutBlob(t.Context(), raw)
	ok(t, err)
}

// TestRollOverColours: a service that was deployed in colours is not rolled over, as its users would be led to both versions.
func TestRollOverColours(t *testing.T) {
	const service = `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: default}, spec: {selector: {app: web}, ports: [{port: 80}]}}`
	const coloured = `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: default}, spec: {selector: {app: web, crossfade.dev/colour: green}, ports: [{port: 80}]}}`
	server := kubetest.Start(t, "c")
	c := server.Connect(t)
	b := newBench(t, nil)
	objs := kubetest.Objects(t, service)
	b.deploys(t, server, objs)
	roll := func(time int) error { return b.Roll(t.Context(), ID{Run: "r1", Name: "roll", Time: time}) }

	server.WriteAs(t, "crossfade", coloured)
	before, err := c.Get(t.Context(), objs[0])
	ok(t, err)
	wantCode(t, "over a colour", roll(1), fault.Refused)
	ok(t, b.Unroll(t.Context(), ID{Run: "r1", Name: "roll-back", Time: 1}))
	after, err := c.Get(t.Context(), objs[0])
	ok(t, err)
	same(t, "the Service is left as it is", before.GetResourceVersion(), after.GetResourceVersion())
	releases, err := b.Records.Releases(t.Context(), "production", "web")
	ok(t, err)
	same(t, "releases", 0, len(releases))

	ok(t, c.Delete(t.Context(), objs[0]))
	server.WriteAs(t, "crossfade", service)
	ok(t, roll(2))
}
