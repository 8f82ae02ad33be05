package release_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// web is a service of a namespace at a version, with two Kubernetes Services.
const web = `
{apiVersion: v1, kind: Namespace, metadata: {name: NS}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NS}, data: {version: VERSION}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, tier: front, version: VERSION}}
    spec: {containers: [{name: web, image: "example.com/web:VERSION", envFrom: [{configMapRef: {name: settings}}]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: NS}, spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web-front, namespace: NS}, spec: {selector: {tier: front}, ports: [{name: http, port: 80}, {name: more, port: 81}]}}
`

// scaler scales the Deployment of the service.
const scaler = `
---
{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: web, namespace: NS}, spec: {minReplicas: 2, maxReplicas: 4, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}
`

// lab is an API server that cases share. Each has a namespace of its own.
type lab struct {
	server *kubetest.Server
	c      *kube.Cluster
}

// newLab starts a cluster with controllers, whose pods become ready, but for those with the label sick.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{server: kubetest.Start(t, "shop")}
	l.c = l.server.Connect(t)
	l.server.Manage(t)
	l.server.RunPods(t, func(i int) string { return fmt.Sprintf("10.1.%d.%d", i/250, i%250+1) })
	return l
}

// at is manifests in a namespace at a version.
func at(ns, version, text string) string {
	return strings.NewReplacer("NS", ns, "VERSION", version).Replace(text)
}

// run is a run that deploys manifests.
func (l *lab) run(t *testing.T, id, text string) *release.BlueGreen {
	t.Helper()
	parts, err := colour.Split("web", kubetest.Objects(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return &release.BlueGreen{Name: "web", Run: id, Parts: parts, Cluster: l.c, Progress: t.Logf, RoutedWithin: 20 * time.Second}
}

// ok does something within a bound, and wants it to work.
func ok(t *testing.T, what string, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	if err := do(ctx); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// refused wants an error of a code that says something, and a way out.
func refused(t *testing.T, err error, code fault.Code, says string) {
	t.Helper()
	if fault.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) || fault.HintOf(err) == "" {
		t.Errorf("got %v (%s, hint %q), want one of code %s that says %q, with a hint", err, fault.CodeOf(err), fault.HintOf(err), code, says)
	}
}

// first has the service at a version in a namespace of which no user knows.
func (l *lab) first(t *testing.T, text string) {
	t.Helper()
	ok(t, "first", func(ctx context.Context) error {
		objs, err := l.run(t, "first", text).First(ctx)
		if err == nil {
			_, err = l.c.Apply(ctx, objs, t.Logf)
		}
		return err
	})
	l.settled(t, kubetest.Objects(t, text)[0].GetName(), "web-blue")
}

// plain has the service at a version without a colour.
func (l *lab) plain(t *testing.T, ns, text string) {
	t.Helper()
	if _, err := l.c.Apply(t.Context(), kubetest.Objects(t, text), t.Logf); err != nil {
		t.Fatal(err)
	}
	l.settled(t, ns, "web")
}

// settled waits until all pods of a Deployment are ready, and users reach some.
func (l *lab) settled(t *testing.T, ns, name string) {
	t.Helper()
	await(t, name+" is ready, and users reach it", func() bool {
		d := l.get(t, "apps", "Deployment", ns, name)
		return d != nil && kube.StateOf(d).Ready && len(l.reached(t, ns, "web")) == 1
	})
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to: %s", what)
		}
	}
}

func (l *lab) get(t *testing.T, group, kind, ns, name string) *unstructured.Unstructured {
	t.Helper()
	found, err := l.c.Find(t.Context(), schema.GroupKind{Group: group, Kind: kind}, ns, name)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// reached are the versions of the pods that users of a Kubernetes Service reach, in order.
func (l *lab) reached(t *testing.T, ns, service string) []string {
	t.Helper()
	versions := map[string]string{}
	pods, err := l.c.Core().Pods(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		versions[pod.Name] = pod.Labels["version"]
	}
	endpointSlices := schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
	var reached []string
	for slice, err := range l.c.List(t.Context(), endpointSlices, kube.Query{Namespace: ns, Labels: "kubernetes.io/service-name=" + service}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range field.List(slice, "endpoints") {
			name, _ := field.Child(field.AsMap(e), "targetRef")["name"].(string)
			if version := versions[name]; version != "" {
				reached = append(reached, version)
			}
		}
	}
	slices.Sort(reached)
	return slices.Compact(reached)
}

// podOf names a pod of a version.
func (l *lab) podOf(t *testing.T, ns, version string) string {
	t.Helper()
	pods, err := l.c.Core().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "version=" + version})
	if err != nil || len(pods.Items) == 0 {
		t.Fatalf("no pod of %s: %v", version, err)
	}
	return pods.Items[0].Name
}

// release takes the finalizers off an object, "Kind namespace/name".
func (l *lab) release(t *testing.T, ns, held string) {
	t.Helper()
	kind, name, _ := strings.Cut(held, " "+ns+"/")
	ref := &unstructured.Unstructured{}
	ref.SetAPIVersion("v1")
	ref.SetKind(kind)
	ref.SetNamespace(ns)
	ref.SetName(name)
	if _, err := l.c.Patch(t.Context(), ref, []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
		t.Fatal(err)
	}
}

// reach wants the users of every Service to reach one version.
func (l *lab) reach(t *testing.T, ns, version string) {
	t.Helper()
	for _, service := range []string{"web", "web-front"} {
		if got := l.reached(t, ns, service); !slices.Equal(got, []string{version}) {
			t.Errorf("users of %s reach %v, want %s", service, got, version)
		}
	}
}

func replicas(d *unstructured.Unstructured) int64 {
	n, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas")
	return n
}
