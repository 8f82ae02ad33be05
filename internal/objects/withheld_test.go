package objects_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
)

// job is the text of a CronJob.
func job(name, schedule string, suspend bool) string {
	return fmt.Sprintf("{apiVersion: batch/v1, kind: CronJob, metadata: {name: %s, namespace: shop}, spec: {schedule: %q, suspend: %t, "+
		"jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'c:1'}]}}}}}}", name, schedule, suspend)
}

// runs reports whether a CronJob is there and not suspended, and on which schedule.
func runs(t *testing.T, c *kube.Cluster, name string) (running bool, schedule string) {
	t.Helper()
	found := get(t, c, job(name, "", false))
	if found == nil {
		return false, ""
	}
	suspended, _, _ := unstructured.NestedBool(found.Object, "spec", "suspend")
	schedule, _, _ = unstructured.NestedString(found.Object, "spec", "schedule")
	return !suspended, schedule
}

func handOver(t *testing.T, from, to *kube.Cluster) {
	t.Helper()
	err := withhold.HandOver(t.Context(), withhold.Side{Cluster: from}, withhold.Side{Cluster: to}, withhold.Options{Limit: time.Second, Progress: silent})
	if err != nil {
		t.Fatal(err)
	}
}

// front is an Ingress of which nothing is withheld but that its host is published.
const front = "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: front, namespace: shop}, spec: " +
	"{rules: [{host: shop.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}}"

// hold withholds an object that is there.
func hold(t *testing.T, c *kube.Cluster, text string) {
	t.Helper()
	found := get(t, c, text)
	held, err := withhold.Hold(t.Context(), found, nil)
	if err != nil {
		t.Fatal(err)
	}
	annotations, err := json.Marshal(held.GetAnnotations())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Patch(t.Context(), found, []byte(`{"metadata":{"annotations":`+string(annotations)+`}}`)); err != nil {
		t.Fatal(err)
	}
}

// TestCopyAroundHandOver: who was there first does not matter, only whether the other cluster is active. What was withheld and what
// was released counts as it was written, so that a copy after a hand-over writes nothing.
func TestCopyAroundHandOver(t *testing.T) {
	from, to := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	a, b := from.Connect(t), to.Connect(t)
	from.WriteAs(t, "kubectl-create", live+"---\n"+front)
	want := func(reason string, written int, running map[string]bool) {
		t.Helper()
		if report := copyAll(t, a, b, decide.Rules{}); report.Copied() != written {
			t.Errorf("%s: a copy has written %d, want %d", reason, report.Copied(), written)
		}
		for name, runsHere := range running {
			if got, _ := runs(t, b, name); got != runsHere {
				t.Errorf("%s: %s runs in b: %t, want %t", reason, name, got, runsHere)
			}
		}
	}
	copyAll(t, a, b, decide.Rules{})
	from.WriteAs(t, "kubectl-edit", job("paused", "0 3 * * *", false))
	want("one that was suspended in a and runs now", 1, map[string]bool{"nightly": false, "paused": false})

	handOver(t, a, b)
	want("after the hand-over", 0, map[string]bool{"nightly": true, "paused": true})
	from.WriteAs(t, "kubectl-create", job("new", "0 4 * * *", false))
	want("one more that runs in a", 1, map[string]bool{"new": false})
	handOver(t, a, b) // once more
	want("after that was handed over", 0, map[string]bool{"nightly": true, "new": true})

	hold(t, b, front) // as one writes who was late
	want("what is withheld in b against its being active", 1, nil)
	if found := get(t, b, front); withhold.Held(found) {
		t.Errorf("it is not released: %v", found.GetAnnotations())
	}

	handOver(t, b, a)
	want("after handing back", 0, map[string]bool{"nightly": false, "paused": false, "new": false})
}

// TestFollowThroughHandOver: what is carried over while a hand-over goes to and fro is withheld or not as it should be, and never runs in
// both clusters.
func TestFollowThroughHandOver(t *testing.T) {
	from, to := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	a, b := from.Connect(t), to.Connect(t)
	from.WriteAs(t, "kubectl-create", live)
	follow(t, a, b, decide.Rules{}, nil)
	edit := func(minute int, wantInB bool) {
		t.Helper()
		patch := fmt.Sprintf(`{"spec":{"schedule":"%d 3 * * *"}}`, minute)
		if _, err := a.Patch(t.Context(), kubetest.Objects(t, job("nightly", "", false))[0], []byte(patch)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the change is carried over", func() bool {
			running, schedule := runs(t, b, "nightly")
			if inA, _ := runs(t, a, "nightly"); inA && running {
				t.Fatal("it runs in both")
			}
			return running == wantInB && schedule == fmt.Sprintf("%d 3 * * *", minute)
		})
	}
	edit(1, false)
	from.WriteAs(t, "kubectl-create", job("new", "0 4 * * *", false))
	eventually(t, "the new one is there", func() bool { return get(t, b, job("new", "", false)) != nil })
	if running, _ := runs(t, b, "new"); running {
		t.Error("one that arrives runs before the hand-over")
	}
	handOver(t, a, b)
	edit(2, true)
	handOver(t, b, a)
	edit(3, false)
}
