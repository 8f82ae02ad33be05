package withhold

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/clean"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// RanAnnotation is on a Job that stays suspended, as it has run in the generation that the annotation names.
const RanAnnotation = "crossfade.dev/ran-in"

// start releases what is withheld in to, and tells both clusters that its generation is active. What a copy has written as withheld
// meanwhile is released after that.
func (h *handOver) start(ctx context.Context) error {
	total := 0
	for told := false; ; {
		count, err := h.release(ctx)
		if err != nil {
			return err
		}
		if total += count; told && count == 0 {
			break
		}
		told = true
		if err := h.activate(ctx, h.token); err != nil {
			return err
		}
	}
	if total > 0 {
		h.Progress("released %d objects in %s", total, h.to.name())
	}
	if err := h.activate(ctx, ""); err != nil {
		return err
	}
	h.Progress("%s is active", h.to.Generation)
	return nil
}

// release releases what is withheld in to once, and counts it.
func (h *handOver) release(ctx context.Context) (count int, err error) {
	for _, r := range slices.Backward(h.to.resources) {
		checked := false
		for obj, err := range h.to.Cluster.List(ctx, r.GroupVersionResource, kube.Query{}) {
			if err != nil {
				return count, err
			}
			if !Held(obj) {
				continue
			}
			if ours, err := h.to.touches(ctx, r, obj); err != nil {
				return count, err
			} else if !ours {
				continue
			}
			if !checked {
				if err := h.mine(ctx); err != nil {
					return count, err
				}
				checked = true
			}
			count++
			if err := h.releaseOne(ctx, obj); err != nil {
				return count, err
			}
		}
	}
	return count, nil
}

// releaseOne releases an object. One that somebody has changed meanwhile is left to the next round.
func (h *handOver) releaseOne(ctx context.Context, obj *unstructured.Unstructured) error {
	free, err := Restore(obj)
	if err != nil {
		return err
	}
	if _, acts := placeOf(obj.GroupVersionKind().GroupKind()); acts && h.from != nil {
		theirs, err := h.from.Cluster.Get(ctx, obj)
		if err != nil {
			return err
		}
		h.keepStopped(obj, theirs, free)
	}
	if obj.GetKind() == "CronJob" {
		told, err := h.setLastRun(ctx, obj)
		if err != nil {
			return err
		}
		obj = told
	}
	_, err = h.to.change(ctx, obj, free)
	return err
}

// keepStopped leaves in free, a released object of to, what the users of from have stopped there, and a Job suspended that has begun there.
func (h *handOver) keepStopped(obj, theirs, free *unstructured.Unstructured) {
	if isJob(obj) && ranBefore(obj, theirs) {
		h.Progress("%s stays suspended in %s: it has run in %s", ident.Of(obj), h.to.name(), h.from.name())
		put(free.Object, "/spec/suspend", "/spec/suspend", true)
		put(free.Object, annotation(RanAnnotation), annotation(RanAnnotation), h.from.Generation)
		return
	}
	if theirs == nil || Held(theirs) {
		return
	}
	for _, r := range rulesOf(obj.GroupVersionKind().GroupKind()) {
		for _, s := range r.set {
			if value, found := get(theirs.Object, s.at); found && field.Equal(value, s.to) {
				put(free.Object, s.at, s.made(), s.to)
			}
		}
	}
}

// ranBefore reports whether a Job has begun in from, where it is theirs. One that was copied and is gone there has; one of a
// pipeline has when it was the same work.
func ranBefore(job, theirs *unstructured.Unstructured) bool {
	if theirs == nil {
		return manager.Copied(job) != ""
	}
	if !ended(theirs) && !begun(theirs) {
		return false
	}
	return field.Within(field.Map(clean.Object(theirs), "spec", "template"), field.Map(job, "spec", "template"))
}

// setLastRun tells a CronJob when it was last run in the other cluster, and returns it as it is then. Without that, its controller would
// at once run the schedules that it missed while it was suspended (the API's documentation of spec.suspend), which the other
// cluster has run already. One that the other cluster does not know has missed nothing until now.
func (h *handOver) setLastRun(ctx context.Context, job *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	last, known := h.ran[ident.Of(job)]
	if !known {
		last = time.Now()
	}
	own, err := time.Parse(time.RFC3339, field.String(job, "status", "lastScheduleTime"))
	if err == nil && !last.After(own) || last.IsZero() {
		return job, nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"lastScheduleTime": last.UTC().Format(time.RFC3339)}})
	if err != nil {
		return nil, err
	}
	return h.to.Cluster.Patch(ctx, job, patch, "status")
}
