package withhold

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// Pauses between two looks at what still runs.
const (
	shortestPause = 200 * time.Millisecond
	longestPause  = 2 * time.Second
)

var podsResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// runs is when each CronJob was last run, by name; the zero time for one that never was.
type runs map[string]time.Time

// note remembers a time for a CronJob, unless a later one is known.
func (r runs) note(name, text string) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at = time.Time{} // it has none
	}
	if known, there := r[name]; !there || at.After(known) {
		r[name] = at
	}
}

// look is what was seen, and done, by looking once at everything that acts in a cluster.
type look struct {
	held     int                  // objects that are withheld
	changed  []string             // those that were not before
	running  []string             // Jobs and pods that have not ended
	starters map[types.UID]string // names of what is withheld and starts Jobs
}

// stop withholds what acts in from, waits until nothing of it runs, and then withholds what publishes from.
func (h *handOver) stop(ctx context.Context) error {
	if h.from == nil {
		return nil
	}
	begin := time.Now()
	since, pause, said, total := begin, shortestPause, "", 0
	for first := true; ; first = false {
		seen, err := h.look(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		if total += len(seen.changed); len(seen.changed) > 0 {
			since, pause = now, shortestPause
		}
		quiet := len(seen.running) == 0 && len(seen.changed) == 0
		if quiet && (seen.held == 0 || now.Sub(since) >= h.quiet) {
			break
		}
		if now.Sub(begin) > h.Limit && !first {
			if err := h.late(seen); err != nil {
				return err
			}
		}
		if len(seen.running) > 0 && said != seen.running[0] {
			said = seen.running[0]
			h.Progress("waiting in %s for %s", h.from.name(), several(seen.running))
		}
		wait := pause
		if quiet {
			wait = min(pause, h.quiet-now.Sub(since))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		pause = min(2*pause, longestPause)
	}
	return h.stopPublishing(ctx, total)
}

// late says what keeps the hand-over waiting beyond its limit; nil when it waits for nothing but quiet.
func (h *handOver) late(seen look) error {
	over := "cannot hand over to " + h.to.Generation + ": "
	switch {
	case len(seen.running) > 0:
		return fault.New(fault.Refused, over+"after %s there still runs in %s %s", h.Limit, h.from.name(), several(seen.running)).
			WithHint("nothing else acts in either cluster now: wait for it or end it and start the same command again, or hand over the other way round to undo")
	case len(seen.changed) > 0:
		return fault.New(fault.Refused, over+"in %s somebody starts again what is withheld: %s", h.from.name(), several(seen.changed)).
			WithHint("stop the program that does, such as a GitOps controller, and start the same command again")
	}
	return nil
}

// look looks at everything that acts in from once, and withholds what is not yet.
func (h *handOver) look(ctx context.Context) (look, error) {
	seen := look{starters: map[types.UID]string{}}
	for _, r := range h.from.resources {
		if _, acts := placeOf(r.GroupKind()); !acts {
			continue
		}
		for obj, err := range h.from.Cluster.List(ctx, r.GroupVersionResource, kube.Query{}) {
			if err != nil {
				return seen, err
			}
			if err := h.lookAt(ctx, r, obj, &seen); err != nil {
				return seen, err
			}
		}
	}
	return seen, nil
}

// lookAt looks at one object. Jobs come after what starts them.
func (h *handOver) lookAt(ctx context.Context, r kube.Resource, obj *unstructured.Unstructured, seen *look) error {
	name := ident.Of(obj)
	if isJob(obj) && h.ofStarter(obj, seen) {
		if !ended(obj) {
			seen.running = append(seen.running, name)
		}
		return nil
	}
	held, err := Hold(ctx, obj, h.from.Cluster.Find)
	if err != nil || held == obj && !Held(obj) {
		return err
	}
	if ours, err := h.from.touches(ctx, r, obj); err != nil || !ours {
		return err
	}
	if isJob(obj) && begun(obj) { // suspended, it would be done in part only
		seen.running = append(seen.running, name)
		return nil
	}
	seen.held++
	if held != obj {
		seen.changed = append(seen.changed, name)
		if _, err := h.from.change(ctx, obj, held); err != nil {
			return err
		}
	}
	switch obj.GetKind() {
	case "CronJob":
		h.ran.note(name, field.String(obj, "status", "lastScheduleTime"))
		seen.starters[obj.GetUID()] = name
	case "ScaledJob":
		seen.starters[obj.GetUID()] = name
	default:
		return h.pods(ctx, obj, seen)
	}
	return nil
}

// ofStarter reports whether a Job was started by something that is withheld, and notes when that was.
func (h *handOver) ofStarter(job *unstructured.Unstructured, seen *look) bool {
	owner := metav1.GetControllerOf(job)
	if owner == nil {
		return false
	}
	name, ours := seen.starters[owner.UID]
	if ours && owner.Kind == "CronJob" {
		h.ran.note(name, job.GetAnnotations()["batch.kubernetes.io/cronjob-scheduled-timestamp"])
	}
	return ours
}

// pods notes the pods of a workload that have not ended.
func (h *handOver) pods(ctx context.Context, workload *unstructured.Unstructured, seen *look) error {
	selector := selectorOf(workload)
	if selector == "" {
		return nil
	}
	query := kube.Query{Namespace: workload.GetNamespace(), Labels: selector}
	for pod, err := range h.from.Cluster.List(ctx, podsResource, query) {
		if err != nil {
			return err
		}
		if phase := field.String(pod, "status", "phase"); phase != "Succeeded" && phase != "Failed" {
			seen.running = append(seen.running, ident.Of(pod))
		}
	}
	return nil
}

// selectorOf is the selector of a workload's pods; "" when it has none.
func selectorOf(workload *unstructured.Unstructured) string {
	fields := field.Map(workload, "spec", "selector")
	if workload.GetKind() == "ReplicationController" {
		fields = map[string]any{"matchLabels": fields}
	}
	var selector metav1.LabelSelector
	if len(fields) == 0 || runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &selector) != nil {
		return ""
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil || parsed.String() == labels.Everything().String() {
		return ""
	}
	return parsed.String()
}

// stopPublishing withholds what publishes the names and addresses of from, when nothing runs there any more.
func (h *handOver) stopPublishing(ctx context.Context, total int) error {
	for again := true; again; {
		again = false
		for _, r := range h.from.resources {
			if _, acts := placeOf(r.GroupKind()); acts {
				continue
			}
			for obj, err := range h.from.Cluster.List(ctx, r.GroupVersionResource, kube.Query{}) {
				if err != nil {
					return err
				}
				changed, err := h.unpublish(ctx, r, obj)
				if err != nil {
					return err
				}
				if again = again || changed; changed {
					total++
				}
			}
		}
	}
	if total > 0 {
		h.Progress("withheld %d objects in %s", total, h.from.name())
	}
	return nil
}

// unpublish withholds one object that publishes something, and reports whether anything of it was not withheld before.
func (h *handOver) unpublish(ctx context.Context, r kube.Resource, obj *unstructured.Unstructured) (bool, error) {
	held, err := Hold(ctx, obj, h.from.Cluster.Find)
	if err != nil || held == obj {
		return false, err
	}
	if ours, err := h.from.touches(ctx, r, obj); err != nil || !ours {
		return false, err
	}
	_, err = h.from.change(ctx, obj, held)
	return true, err
}

func isJob(obj *unstructured.Unstructured) bool {
	return obj.GroupVersionKind().GroupKind().String() == "Job.batch"
}

// ended reports whether a Job will not start anything more.
func ended(job *unstructured.Unstructured) bool {
	return slices.ContainsFunc(field.List(job, "status", "conditions"), func(c any) bool {
		condition := field.AsMap(c)
		return condition["status"] == "True" && (condition["type"] == "Complete" || condition["type"] == "Failed")
	})
}

// begun reports whether a Job has begun and not ended.
func begun(job *unstructured.Unstructured) bool {
	active, _, _ := unstructured.NestedInt64(job.Object, "status", "active")
	return !ended(job) && (active > 0 || field.String(job, "status", "startTime") != "")
}
