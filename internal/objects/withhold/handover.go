package withhold

import (
	"context"
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// withheldCronJob is the annotation's value.
const withheldCronJob = "cronjob"

var cronJobs = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}

// All is Hold for several objects.
func All(objs []*unstructured.Unstructured) []*unstructured.Unstructured {
	held := make([]*unstructured.Unstructured, len(objs))
	for i, obj := range objs {
		held[i] = Hold(obj)
	}
	return held
}

// withhold suspends and marks a CronJob, unless its users have suspended it.
func withhold(obj *unstructured.Unstructured) {
	if suspended(obj) {
		return
	}
	if _, ok := obj.Object["spec"].(map[string]any); !ok {
		return // the API server refuses it, with a better message than any of ours
	}
	_ = unstructured.SetNestedField(obj.Object, true, "spec", "suspend") // spec is a map
	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[Annotation] = withheldCronJob
	obj.SetAnnotations(annotations)
}

// HandOver makes the CronJobs run in one cluster instead of another: all of from are suspended first, and only then are
// those of to that were withheld released, so that at no moment both run. It is symmetric: called the other way round it
// undoes itself. It may be called again after it was stopped anywhere. A CronJob that its users have suspended stays so.
// from is nil when there is none. Schedules that from has run are not run again by to; one that came due in between is
// run by to, once.
func HandOver(ctx context.Context, from, to *kube.Cluster, progress cluster.Progress) error {
	lastRuns := map[string]string{}
	if from != nil {
		count, err := suspendAll(ctx, from, lastRuns)
		if err != nil {
			return err
		}
		if count > 0 {
			progress("suspended %d CronJobs in %s", count, from.Access().Context)
		}
	}
	count, err := releaseAll(ctx, to, lastRuns)
	if err == nil && count > 0 {
		progress("released %d CronJobs in %s", count, to.Access().Context)
	}
	return err
}

// suspendAll suspends and marks every running CronJob of the users, and notes when each was last run.
func suspendAll(ctx context.Context, c *kube.Cluster, lastRuns map[string]string) (int, error) {
	count := 0
	for job, err := range c.List(ctx, cronJobs, kube.Query{}) {
		if err != nil {
			return count, err
		}
		if kube.IsSystemNamespace(job.GetNamespace()) {
			continue
		}
		if !suspended(job) {
			changed, err := c.Patch(ctx, job, holdPatch(true))
			if err != nil {
				return count, err
			}
			job, count = changed, count+1
		}
		lastRuns[ident.Of(job)] = field.String(job, "status", "lastScheduleTime")
	}
	return count, nil
}

// releaseAll lets every withheld CronJob run.
func releaseAll(ctx context.Context, c *kube.Cluster, lastRuns map[string]string) (int, error) {
	count := 0
	for job, err := range c.List(ctx, cronJobs, kube.Query{}) {
		if err != nil {
			return count, err
		}
		if job.GetAnnotations()[Annotation] == "" || kube.IsSystemNamespace(job.GetNamespace()) {
			continue
		}
		if err := setLastRun(ctx, c, job, lastRuns); err != nil {
			return count, err
		}
		if _, err := c.Patch(ctx, job, holdPatch(false)); err != nil {
			return count, err
		}
		count++
	}
	return count, nil
}

// setLastRun tells a CronJob when it was last run in the other cluster. Without that, its controller would at once run the
// schedules that it missed while it was suspended (the API's documentation of spec.suspend), which the other cluster has
// run already. One that the other cluster does not know has missed nothing until now.
func setLastRun(ctx context.Context, c *kube.Cluster, job *unstructured.Unstructured, lastRuns map[string]string) error {
	last, known := lastRuns[ident.Of(job)]
	if !known {
		last = time.Now().UTC().Format(time.RFC3339)
	}
	if last == "" || last <= field.String(job, "status", "lastScheduleTime") { // both in UTC, so the texts compare as times
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"lastScheduleTime": last}})
	if err != nil {
		return err
	}
	_, err = c.Patch(ctx, job, patch, "status")
	return err
}

// holdPatch suspends and marks a CronJob, or undoes both.
func holdPatch(hold bool) []byte {
	if hold {
		return []byte(`{"metadata":{"annotations":{"` + Annotation + `":"` + withheldCronJob + `"}},"spec":{"suspend":true}}`)
	}
	return []byte(`{"metadata":{"annotations":{"` + Annotation + `":null}},"spec":{"suspend":false}}`)
}

func isCronJob(obj *unstructured.Unstructured) bool {
	return obj.GroupVersionKind().GroupKind() == (schema.GroupKind{Group: "batch", Kind: "CronJob"})
}

func suspended(job *unstructured.Unstructured) bool {
	value, _, _ := unstructured.NestedBool(job.Object, "spec", "suspend")
	return value
}
