package part_test

import (
	"testing"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/tools/bench/part"
)

// TestCount: objects of every kind count, in all namespaces and in none, if they have all the labels.
func TestCount(t *testing.T) {
	server := kubetest.Start(t, "a")
	c := server.Connect(t)
	for _, obj := range kubetest.Objects(t, `
{apiVersion: v1, kind: Namespace, metadata: {name: one, labels: {of: bench, and: more}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: one, labels: {of: bench, and: more}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default, labels: {of: bench, and: more, also: this}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: one, labels: {of: bench}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: one, labels: {of: bench, and: less}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: one, labels: {of: bench, and: more}}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}
`) {
		if _, err := c.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	if count, err := part.Count(t.Context(), server.Access, map[string]string{"of": "bench", "and": "more"}); count != 4 || err != nil {
		t.Errorf("counted %d, %v; want 4", count, err)
	}
}
