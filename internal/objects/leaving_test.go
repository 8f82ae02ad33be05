package objects_test

import (
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// testLeaving: what is being deleted in the first cluster is not copied; what is being deleted in the other is made anew when it is gone,
// and does not pass for a copy while it is not.
func testLeaving(t *testing.T, p *clusters) {
	held := func(name, namespace string) string {
		return "{apiVersion: v1, kind: ConfigMap, metadata: {name: " + name + ", namespace: " + namespace + ", finalizers: [example.com/held]}, data: {a: b}}"
	}
	p.from.WriteAs(t, "kubectl-create", `
{apiVersion: v1, kind: Namespace, metadata: {name: leaving}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: leaving-here}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: leaving-there}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: inside, namespace: leaving-there}}
---
`+held("held", "leaving-here")+"\n---\n"+held("here", "leaving")+"\n---\n"+held("there", "leaving")+"\n---\n"+held("stuck", "leaving"))
	p.to.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: leaving}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: leaving-there}}\n---\n"+
		held("last", "leaving-there")+"\n---\n"+held("there", "leaving")+"\n---\n"+held("stuck", "leaving"))
	remove := func(c *kube.Cluster, texts ...string) {
		for _, text := range texts {
			if err := c.Delete(t.Context(), kubetest.Objects(t, text)[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove(p.a, held("here", "leaving"), "{apiVersion: v1, kind: Namespace, metadata: {name: leaving-here}}")
	remove(p.b, held("there", "leaving"), held("stuck", "leaving"), "{apiVersion: v1, kind: Namespace, metadata: {name: leaving-there}}")
	eventually(t, "the namespace and what is in it are being deleted", func() bool {
		return get(t, p.a, held("held", "leaving-here")).GetDeletionTimestamp() != nil && get(t, p.b, held("last", "leaving-there")).GetDeletionTimestamp() != nil
	})
	release := func(c *kube.Cluster, text string) {
		if _, err := c.Patch(t.Context(), kubetest.Objects(t, text)[0], []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
			t.Error(err)
		}
	}
	o := options(within("leaving"))
	o.Progress = func(format string, args ...any) {
		if len(format) > 13 && format[:13] == "waiting until" {
			release(p.b, held("last", "leaving-there"))
		}
	}
	begun := false
	o.Tell = func(d outcome.Decision) {
		if d.Object == "ConfigMap leaving-there/inside" && !begun { // when the objects of the namespace have their turn
			begun = true
			release(p.b, held("there", "leaving"))
		}
	}
	started := time.Now()
	report, decided := p.decidedWith(t, "leaving", o)
	covers(t, "decisions", map[string]string{
		"ConfigMap leaving/here": "skip is being deleted", "Namespace leaving-here": "skip is being deleted", "ConfigMap leaving-here/held": "skip is being deleted",
		"Namespace leaving-there": "create", "ConfigMap leaving-there/inside": "create", "ConfigMap leaving/there": "create",
		"ConfigMap leaving/stuck": "fail ConfigMap leaving/stuck is being deleted in the other cluster, with finalizers [example.com/held]",
	}, decided)
	if report.Failed != 1 || time.Since(started) > 30*time.Second {
		t.Errorf("%d failed after %s: %v", report.Failed, time.Since(started), report.Failures)
	}
	release(p.b, held("stuck", "leaving"))
	_, decided = p.decided(t, "leaving", within("leaving"))
	covers(t, "when it is gone", map[string]string{"ConfigMap leaving/stuck": "create"}, decided)
	for _, text := range []string{held("there", "leaving"), held("stuck", "leaving")} {
		if found := p.there(t, text); len(found.GetFinalizers()) > 0 {
			t.Errorf("%s has finalizers whose controller is not there: %v", found.GetName(), found.GetFinalizers())
		}
	}
	release(p.a, held("held", "leaving-here"))
	release(p.a, held("here", "leaving"))
}
