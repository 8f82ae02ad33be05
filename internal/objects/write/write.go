// Package write brings objects into a cluster: it makes them as they shall be there, creates them, changes what is there or makes it
// again, and waits for what they need and for what they bring.
package write

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/apierror"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/backing"
	"github.com/crossfade-dev/crossfade/internal/objects/clean"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/quiesce"
	"github.com/crossfade-dev/crossfade/internal/objects/relate"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
	"github.com/crossfade-dev/crossfade/internal/objects/stamp"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
)

// attempts is how often a write is tried while the API server says "not now", with doubling pauses from firstPause; until everything else
// is there it is tried firstAttempts times only. One that takes as long as slowTry is not tried again: something holds it up.
const (
	attempts      = 5
	firstAttempts = 2
	firstPause    = 100 * time.Millisecond
	slowTry       = 5 * time.Second
)

// Writer writes objects of one cluster into another. It may be used by many goroutines, and is not to be changed meanwhile.
type Writer struct {
	From, To    *kube.Cluster
	Rules       decide.Rules // say who wins where somebody has changed a copy
	DryRun      bool         // compare, write nothing
	Mark        stamp.Mark   // of From, on everything that is written
	Relate      *relate.Relater
	Controllers *quiesce.Controllers // of To; what is written of them stays stopped as long as they are
	Patience    *retry.Patience
	Progress    cluster.Progress
	Note        func(format string, args ...any) // told what people should know at the end

	inactive atomic.Bool // To was not active when it was asked last

	lock    sync.Mutex
	changed map[string]bool // kinds of which To makes something else than is written
}

// Prepare makes the object as it shall be in the other cluster from what it is in its own; missing are objects that it names by UID, as
// its owners for one, and that are not there (yet). In haste an owner that is not remembered counts as one that is not there.
func (w *Writer) Prepare(ctx context.Context, from *unstructured.Unstructured, hasty bool) (want *unstructured.Unstructured, missing []string, err error) {
	free, err := withhold.Restore(from)
	if err != nil {
		return nil, nil, err
	}
	want = clean.Object(free)
	var owners []any
	if len(from.GetOwnerReferences()) > 0 && !decide.KeepsCertificate(from) {
		if owners, missing, err = w.Relate.Owners(ctx, from, !hasty); err != nil {
			return nil, nil, err
		}
	}
	if len(owners) > 0 {
		_ = unstructured.SetNestedSlice(want.Object, owners, "metadata", "ownerReferences") // metadata is a map
	}
	others, err := w.Relate.Fields(ctx, want)
	return want, append(missing, others...), err
}

// Put writes an object as it was prepared over existing, which is what the other cluster has of its name, and says what it has done and
// why. The first time, when the object may be put off until everything else is there, it does not try for long.
func (w *Writer) Put(ctx context.Context, from, want, existing *unstructured.Unstructured, first bool) (outcome.Action, string, error) {
	return (&writing{Writer: w, from: from, first: first}).put(ctx, want, existing)
}

// writing is an object on its way into the other cluster.
type writing struct {
	*Writer
	from  *unstructured.Unstructured // as it is in its own cluster
	first bool                       // whether it may be put off until everything else is there

	concerned, active bool // whether something of it may be withheld, and whether the other cluster was active when it was written
}

// put writes the object, once more when the other cluster has become active meanwhile, or has ceased to be.
func (w *writing) put(ctx context.Context, want, existing *unstructured.Unstructured) (outcome.Action, string, error) {
	for {
		action, reason, err := w.persist(ctx, want, existing)
		if err != nil || !w.concerned || w.DryRun {
			return action, reason, err
		}
		active, err := withhold.Active(ctx, w.To)
		w.inactive.Store(err == nil && !active)
		if err != nil || active == w.active {
			return action, reason, err
		}
		if existing, err = w.To.Get(ctx, want); err != nil {
			return "", "", err
		}
	}
}

// shaped is the object as it shall be there now. What would act on the world outside is withheld while the other cluster is not active;
// and also while it is, as long as the original acts, unless both have acted before. One that is new is withheld as well if the cluster
// was not active when it was asked last: put asks once more when it is there.
func (w *writing) shaped(ctx context.Context, want, existing *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	held, err := withhold.Hold(ctx, want, w.From.Find)
	if w.concerned = held != want; err != nil || !w.concerned {
		return want, err
	}
	if existing == nil && w.inactive.Load() {
		w.active = false
		return held, nil
	}
	w.active, err = withhold.Active(ctx, w.To)
	if w.inactive.Store(err == nil && !w.active); err != nil || !w.active {
		return held, err
	}
	original, err := withhold.Hold(ctx, w.from, w.From.Find)
	if err == nil && original != w.from && (existing == nil || withhold.Held(existing)) {
		return held, nil
	}
	return want, err
}

// persist writes the object, again while the API server is busy or the connection breaks.
func (w *writing) persist(ctx context.Context, want, existing *unstructured.Unstructured) (action outcome.Action, reason string, err error) {
	most, pause := attempts, firstPause
	if w.first {
		most = firstAttempts
	}
	for attempt := 1; ; attempt++ {
		began := time.Now()
		if action, reason, err = w.try(ctx, want, existing); err == nil || attempt == most || time.Since(began) > slowTry {
			return action, reason, err
		}
		if !fault.Retryable(err) || apierror.Unreachable(err) && w.Patience.Away(ctx) {
			return "", "", err
		}
		select {
		case <-ctx.Done():
			return "", "", err
		case <-time.After(max(pause, apierror.RetryAfter(err))):
		}
		pause *= 2
		if existing, err = w.To.Get(ctx, want); err != nil {
			return "", "", err
		}
	}
}

// try creates the object, or changes what is there.
func (w *writing) try(ctx context.Context, free, existing *unstructured.Unstructured) (outcome.Action, string, error) {
	if existing != nil && existing.GetDeletionTimestamp() != nil {
		if err := w.leaves(ctx, existing); err != nil {
			return "", "", err
		}
		existing = nil
	}
	if existing != nil {
		KeepScale(free, existing)
	}
	want, err := w.shaped(ctx, free, existing)
	if err != nil {
		return "", "", err
	}
	if existing == nil {
		w.Mark.Put(want, nil)
		want = w.Controllers.Still(want, nil)
		if w.DryRun {
			return outcome.Create, "", nil
		}
		if err := backing.Await(ctx, w.From, w.To, want, w.Progress); err != nil {
			return "", "", err
		}
		created, err := w.To.Create(ctx, want)
		if err != nil {
			return "", "", err
		}
		if created != nil {
			w.Relate.Learn(created)
			return outcome.Create, "", w.established(ctx, want)
		}
		if existing, err = w.To.Get(ctx, want); err != nil || existing == nil {
			return "", "", err // created and gone in the same moment: the next look sees
		}
		return w.try(ctx, free, existing)
	}
	w.Mark.Put(want, existing)
	want = w.Controllers.Still(want, existing)
	w.Relate.Learn(existing)
	if same(want, existing) {
		return outcome.Unchanged, "", nil
	}
	return w.change(ctx, want, existing)
}

// change applies the object over what is there, unless somebody has changed it there.
func (w *Writer) change(ctx context.Context, want, existing *unstructured.Unstructured) (outcome.Action, string, error) {
	policy := w.Rules.Policy(want)
	if policy == "target" && decide.Edited(existing) {
		return outcome.Skip, string(decide.Changed), nil
	}
	if w.DryRun {
		return outcome.Update, "", nil
	}
	if ignored(want, existing) {
		return w.replace(ctx, want, existing, policy)
	}
	written, err := w.To.Write(ctx, want, existing, policy == "source")
	switch conflicts := kube.Conflicts(err); {
	case len(conflicts) > 0:
		return outcome.Conflict, strings.Join(conflicts, "; "), nil
	case err != nil && immutable(err):
		return w.replace(ctx, want, existing, policy)
	case err != nil:
		return "", "", err
	case written.GetResourceVersion() == existing.GetResourceVersion() || sameContent(written, existing):
		w.kept(want, written)
		return outcome.Unchanged, "", nil
	}
	return outcome.Update, "", w.established(ctx, want)
}

// kept notes, once for each kind, that the other cluster makes something else of objects than is written.
func (w *Writer) kept(want, written *unstructured.Unstructured) {
	kind := want.GroupVersionKind().GroupKind().String()
	w.lock.Lock()
	known := w.changed[kind]
	if w.changed == nil {
		w.changed = map[string]bool{}
	}
	w.changed[kind] = true
	w.lock.Unlock()
	if !known {
		w.Note("%s is not kept as it is written: the other cluster makes something else of it, by a webhook perhaps; there may be more of its kind", ident.Of(want))
	}
}

// Delete deletes an object, and what it owns goes with it.
func (w *Writer) Delete(ctx context.Context, obj *unstructured.Unstructured) error {
	if w.DryRun {
		return nil
	}
	if err := w.To.Delete(ctx, obj); err != nil {
		return err
	}
	w.Relate.Forget(obj)
	return nil
}

// KeepScale leaves replicas alone that an autoscaler in the other cluster has set since they were copied.
func KeepScale(want, existing *unstructured.Unstructured) {
	existing = withhold.Released(existing)
	for m := range manager.Of(existing) {
		if m.Subresource != "scale" {
			continue
		}
		if n, found, _ := unstructured.NestedInt64(existing.Object, "spec", "replicas"); found {
			_ = unstructured.SetNestedField(want.Object, n, "spec", "replicas") // spec is there, as the kind can be scaled
		}
	}
}
