package kube_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// The workloads of TestStateOf, up to their status.
const (
	deployment  = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, generation: 2}, spec: {replicas: 2, progressDeadlineSeconds: 600}, status: "
	statefulSet = "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: shop, generation: 2}, spec: {}, status: "
	daemonSet   = "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent, namespace: shop, generation: 1}, spec: {}, status: "
	pod         = "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, status: "
)

func TestStateOf(t *testing.T) {
	tests := map[string]struct {
		reason string
		obj    string
		want   kube.State
	}{
		"a config map": {
			reason: "what has no status is ready",
			obj:    "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}", want: kube.State{Ready: true},
		},
		"a Deployment that is complete": {
			reason: "every pod is of this generation and available",
			obj: deployment + "{observedGeneration: 2, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2, conditions: " +
				"[{type: Available, status: 'True'}, {type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]}}",
			want: kube.State{Ready: true},
		},
		"a Deployment not seen": {
			reason: "the pods that are ready are those of the generation before",
			obj:    deployment + "{observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2}}",
			want:   kube.State{Why: "its controller has not seen it yet"},
		},
		"a Deployment in part": {
			reason: "people count pods",
			obj:    deployment + "{observedGeneration: 2, replicas: 2, updatedReplicas: 2, readyReplicas: 1, availableReplicas: 1}}",
			want:   kube.State{Why: "1 of 2 pods ready"},
		},
		"a Deployment with an old pod": {
			reason: "all are ready, so kstatus says what is missing",
			obj:    deployment + "{observedGeneration: 2, replicas: 3, updatedReplicas: 2, readyReplicas: 3, availableReplicas: 3}}",
			want:   kube.State{Why: "Pending termination: 1"},
		},
		"a Deployment whose time is over": {
			reason: "a probe that never succeeds ends here",
			obj: deployment + "{observedGeneration: 2, replicas: 2, updatedReplicas: 2, conditions: " +
				"[{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded, message: timed out}]}}",
			want: kube.State{Failed: true, Why: "Progress deadline exceeded"},
		},
		"a StatefulSet of one": {
			reason: "one is the API's default",
			obj:    statefulSet + "{observedGeneration: 2, replicas: 1, readyReplicas: 0}}", want: kube.State{Why: "0 of 1 pods ready"},
		},
		"a DaemonSet": {
			reason: "the nodes say how many",
			obj: daemonSet + "{observedGeneration: 1, desiredNumberScheduled: 3, currentNumberScheduled: 3, updatedNumberScheduled: 3, " +
				"numberReady: 2, numberAvailable: 2}}",
			want: kube.State{Why: "2 of 3 pods ready"},
		},
		"a pod that nothing can take": {
			reason: "a node may come, so it has not failed",
			obj: pod + "{phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, " +
				"message: 0/1 nodes are available, lastTransitionTime: '2020-01-01T00:00:00Z'}]}}",
			want: kube.State{Why: "Pod could not be scheduled"},
		},
		"a pod that has ended": {
			reason: "it has done what it was to do",
			obj:    pod + "{phase: Succeeded}}", want: kube.State{Ready: true},
		},
		"a Job that has begun": {
			reason: "it runs; its end is a check's business",
			obj:    "{apiVersion: batch/v1, kind: Job, metadata: {name: a, namespace: shop}, status: {startTime: '2026-01-01T00:00:00Z', active: 1}}",
			want:   kube.State{Ready: true},
		},
		"a suspended Job": {
			reason: "it waits for nobody",
			obj:    "{apiVersion: batch/v1, kind: Job, metadata: {name: a, namespace: shop}, spec: {suspend: true}, status: {}}",
			want:   kube.State{Ready: true, Why: "Job not started"},
		},
		"a Job that has failed": {
			reason: "it does not try again",
			obj: "{apiVersion: batch/v1, kind: Job, metadata: {name: a, namespace: shop}, status: {startTime: '2026-01-01T00:00:00Z', conditions: " +
				"[{type: Failed, status: 'True', reason: BackoffLimitExceeded, message: too often}]}}",
			want: kube.State{Failed: true, Why: "Job Failed. failed: 0/1"},
		},
		"a claim without a pod": {
			reason: "it may wait for its first pod, which is waited for itself",
			obj:    "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a, namespace: shop}, status: {phase: Pending}}",
			want:   kube.State{Ready: true, Why: "PVC is not Bound. phase: Pending"},
		},
		"a claim whose volume is lost": {
			reason: "no pod can start with it",
			obj:    "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a, namespace: shop}, status: {phase: Lost}}",
			want:   kube.State{Why: "PVC is not Bound. phase: Lost"},
		},
		"a definition that is refused": {
			reason: "its names are another's",
			obj: "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a.b.c}, status: {conditions: " +
				"[{type: NamesAccepted, status: 'False', reason: KindConflict, message: a is taken}]}}",
			want: kube.State{Failed: true, Why: "a is taken"},
		},
		"a definition not yet served": {
			reason: "its objects would be refused",
			obj:    "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a.b.c}, status: {conditions: []}}",
			want:   kube.State{Why: "Install in progress"},
		},
		"an object of another's kind": {
			reason: "its controller tells by the condition Ready",
			obj: "{apiVersion: x.io/v1, kind: X, metadata: {name: a, namespace: shop, generation: 1}, status: {observedGeneration: 1, conditions: " +
				"[{type: Ready, status: 'False', reason: Waiting, message: no database}]}}",
			want: kube.State{Why: "no database"},
		},
		"an object that cannot be read": {
			reason: "what is not understood is not ready, and says so",
			obj:    "{apiVersion: x.io/v1, kind: X, metadata: {name: a, namespace: shop, generation: 1}, status: {conditions: none}}",
			want:   kube.State{Why: "cannot restore slice from string"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := kube.StateOf(kubetest.Objects(t, test.obj)[0])
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}
