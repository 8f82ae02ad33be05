package step

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/plan"
)

const ledger = `{apiVersion: v1, kind: ConfigMap, metadata: {name: ledger, namespace: default}, data: {page: "%s"}}`

const nightly = `{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: default},
  spec: {schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}}}`

// TestCopyUntilTheHandOver: what is written in the old generation until nothing acts there any more is in the new one before anything
// goes on from there.
func TestCopyUntilTheHandOver(t *testing.T) {
	from, to := kubetest.Start(t, "old"), kubetest.Start(t, "new")
	b := newBench(t, func(p *plan.Plan) { p.Copy = &plan.Copy{} })
	b.clusters.accesses = map[string]cluster.Access{"old": from.Access, "new": to.Access}
	older, newer := from.Connect(t), to.Connect(t)
	field := func(c *kube.Cluster, text string, path ...string) any {
		t.Helper()
		found, err := c.Get(t.Context(), kubetest.Objects(t, text)[0])
		ok(t, err)
		if found == nil {
			return nil
		}
		value, _, err := unstructured.NestedFieldNoCopy(found.Object, path...)
		ok(t, err)
		return value
	}
	write := func(page string) { from.WriteAs(t, "kubectl-edit", fmt.Sprintf(ledger, page)) }
	page := func() any { return field(newer, ledger, "data", "page") }

	from.WriteAs(t, "kubectl-create", nightly)
	write("1")
	ok(t, b.Copy(t.Context(), ID{Run: "r1", Name: "copy", Time: 1}))
	same(t, "copied", "1", page())
	write("2")
	ok(t, b.Sync(t.Context(), ID{Run: "r1", Name: "sync", Time: 1}))
	same(t, "changed since", "2", page())
	same(t, "it waits for the hand-over", true, field(newer, nightly, "spec", "suspend"))
	write("3")
	ok(t, b.HandOver(t.Context(), ID{Run: "r1", Name: "hand-over", Time: 1}))
	same(t, "changed until the hand-over", "3", page())
	same(t, "it runs in the new generation", false, field(newer, nightly, "spec", "suspend"))
	same(t, "it does not in the old one", true, field(older, nightly, "spec", "suspend"))
	ok(t, b.HandBack(t.Context(), ID{Run: "r1", Name: "switch-back/hand-over", Time: 1}))
	same(t, "it runs in the old one again", false, field(older, nightly, "spec", "suspend"))
	same(t, "what each step did last", []string{"done switch-back/hand-over: what only one generation may run runs in old"}, b.story(t)[len(b.story(t))-1:])
}
