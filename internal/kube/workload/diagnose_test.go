package workload

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// event is an event about an object, at a second after noon.
func event(second int, kind, name, reason, message string) string {
	return fmt.Sprintf(`
---
{apiVersion: v1, kind: Event, metadata: {name: %[2]s.%[3]s.%[1]d, namespace: shop}, involvedObject: {kind: %[2]s, name: %[3]s}, lastTimestamp: '2026-07-01T12:00:%02[1]dZ', reason: %[4]s, message: %[5]q}
`, second, kind, name, reason, message)
}

// logs answers with the log of the run before or of this one, by what is asked for; with a 400 for a log that is not there.
func logs(before, now string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text := now
		if r.URL.Query().Get("previous") == "true" {
			text = before
		}
		if text == "" {
			kubetest.Refuse(w, apierrors.NewBadRequest("container web is waiting to start"))
			return
		}
		_, _ = fmt.Fprint(w, text)
	}
}

const (
	header    = "apps/Deployment shop/web: 0 of 1 pods ready"
	noWords   = "      | (its log cannot be read: container web is waiting to start)"
	podNotYet = "  Pod shop/web-new-1: pending, not ready"
	notProbed = "containerStatuses: [{name: web, restartCount: 2, state: {running: {startedAt: '2026-07-01T12:00:00Z'}}}]"
)

func TestExplain(t *testing.T) {
	tests := map[string]struct {
		reason      string
		objects     string // the first one is asked about
		before, now string // the logs of web
		want        []string
	}{
		"ready": {reason: "nothing to tell", objects: deployment(complete, plain) + pod("new", running)},
		"an image that cannot be pulled": {
			reason:  "it never ran, so there is no log; the event has the registry's words",
			objects: deployment(underWay, plain) + pod("new", noImage) + event(1, "Pod", "web-new-1", "Failed", "Failed to pull\n  image: not found"),
			want:    []string{header, podNotYet, "    12:00:01 Failed: Failed to pull image: not found", "    container web: ImagePullBackOff: Back-off pulling image"},
		},
		"a crash loop": {
			reason:  "the log of the run that crashed says why",
			objects: deployment(underWay, plain) + pod("new", crashing), before: "starting\nno database\n\n", now: "starting\n",
			want: []string{header, podNotYet, "    container web: CrashLoopBackOff, last exit code 1, Error", "      | starting", "      | no database"},
		},
		"a crash loop whose last log is gone": {
			reason:  "the kubelet sends words about it as if they were the log; the other run's is better",
			objects: deployment(underWay, plain) + pod("new", crashing), before: noLog + "containerd://1", now: "no database",
			want: []string{header, podNotYet, "    container web: CrashLoopBackOff, last exit code 1, Error", "      | no database"},
		},
		"a crash loop without logs": {
			reason: "that is told too", objects: deployment(underWay, plain) + pod("new", crashing),
			want: []string{header, podNotYet, "    container web: CrashLoopBackOff, last exit code 1, Error", noWords},
		},
		"a crash loop that wrote nothing": {
			reason: "no line for no words", objects: deployment(underWay, plain) + pod("new", crashing), before: "\n",
			want: []string{header, podNotYet, "    container web: CrashLoopBackOff, last exit code 1, Error"},
		},
		"out of memory": {
			reason: "ended, and not yet waiting", objects: deployment(underWay, plain) + pod("new", crashed), now: "eating",
			want: []string{header, podNotYet, "    container web: ended with exit code 137 (OOMKilled)", "      | eating"},
		},
		"a probe that never succeeds": {
			reason:  "the event says how it fails, the log what the program did meanwhile",
			objects: deployment(underWay, probed) + pod("new", notProbed) + event(9, "Pod", "web-new-1", "Unhealthy", "Readiness probe failed: HTTP 503"), now: "GET /ready 503",
			want: []string{header, podNotYet, "    12:00:09 Unhealthy: Readiness probe failed: HTTP 503", "    container web: running, not ready, 2 restarts", "      | GET /ready 503"},
		},
		"unschedulable": {
			reason: "the scheduler's words", objects: deployment(underWay, plain) + pod("new", unscheduled),
			want: []string{header, "  Pod shop/web-new-1: Unschedulable: 0/1 nodes are available"},
		},
		"a missing config map": {
			reason: "the kubelet names it", objects: deployment(underWay, plain) + pod("new", noConfig),
			want: []string{header, podNotYet, `    container web: CreateContainerConfigError: configmap "settings" not found`},
		},
		"evicted": {
			reason: "the pod as a whole says why", objects: deployment(underWay, plain) + pod("new", "reason: Evicted, message: The node was low on memory"),
			want: []string{header, "  Pod shop/web-new-1: Evicted: The node was low on memory"},
		},
		"an init container that has ended": {
			reason: "what has done its work is not told about", objects: deployment(underWay, plain) + pod("new", initDone), now: "hello",
			want: []string{header, podNotYet, "    container web: ready, 0 restarts", "      | hello"},
		},
		"its own events": {
			reason:  "the last ones, in their order; not those of others",
			objects: deployment(underWay, plain) + manyEvents(9) + event(30, "Deployment", "db", "Other", "x") + event(31, "Pod", "web", "Other", "x"),
			want: []string{
				header, "  12:00:03 Scaled: to 3", "  12:00:04 Scaled: to 4", "  12:00:05 Scaled: to 5", "  12:00:06 Scaled: to 6", "  12:00:07 Scaled: to 7", "  12:00:08 Scaled: to 8",
			},
		},
		"a quota": {
			reason: "a StatefulSet's own event has the API server's words",
			objects: `
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: shop, generation: 1}, spec: {selector: {matchLabels: {app: db}}}, status: {observedGeneration: 1}}
` + event(1, "StatefulSet", "db", "FailedCreate", `create Pod db-0 failed: pods "db-0" is forbidden: exceeded quota: small`),
			want: []string{"apps/StatefulSet shop/db: 0 of 1 pods ready", `  12:00:01 FailedCreate: create Pod db-0 failed: pods "db-0" is forbidden: exceeded quota: small`},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := kubetest.Show(t, test.objects)
			server.Handle("/api/v1/namespaces/shop/pods/web-new-1/log", logs(test.before, test.now))
			got := Explain(t.Context(), server.Connect(t), kubetest.Objects(t, test.objects)[:1])
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// manyEvents are events about the Deployment, the newest first.
func manyEvents(count int) string {
	var all []string
	for i := range count {
		all = append(all, event(i, "Deployment", "web", "Scaled", fmt.Sprintf("to %d", i)))
	}
	slices.Reverse(all)
	return strings.Join(all, "")
}

func TestExplainTellsWhatItCannotFindOut(t *testing.T) {
	objects := deployment(underWay, plain) + pod("new", crashing)
	events := apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", fmt.Errorf("no role"))
	pods := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", fmt.Errorf("no role"))
	const text = "(its events cannot be read: events is forbidden: no role)"
	tests := map[string]struct {
		reason string
		refuse map[string]*apierrors.StatusError
		ask    string
		want   []string
	}{
		"no events": {
			reason: "the rest is told", refuse: map[string]*apierrors.StatusError{"/api/v1/namespaces/shop/events": events},
			want: []string{header, "  " + text, podNotYet, "    " + text, "    container web: CrashLoopBackOff, last exit code 1, Error", noWords},
		},
		"no pods": {
			reason: "so is why they are not", refuse: map[string]*apierrors.StatusError{"/api/v1/namespaces/shop/pods": pods},
			want: []string{header, "  cannot list the pods of the namespace shop: pods is forbidden: no role"},
		},
		"no object": {
			reason: "and what is not there", ask: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: db, namespace: shop}}",
			want: []string{"apps/Deployment shop/db: it is not there"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := kubetest.Show(t, objects)
			server.Handle("/api/v1/namespaces/shop/pods/web-new-1/log", logs("", ""))
			for path, err := range test.refuse {
				server.Refuse(path, err)
			}
			ask := objects
			if test.ask != "" {
				ask = test.ask
			}
			got := Explain(t.Context(), server.Connect(t), []*unstructured.Unstructured{kubetest.Objects(t, ask)[0]})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// named is a pod of the namespace, made at a minute after noon.
func named(name string, minute int, status string) string {
	return fmt.Sprintf(`
---
{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: shop, creationTimestamp: '2026-07-01T12:%02d:00Z'}, status: %s}
`, name, minute, status)
}

func TestDiagnose(t *testing.T) {
	const good = "{phase: Running, conditions: [{type: Ready, status: 'True'}]}"
	tests := map[string]struct {
		reason, objects string
		want            []string
	}{
		"nothing": {reason: "no pods, no lines"},
		"the order": {
			reason:  "those that are not ready first, the newest before the others; those of other namespaces and those that go are left out",
			objects: named("a", 1, good) + named("b", 2, "{phase: Running}") + named("c", 3, "{phase: Succeeded}") + named("d", 4, "{phase: Failed}") + strings.ReplaceAll(named("e", 5, "{phase: Running}"), "namespace: shop", "namespace: other") + strings.ReplaceAll(named("f", 6, "{phase: Running}"), "namespace: shop", "namespace: shop, deletionTimestamp: '2026-07-01T13:00:00Z'"),
			want:    []string{"  Pod shop/d: failed, not ready", "  Pod shop/b: running, not ready", "  Pod shop/c: ready", "  Pod shop/a: ready"},
		},
		"more than can be read": {
			reason:  "the others are counted",
			objects: named("a", 1, good) + named("b", 2, good) + named("c", 3, good) + named("d", 4, good) + named("e", 5, good) + named("f", 6, good) + named("g", 7, good),
			want:    []string{"  Pod shop/g: ready", "  Pod shop/f: ready", "  Pod shop/e: ready", "  Pod shop/d: ready", "  Pod shop/c: ready", "  and 2 more pods"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := Diagnose(t.Context(), kubetest.Show(t, test.objects).Connect(t), "shop")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestLogTailIsBounded(t *testing.T) {
	server := kubetest.Show(t, named("a", 1, "{phase: Running, containerStatuses: [{name: web, ready: true, state: {running: {}}}]}"))
	asked := ""
	server.Handle("/api/v1/namespaces/shop/pods/a/log", func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Get("tailLines")
		_, _ = fmt.Fprint(w, strings.Repeat("x", 3*logBytes)+"\n\xffend\n")
	})
	lines := Diagnose(t.Context(), server.Connect(t), "shop")
	size := len(strings.Join(lines, "\n"))
	if asked != "20" || size > logBytes+200 || lines[len(lines)-1] != "      | ?end" {
		t.Errorf("asked for %s lines, got %d bytes that end with %q", asked, size, lines[len(lines)-1])
	}
}
