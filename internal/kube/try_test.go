package kube_test

import (
	"strings"
	"testing"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

const tried = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web:1}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, nodePort: 30080}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fixed, namespace: shop}
immutable: true
data: {a: "1"}
`

// TestTry: what the API server would never take is told before anything is written, with the way out.
func TestTry(t *testing.T) {
	server := kubetest.Start(t, "shop")
	c := server.Connect(t)
	if _, err := c.Apply(t.Context(), kubetest.Objects(t, tried), t.Logf); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason      string
		old, new    string
		says, hints string // nothing when the objects are fine
	}{
		"Same":      {reason: "what is there already is fine"},
		"Changed":   {reason: "so is another image", old: "web:1", new: "web:2"},
		"New":       {reason: "and a new object", old: "name: web,", new: "name: other,", says: "30080", hints: "another Service has it"},
		"Selector":  {reason: "a selector stays", old: "app: web}", new: "app: web, tier: front}", says: "apps/Deployment shop/web", hints: "a roll-over"},
		"Immutable": {reason: "what is immutable stays", old: `"1"`, new: `"2"`, says: "ConfigMap shop/fixed", hints: "another name"},
		"Wrong":     {reason: "a value that means nothing", old: "port: 80,", new: "port: 80000,", says: "80000", hints: "put the manifest right"},
		"Unread":    {reason: "and one that cannot be read", old: "image: web:1", new: "image: web:1, resources: {requests: {cpu: 50 minutes}}", says: `spec.template.spec.containers[0].resources.requests.cpu: "50 minutes" is no quantity`, hints: "put the manifest right"},
		"Nowhere":   {reason: "the namespace may come with what is applied", old: "shop", new: "later"},
		"Unknown":   {reason: "and so may a kind", old: "v1\nkind: ConfigMap", new: "later.example.com/v1\nkind: Gift"},
	} {
		err := c.Try(t.Context(), kubetest.Objects(t, strings.ReplaceAll(tried, tc.old, tc.new)))
		switch {
		case tc.says == "" && err != nil:
			t.Errorf("%s: %s: %v", name, tc.reason, err)
		case tc.says != "" && (fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), tc.says) || !strings.Contains(fault.HintOf(err), tc.hints)):
			t.Errorf("%s: %s: got %v (hint %q), want code invalid, %q and the hint %q", name, tc.reason, err, fault.HintOf(err), tc.says, tc.hints)
		}
	}
	found, err := c.Get(t.Context(), kubetest.Objects(t, tried)[1])
	if err != nil || found.GetGeneration() != 1 {
		t.Errorf("it was only tried, and the Deployment has changed: %v, %v", found.GetGeneration(), err)
	}
}
