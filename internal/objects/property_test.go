package objects_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
)

// editedKinds are what random edits are made to, with a field that can be changed.
var editedKinds = map[string]string{
	"ConfigMap":      "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: %s}, data: {value: v%d}}",
	"Secret":         "{apiVersion: v1, kind: Secret, metadata: {name: %s, namespace: %s}, stringData: {value: v%d}}",
	"Service":        "{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: %s}, spec: {selector: {app: v%d}, ports: [{port: 80}]}}",
	"ServiceAccount": "{apiVersion: v1, kind: ServiceAccount, metadata: {name: %s, namespace: %s, annotations: {value: v%d}}}",
	"Role":           "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: %s, namespace: %s}, rules: [{apiGroups: [v%d], resources: [pods], verbs: [get]}]}",
	"CronJob": `{apiVersion: batch/v1, kind: CronJob, metadata: {name: %s, namespace: %s, annotations: {value: v%d}}, spec: {schedule: "0 3 * * *",
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}}}`,
}

// TestFollowOverBadLines follows over lines to both clusters that are cut at random, while random edits are made in the first. In the end
// both have the same.
func TestFollowOverBadLines(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	lines := []*kubetest.Line{p.from.Line(t), p.to.Line(t)}
	followWith(t, connect(t, lines[0].Access), connect(t, lines[1].Access), objects.Following{Options: options(decide.Rules{})})
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		if round++; round > 6 {
			return // each is slow, as it is real
		}
		namespace := fmt.Sprintf("lines-%d", round)
		quiet := make(chan struct{})
		var cutting sync.WaitGroup
		cutting.Go(func() {
			for {
				select {
				case <-quiet:
					return
				case <-time.After(time.Duration(20+rand.IntN(400)) * time.Millisecond):
					lines[rand.IntN(2)].Cut()
				}
			}
		})
		p.from.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: "+namespace+"}}")
		edit(t, r, p, namespace)
		close(quiet)
		cutting.Wait()
		same := func() bool { return cmp.Equal(values(t, p.a, namespace), values(t, p.b, namespace)) }
		for deadline := time.Now().Add(time.Minute); !same(); <-time.After(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				r.Fatalf("not the same within a minute (-first +other):\n%s", cmp.Diff(values(t, p.a, namespace), values(t, p.b, namespace)))
			}
		}
	})
}

// edit makes random edits in a namespace of the first cluster.
func edit(t *testing.T, r *rapid.T, p *clusters, namespace string) {
	t.Helper()
	kinds := slices.Sorted(maps.Keys(editedKinds))
	for i := range rapid.IntRange(20, 120).Draw(r, "edits") {
		text := editedKinds[rapid.SampledFrom(kinds).Draw(r, "kind")]
		text = fmt.Sprintf(text, fmt.Sprintf("o%d", rapid.IntRange(0, 5).Draw(r, "name")), namespace, i)
		if rapid.IntRange(0, 3).Draw(r, "delete") > 0 {
			p.from.WriteAs(t, "kubectl-edit", text)
		} else if err := p.a.Delete(t.Context(), kubetest.Objects(t, text)[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// values are what the edits have left of a namespace, by kind and name.
func values(t *testing.T, c *kube.Cluster, namespace string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for kind, text := range editedKinds {
		gvk := kubetest.Objects(t, fmt.Sprintf(text, "x", namespace, 0))[0].GroupVersionKind()
		gvr := gvk.GroupVersion().WithResource(strings.ToLower(kind) + "s")
		for obj, err := range c.List(t.Context(), gvr, kube.Query{Namespace: namespace}) {
			if err != nil {
				t.Fatal(err)
			}
			selector, _, _ := unstructured.NestedMap(obj.Object, "spec", "selector")
			found[kind+" "+obj.GetName()] = fmt.Sprint(obj.Object["data"], selector, obj.Object["rules"], obj.GetAnnotations()["value"])
		}
	}
	return found
}
