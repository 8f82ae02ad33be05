package objects_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/spec"
)

// stack is a part of a shop that is moved on its own, and what it refers to.
const stack = `
{apiVersion: v1, kind: Namespace, metadata: {name: stack-web}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: stack-db, labels: {team: blue}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: stack-other}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: stack-web, labels: {stack: shop}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: robot
      priorityClassName: stack-gold
      imagePullSecrets: [{name: registry}]
      containers: [{name: web, image: "web:1", envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: piped}}, {configMapRef: {name: nowhere}}]}]
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot, namespace: stack-web}, imagePullSecrets: [{name: registry}]}
---
{apiVersion: v1, kind: Secret, metadata: {name: registry, namespace: stack-web}, data: {a: eA==}}
---
{apiVersion: v1, kind: Secret, metadata: {name: piped, namespace: stack-web}, data: {a: eA==}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: stack-web}, data: {a: b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: unrelated, namespace: stack-web}, data: {a: b}}
---
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: stack-gold}, value: 10}
---
{apiVersion: stack.example.com/v1, kind: Gadget, metadata: {name: wheel, namespace: stack-db, labels: {stack: shop}}, spec: {a: b}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: view, namespace: stack-db, labels: {stack: shop}}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}, subjects: [{kind: ServiceAccount, name: default, namespace: stack-other}]}
`

// testStack: a stack moves with the namespaces and definitions that it needs; what else it refers to comes along or is named.
func testStack(t *testing.T, p *clusters) {
	define(t, p.from, p.a, "stack")
	p.from.WriteAs(t, "kubectl-create", stack)
	rules := func(with bool) (selected spec.Copy) {
		return spec.Copy{Include: []spec.Selector{{Labels: map[string]string{"stack": "shop"}}}, WithReferences: with}
	}
	plain := within("")
	plain.Copy, plain.Owned = rules(false), []string{"Secret stack-web/piped"}
	created := func(decided map[string]string) map[string]string {
		found := map[string]string{}
		for object, what := range decided {
			if what == "create" {
				found[object] = what
			}
		}
		return found
	}
	want := map[string]string{
		"apps/Deployment stack-web/web": "create", "Namespace stack-web": "create", "Namespace stack-db": "create",
		"apiextensions.k8s.io/CustomResourceDefinition gadgets.stack.example.com": "create",
		"stack.example.com/Gadget stack-db/wheel":                                 "create", "rbac.authorization.k8s.io/RoleBinding stack-db/view": "create",
	}
	report, decided := p.decided(t, "", plain)
	if diff := cmp.Diff(want, created(decided)); diff != "" {
		t.Errorf("without references (-want +got):\n%s", diff)
	}
	missing := []string{
		"ConfigMap stack-web/settings, which apps/Deployment stack-web/web refers to",
		"Secret stack-web/piped, which apps/Deployment stack-web/web refers to",
		"Secret stack-web/registry, which apps/Deployment stack-web/web refers to",
		"ServiceAccount stack-other/default, which rbac.authorization.k8s.io/RoleBinding stack-db/view refers to",
		"ServiceAccount stack-web/robot, which apps/Deployment stack-web/web refers to",
		"scheduling.k8s.io/PriorityClass stack-gold, which apps/Deployment stack-web/web refers to",
	}
	if diff := cmp.Diff(missing, report.Missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	p.settled(t, plain)

	plain.Copy = rules(true)
	report, decided = p.decided(t, "", plain)
	want = map[string]string{
		"ServiceAccount stack-web/robot": "create", "Secret stack-web/registry": "create", "ConfigMap stack-web/settings": "create",
		"scheduling.k8s.io/PriorityClass stack-gold": "create",
	}
	if diff := cmp.Diff(want, created(decided)); diff != "" {
		t.Errorf("with references (-want +got):\n%s", diff)
	}
	if text := strings.Join(report.Missing, "\n"); !strings.HasPrefix(text, missing[1]) || strings.Contains(text, "registry") {
		t.Errorf("missing: %v", report.Missing)
	}
	p.settled(t, plain)
}
