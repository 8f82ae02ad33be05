package objects_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/quiesce"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// operator is a controller as a workload.
func operator(kind, name string, replicas int) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: %s, metadata: {name: %s, namespace: quiet}, spec: {replicas: %d, selector: {matchLabels: {app: %[2]s}},
	  template: {metadata: {labels: {app: %[2]s}}, spec: {containers: [{name: a, image: "a:1"}]}}}}`, kind, name, replicas)
}

// testQuiesced: controllers that the rules name are at zero in the other cluster while it is copied to, whether they were there or
// come with the copy, and have their replicas again at the end; also when a copy was stopped in between.
func testQuiesced(t *testing.T, p *clusters) {
	namespace := "{apiVersion: v1, kind: Namespace, metadata: {name: quiet}}"
	p.from.WriteAs(t, "kubectl-create", strings.Join([]string{
		namespace, operator("Deployment", "both", 3), operator("StatefulSet", "comes", 2), operator("Deployment", "other", 1),
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: early, namespace: quiet}}",
		"{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: late, namespace: quiet}, spec: {minAvailable: 1, selector: {matchLabels: {app: both}}}}",
	}, "\n---\n"))
	p.to.WriteAs(t, "kubectl-create", strings.Join([]string{namespace, operator("Deployment", "both", 3), operator("StatefulSet", "there", 4)}, "\n---\n"))
	selected := within("quiet")
	selected.Quiesce = []spec.Selector{{Namespaces: []string{"quiet"}, Names: []string{"both", "comes", "there"}}}
	seen := map[string]string{}
	var lock sync.Mutex
	o := options(selected)
	o.Tell = func(d outcome.Decision) {
		if _, name, _ := strings.Cut(d.Object, "quiet/"); d.Action == outcome.Create && (name == "early" || name == "late") {
			lock.Lock()
			defer lock.Unlock()
			seen[name] = p.scales(t)
		}
	}
	var told []string
	o.Progress = func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
	report, err := objects.Copy(t.Context(), p.a, p.b, o)
	if err != nil || report.Err() != nil {
		t.Fatal(err, report.Err())
	}
	if diff := cmp.Diff(map[string]string{"early": "both 0 comes - other - there 0", "late": "both 0 comes 0 other 1 there 0"}, seen); diff != "" {
		t.Errorf("while it is copied (-want +got):\n%s", diff)
	}
	const after = "both 3 comes 2 other 1 there 4"
	if got := p.scales(t); got != after {
		t.Errorf("afterwards: %s, want %s", got, after)
	}
	if text := strings.Join(told, "\n"); strings.Count(text, "stopped apps/") != 2 || strings.Count(text, "started apps/") != 3 {
		t.Errorf("told: %s", text)
	}
	again, decided := p.decided(t, "quiet", selected)
	if again.Copied() != 0 || p.scales(t) != after {
		t.Errorf("a second copy: %v, then %s", decided, p.scales(t))
	}
	p.settled(t, within("quiet"))

	for _, name := range []string{"there", "both"} { // as a copy leaves them that was stopped
		kind := map[string]string{"there": "StatefulSet", "both": "Deployment"}[name]
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"7"}},"spec":{"replicas":0}}`, quiesce.Annotation)
		if _, err := p.b.Patch(t.Context(), kubetest.Objects(t, operator(kind, name, 0))[0], []byte(patch)); err != nil {
			t.Fatal(err)
		}
	}
	dry := options(selected)
	dry.DryRun = true
	if _, err := objects.Copy(t.Context(), p.a, p.b, dry); err != nil || p.scales(t) != "both 0 comes 2 other 1 there 0" {
		t.Errorf("a dry run has scaled: %s (%v)", p.scales(t), err)
	}
	copyAll(t, p.a, p.b, selected)
	if got := p.scales(t); got != "both 7 comes 2 other 1 there 7" {
		t.Errorf("after a copy that was stopped: %s", got)
	}
}

// scales are the replicas of the controllers in the other cluster.
func (p *clusters) scales(t *testing.T) string {
	var found []string
	for _, c := range [][2]string{{"Deployment", "both"}, {"StatefulSet", "comes"}, {"Deployment", "other"}, {"StatefulSet", "there"}} {
		text := "-"
		if obj, err := p.b.Get(t.Context(), kubetest.Objects(t, operator(c[0], c[1], 0))[0]); err != nil {
			t.Error(err)
		} else if obj != nil {
			n, _, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas")
			text = fmt.Sprint(n)
		}
		found = append(found, c[1], text)
	}
	return strings.Join(found, " ")
}
