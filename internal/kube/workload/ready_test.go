package workload

import (
	"context"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

func silent(string, ...any) {}

func TestPatience(t *testing.T) {
	now := time.Unix(0, 0)
	p := newPatience(func() time.Time { return now })
	steps := []struct {
		after time.Duration
		there bool
		want  bool
	}{{0, true, false}, {9 * time.Second, true, false}, {time.Second, true, true}, {0, false, false}, {time.Second, true, false}, {10 * time.Second, true, true}}
	for i, step := range steps {
		now = now.Add(step.after)
		if got := p.over("x", step.there, 10*time.Second); got != step.want {
			t.Errorf("step %d: %t, want %t", i, got, step.want)
		}
	}
}

func TestWaitReadyTellsWhatItWaitsFor(t *testing.T) {
	server := kubetest.Start(t, "a")
	c := server.Connect(t)
	objs := kubetest.Objects(t, `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
`)
	if _, err := c.Apply(t.Context(), objs, silent); err != nil {
		t.Fatal(err)
	}
	const web = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, status: "
	server.SetStatus(t, web+"{observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 1, availableReplicas: 1}}")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := WaitReady(ctx, c, objs, silent)
	if want := "not ready in time: waiting for apps/Deployment shop/web: 1 of 2 pods ready"; err == nil || err.Error() != want || fault.CodeOf(err) != fault.Failed {
		t.Errorf("got %q (%s), want %q", err, fault.CodeOf(err), want)
	}
	server.SetStatus(t, web+"{readyReplicas: 2, availableReplicas: 2, conditions: [{type: Available, status: 'True'}, {type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]}}")
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := WaitReady(ctx, c, objs, silent); err != nil {
		t.Error(err)
	}
}
