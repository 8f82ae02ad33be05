package workload

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// start is when the looks of TestJudge begin; containers in it have started at noon.
var start = time.Date(2026, 7, 1, 12, 0, 1, 0, time.UTC)

// deployment is a Deployment of two revisions, with the status and the container given; the second one is the current.
func deployment(status, container string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: d, generation: 2}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template: {spec: {containers: [%s]}}
status: %s
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-old, namespace: shop, labels: {app: web, pod-template-hash: old}, annotations: {deployment.kubernetes.io/revision: '9'}, ownerReferences: [{uid: d, controller: true}]}}
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-new, namespace: shop, labels: {app: web, pod-template-hash: new}, annotations: {deployment.kubernetes.io/revision: '10'}, ownerReferences: [{uid: d, controller: true}]}}
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: other, namespace: shop, labels: {app: web, pod-template-hash: other}, annotations: {deployment.kubernetes.io/revision: '11'}, ownerReferences: [{uid: e, controller: true}]}}
`, container, status)
}

// The statuses and containers of Deployments.
const (
	complete = "{observedGeneration: 2, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1, conditions: " +
		"[{type: Available, status: 'True'}, {type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]}"
	underWay = "{observedGeneration: 2, replicas: 1, updatedReplicas: 1}"
	plain    = "{name: web, image: 'web:1'}"
	probed   = "{name: web, image: 'web:1', readinessProbe: {httpGet: {port: 80}}}"
)

// pod is a pod of the Deployment's revision with the container statuses given, in YAML.
func pod(hash, statuses string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Pod
metadata: {name: web-%[1]s-1, namespace: shop, uid: pod-%[1]s, labels: {app: web, pod-template-hash: %[1]s}}
spec: {containers: [{name: web, image: "registry/web:1"}], initContainers: [{name: init, image: "registry/init:1"}]}
status: {phase: Pending, %[2]s}
`, hash, statuses)
}

// The states of containers, by what the kubelet says of them.
const (
	noImage     = "containerStatuses: [{name: web, state: {waiting: {reason: ImagePullBackOff, message: Back-off pulling image}}}]"
	noConfig    = "containerStatuses: [{name: web, state: {waiting: {reason: CreateContainerConfigError, message: 'configmap \"settings\" not found'}}}]"
	crashing    = "containerStatuses: [{name: web, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, reason: Error}}}]"
	crashed     = "containerStatuses: [{name: web, restartCount: 3, state: {terminated: {exitCode: 137, reason: OOMKilled}}}]"
	crashedOnce = "containerStatuses: [{name: web, restartCount: 1, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, reason: Error}}}]"
	upAgain     = "containerStatuses: [{name: web, restartCount: 7, state: {running: {startedAt: '2026-07-01T12:00:00Z'}}}]"
	initCrashes = "initContainerStatuses: [{name: init, restartCount: 4, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 2, reason: Error}}}]"
	initDone    = "initContainerStatuses: [{name: init, restartCount: 4, state: {terminated: {exitCode: 0, reason: Completed}}}], " + running
	running     = "containerStatuses: [{name: web, ready: true, state: {running: {startedAt: '2026-07-01T12:00:00Z'}}}]"
	fastClock   = "containerStatuses: [{name: web, ready: true, state: {running: {startedAt: '2026-07-01T13:00:00Z'}}}]"
	unscheduled = "conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: '0/1 nodes are available'}]"
)

func TestJudge(t *testing.T) {
	notYet := kube.State{Why: "0 of 1 pods ready"}
	but := func(what string) kube.State { return kube.State{Why: notYet.Why + "; " + what} }
	young := kube.State{Why: "its pods have only just started"}
	ready := kube.State{Ready: true}
	failed := func(text string) kube.State { return kube.State{Failed: true, Why: text} }
	tests := map[string]struct {
		reason  string
		objects string
		looks   map[time.Duration]kube.State // by time since start
	}{
		"an image that cannot be pulled": {
			reason:  "a registry may be away for a moment, a wrong name stays wrong",
			objects: deployment(underWay, plain) + pod("new", noImage),
			looks: map[time.Duration]kube.State{
				0:                           but("pod web-new-1: image registry/web:1 cannot be pulled: Back-off pulling image"),
				imagePatience - time.Second: but("pod web-new-1: image registry/web:1 cannot be pulled: Back-off pulling image"),
				imagePatience:               failed("pod web-new-1: image registry/web:1 cannot be pulled: Back-off pulling image"),
			},
		},
		"a crash loop": {
			reason: "three restarts are enough", objects: deployment(underWay, plain) + pod("new", crashing),
			looks: map[time.Duration]kube.State{0: failed("pod web-new-1: container web crashes again and again (3 restarts, last exit code 1, Error)")},
		},
		"out of memory": {
			reason: "between the crash and the wait", objects: deployment(underWay, plain) + pod("new", crashed),
			looks: map[time.Duration]kube.State{0: failed("pod web-new-1: container web crashes again and again (3 restarts, last exit code 137, OOMKilled)")},
		},
		"a crash": {
			reason: "a program may wait for its database that way", objects: deployment(underWay, plain) + pod("new", crashedOnce),
			looks: map[time.Duration]kube.State{
				0:         but("pod web-new-1: container web has crashed, last exit code 1, Error"),
				time.Hour: but("pod web-new-1: container web has crashed, last exit code 1, Error"),
			},
		},
		"up after crashes": {
			reason: "it runs now, and may become ready", objects: deployment(underWay, plain) + pod("new", upAgain),
			looks: map[time.Duration]kube.State{0: notYet, time.Minute: notYet},
		},
		"an init container that crashes": {
			reason: "the others never start", objects: deployment(underWay, plain) + pod("new", initCrashes),
			looks: map[time.Duration]kube.State{0: failed("pod web-new-1: container init crashes again and again (4 restarts, last exit code 2, Error)")},
		},
		"an init container that has ended": {
			reason: "it took some attempts and did its work", objects: deployment(underWay, plain) + pod("new", initDone),
			looks: map[time.Duration]kube.State{0: notYet},
		},
		"the pods before crash": {
			reason:  "they are not of this revision, whether by number or by owner",
			objects: deployment(underWay, plain) + pod("old", crashing) + pod("other", crashing) + pod("new", running),
			looks:   map[time.Duration]kube.State{0: notYet},
		},
		"unschedulable": {
			reason: "a node may come", objects: deployment(underWay, plain) + pod("new", unscheduled),
			looks: map[time.Duration]kube.State{0: notYet, time.Hour: notYet},
		},
		"a missing config map": {
			reason: "somebody may apply it", objects: deployment(underWay, plain) + pod("new", noConfig),
			looks: map[time.Duration]kube.State{0: notYet, time.Hour: notYet},
		},
		"just started": {
			reason: "the kubelet calls it ready the moment it starts", objects: deployment(complete, plain) + pod("new", running),
			looks: map[time.Duration]kube.State{0: young, 500 * time.Millisecond: young, time.Second: ready},
		},
		"just started, with a probe": {
			reason: "the probe says more than its age", objects: deployment(complete, probed) + pod("new", running),
			looks: map[time.Duration]kube.State{0: ready},
		},
		"just started, where clocks run ahead": {
			reason: "what was seen to run for long enough is believed", objects: deployment(complete, plain) + pod("new", fastClock),
			looks: map[time.Duration]kube.State{0: young, proof - time.Millisecond: young, proof: ready},
		},
		"a status that lags behind": {
			reason: "it says ready while the pod crashes", objects: deployment(complete, plain) + pod("new", crashing),
			looks: map[time.Duration]kube.State{0: young, time.Minute: young},
		},
		"a StatefulSet's pods before": {
			reason: "the update has not come to them; only those of the new revision count",
			objects: `
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: web, namespace: shop, generation: 1}, spec: {selector: {matchLabels: {app: web}}}, status: {observedGeneration: 1, updateRevision: two}}
` + strings.ReplaceAll(pod("one", crashing), "pod-template-hash", "controller-revision-hash"),
			looks: map[time.Duration]kube.State{0: notYet},
		},
		"a StatefulSet's pods": {
			reason: "as those of a Deployment",
			objects: `
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: web, namespace: shop, generation: 1}, spec: {selector: {matchLabels: {app: web}}}, status: {observedGeneration: 1, updateRevision: two}}
` + strings.ReplaceAll(pod("two", crashing), "pod-template-hash", "controller-revision-hash"),
			looks: map[time.Duration]kube.State{0: failed("pod web-two-1: container web crashes again and again (3 restarts, last exit code 1, Error)")},
		},
		"a pod by itself": {
			reason: "it is looked at as those of a workload are", objects: pod("new", crashing),
			looks: map[time.Duration]kube.State{0: failed("pod web-new-1: container web crashes again and again (3 restarts, last exit code 1, Error)")},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := kubetest.Show(t, test.objects).Connect(t)
			now := start
			watch := newPatience(func() time.Time { return now })
			found := kubetest.Objects(t, test.objects)[0]
			got := map[time.Duration]kube.State{}
			for _, at := range slices.Sorted(maps.Keys(test.looks)) {
				now = start.Add(at)
				state, err := judge(t.Context(), c, found, watch)
				if err != nil {
					t.Fatal(err)
				}
				got[at] = state
			}
			if diff := cmp.Diff(test.looks, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// TestJudgeForgetsWhatIsOver has a container start again while it is watched: its time begins anew.
func TestJudgeForgetsWhatIsOver(t *testing.T) {
	again := strings.Replace(fastClock, "name: web,", "name: web, restartCount: 1,", 1)
	server := kubetest.Show(t, "")
	c := server.Connect(t)
	now := start
	watch := newPatience(func() time.Time { return now })
	steps := []struct {
		pod   string
		after time.Duration
		ready bool
	}{{fastClock, 0, false}, {fastClock, time.Second, false}, {again, time.Second, false}, {again, time.Second, false}, {again, time.Second, true}, {crashing, time.Second, false}}
	for i, step := range steps {
		objects := deployment(complete, plain) + pod("new", step.pod)
		server.Set(t, objects)
		now = now.Add(step.after)
		state, err := judge(t.Context(), c, kubetest.Objects(t, objects)[0], watch)
		if err != nil {
			t.Fatal(err)
		}
		if state.Ready != step.ready {
			t.Errorf("step %d: %+v, want ready: %t", i, state, step.ready)
		}
	}
}

func TestWaitReady(t *testing.T) {
	tests := map[string]struct {
		reason  string
		objects string
		refused *apierrors.StatusError
		code    fault.Code
		err     string
	}{
		"ready": {reason: "its container has run since noon", objects: deployment(complete, plain) + pod("new", running)},
		"hopeless": {
			reason: "known at the first look", objects: deployment(underWay, plain) + pod("new", crashing), code: fault.Failed,
			err: "apps/Deployment shop/web is not ready: pod web-new-1: container web crashes again and again (3 restarts, last exit code 1, Error)",
		},
		"a busy API server": {
			reason: "the caller tries again", objects: deployment(complete, plain), refused: apierrors.NewTooManyRequests("slow down", 0),
			code: fault.Unavailable, err: "cannot list the pods of the namespace shop: slow down",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := kubetest.Show(t, test.objects)
			if test.refused != nil {
				server.Refuse("/api/v1/namespaces/shop/pods", test.refused)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := WaitReady(ctx, server.Connect(t), kubetest.Objects(t, test.objects)[:1], silent)
			if fault.CodeOf(err) != test.code || err != nil && err.Error() != test.err {
				t.Errorf("%s: want %s %q, got %s %v", test.reason, test.code, test.err, fault.CodeOf(err), err)
			}
		})
	}
}
