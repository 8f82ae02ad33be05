package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// TestHandOver hands over between two clusters and back, and shows which one is active as data and as a table; a Job that
// does not end in time is a refusal.
func TestHandOver(t *testing.T) {
	const queue = `{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: queue, namespace: shop, labels: {crossfade.dev/singleton: "true"}}, spec: {replicas: 1, selector: {matchLabels: {app: queue}}, template: {metadata: {labels: {app: queue}}, spec: {containers: [{name: c, image: "c:1"}]}}}}`
	const pod = `{apiVersion: v1, kind: ServiceAccount, metadata: {name: none, namespace: shop}}
---
{apiVersion: v1, kind: Pod, metadata: {name: queue-1, namespace: shop, labels: {app: queue}}, spec: {serviceAccountName: none, containers: [{name: c, image: "c:1"}]}}`
	a, b := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	a.WriteAs(t, "kubectl-create", queue)
	run := func(args ...string) (status int, stdout, stderr string) {
		var out, errs bytes.Buffer
		status = Run(t.Context(), Streams{Out: &out, Err: &errs}, append(args, "--state", t.TempDir()))
		return status, out.String(), errs.String()
	}
	between := func(from, to *kubetest.Server) []string {
		return []string{"--from", from.Access.Kubeconfig, "--to", to.Access.Kubeconfig}
	}
	if status, _, stderr := run(append([]string{"copy"}, between(a, b)...)...); status != 0 {
		t.Fatal(stderr)
	}
	a.WriteAs(t, "kubectl-create", pod)
	status, stdout, stderr := run(append([]string{"hand-over", "--limit", "1ms"}, between(a, b)...)...)
	if status != 3 || stdout != "" || !strings.Contains(stderr, "Pod shop/queue-1") || !strings.Contains(stderr, "hint: ") {
		t.Errorf("with a pod that runs: exit %d\n%s%s", status, stdout, stderr)
	}
	a.SetStatus(t, `{apiVersion: v1, kind: Pod, metadata: {name: queue-1, namespace: shop}, status: {phase: Succeeded}}`)
	status, stdout, stderr = run(append([]string{"hand-over", "-o", "json"}, between(a, b)...)...)
	if diff := cmp.Diff("{\n  \"from\": \"a\",\n  \"to\": \"b\",\n  \"active\": \"b\"\n}\n", stdout); status != 0 || diff != "" || !strings.Contains(stderr, "b is active\n") {
		t.Errorf("exit %d, %s(-want +got):\n%s", status, stderr, diff)
	}
	status, stdout, stderr = run(append([]string{"hand-over"}, between(b, a)...)...)
	if diff := cmp.Diff("FROM  TO  ACTIVE\nb     a   a\n", stdout); status != 0 || diff != "" {
		t.Errorf("back: exit %d, %s(-want +got):\n%s", status, stderr, diff)
	}
	if status, _, stderr := run(append([]string{"hand-over"}, between(a, a)...)...); status != 2 {
		t.Errorf("a cluster and itself: exit %d\n%s", status, stderr)
	}
}
