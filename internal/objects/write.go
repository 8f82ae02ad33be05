package objects

import (
	"context"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/backing"
	"github.com/crossfade-dev/crossfade/internal/objects/clean"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/definition"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
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

// writer brings one object into the other cluster.
type writer struct {
	*copier
	tally *outcome.Tally
	from  *unstructured.Unstructured // as it is in its own cluster
	first bool                       // whether it may be put off until everything else is there
	hasty bool                       // whether an owner that is not remembered counts as one that is not there
	last  bool                       // whether what it names by UID and is not there does not come any more

	concerned, active bool // whether something of it may be withheld, and whether the other cluster was active when it was written
}

// copy writes the object and counts what came of it; existing is what the other cluster has of its name. Only what stops
// everything is an error.
func (w *writer) copy(ctx context.Context, existing *unstructured.Unstructured) error {
	want, missing, err := w.prepare(ctx)
	if err == nil && len(missing) > 0 && w.first {
		w.waiting.Owned(w.from, missing, existing == nil)
		return nil
	}
	var action outcome.Action
	var reason string
	if err == nil {
		action, reason, err = w.put(ctx, want, existing)
	}
	switch {
	case err == nil:
		w.tally.Add(w.from, action, reason)
		if w.last && !w.DryRun && len(missing) > 0 {
			w.tally.Note("%s was copied without %s, which the other cluster does not have", ident.Of(w.from), strings.Join(missing, ", "))
		}
		w.waiting.Settled(w.from)
		w.patience.Accepted(action)
		return nil
	case w.patience.Ends(ctx, err):
		return err
	case w.patience.Overwhelmed(err):
		return fault.New(fault.Unavailable, "the cluster %s %w: %w", w.to.Access().Context, retry.ErrOverwhelmed, err).
			WithHint("see whether its disk is full and what its API server logs; the same command goes on then")
	case w.first:
		w.waiting.Failed(w.from)
	default:
		w.tally.Fail(w.from, err)
	}
	return nil
}

// prepare makes the object as it shall be in the other cluster; missing are objects that it names by UID, as its
// owners for one, and that are not there (yet).
func (w *writer) prepare(ctx context.Context) (want *unstructured.Unstructured, missing []string, err error) {
	free, err := withhold.Restore(w.from)
	if err != nil {
		return nil, nil, err
	}
	want = clean.Object(free)
	var owners []any
	if len(w.from.GetOwnerReferences()) > 0 {
		if owners, missing, err = w.relate.Owners(ctx, w.from, !w.hasty); err != nil {
			return nil, nil, err
		}
	}
	if len(owners) > 0 {
		_ = unstructured.SetNestedSlice(want.Object, owners, "metadata", "ownerReferences") // metadata is a map
	}
	others, err := w.relate.Fields(ctx, want)
	return want, append(missing, others...), err
}

// put writes the object, once more when the other cluster has become active meanwhile, or has ceased to be.
func (w *writer) put(ctx context.Context, want, existing *unstructured.Unstructured) (outcome.Action, string, error) {
	for {
		action, reason, err := w.persist(ctx, want, existing)
		if err != nil || !w.concerned || w.DryRun {
			return action, reason, err
		}
		active, err := withhold.Active(ctx, w.to)
		w.inactive.Store(err == nil && !active)
		if err != nil || active == w.active {
			return action, reason, err
		}
		if existing, err = w.to.Get(ctx, want); err != nil {
			return "", "", err
		}
	}
}

// shaped is the object as it shall be there now. What would act on the world outside is withheld while the other cluster is not active;
// and also while it is, as long as the original acts, unless both have acted before. One that is new is withheld as well if the cluster
// was not active when it was asked last: put asks once more when it is there.
func (w *writer) shaped(ctx context.Context, want, existing *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	held, err := withhold.Hold(ctx, want, w.copier.from.Find)
	if w.concerned = held != want; err != nil || !w.concerned {
		return want, err
	}
	if existing == nil && w.inactive.Load() {
		w.active = false
		return held, nil
	}
	w.active, err = withhold.Active(ctx, w.to)
	if w.inactive.Store(err == nil && !w.active); err != nil || !w.active {
		return held, err
	}
	original, err := withhold.Hold(ctx, w.from, w.copier.from.Find)
	if err == nil && original != w.from && (existing == nil || withhold.Held(existing)) {
		return held, nil
	}
	return want, err
}

// persist writes the object, again while the API server is busy or the connection breaks.
func (w *writer) persist(ctx context.Context, want, existing *unstructured.Unstructured) (action outcome.Action, reason string, err error) {
	most, pause := attempts, firstPause
	if w.first {
		most = firstAttempts
	}
	for attempt := 1; ; attempt++ {
		began := time.Now()
		if action, reason, err = w.try(ctx, want, existing); err == nil || attempt == most || time.Since(began) > slowTry {
			return action, reason, err
		}
		if !fault.Retryable(err) || kube.Unreachable(err) && w.patience.Away(ctx) {
			return "", "", err
		}
		select {
		case <-ctx.Done():
			return "", "", err
		case <-time.After(max(pause, kube.RetryAfter(err))):
		}
		pause *= 2
		if existing, err = w.to.Get(ctx, want); err != nil {
			return "", "", err
		}
	}
}

// try creates the object, or changes what is there.
func (w *writer) try(ctx context.Context, free, existing *unstructured.Unstructured) (outcome.Action, string, error) {
	if existing != nil && existing.GetDeletionTimestamp() != nil {
		if err := w.leaves(ctx, existing); err != nil {
			return "", "", err
		}
		existing = nil
	}
	if existing != nil {
		keepScale(free, existing)
	}
	want, err := w.shaped(ctx, free, existing)
	if err != nil {
		return "", "", err
	}
	if existing == nil {
		w.mark.Put(want, nil)
		want = w.controllers.Still(want, nil)
		if w.DryRun {
			return outcome.Create, "", nil
		}
		if err := backing.Await(ctx, w.copier.from, w.to, want, w.Progress); err != nil {
			return "", "", err
		}
		created, err := w.to.Create(ctx, want)
		if err != nil {
			return "", "", err
		}
		if created != nil {
			w.relate.Learn(created)
			return outcome.Create, "", w.established(ctx, want)
		}
		if existing, err = w.to.Get(ctx, want); err != nil || existing == nil {
			return "", "", err // created and gone in the same moment: the next look sees
		}
		return w.try(ctx, free, existing)
	}
	w.mark.Put(want, existing)
	want = w.controllers.Still(want, existing)
	w.relate.Learn(existing)
	if same(want, existing) {
		return outcome.Unchanged, "", nil
	}
	return w.change(ctx, want, existing)
}

// change applies the object over what is there, unless somebody has changed it there.
func (w *writer) change(ctx context.Context, want, existing *unstructured.Unstructured) (outcome.Action, string, error) {
	policy := w.policy(want)
	if policy == "target" && decide.Edited(existing) {
		return outcome.Skip, string(decide.Changed), nil
	}
	if w.DryRun {
		return outcome.Update, "", nil
	}
	if ignored(want, existing) {
		return w.replace(ctx, want, existing, policy)
	}
	written, err := w.to.Write(ctx, want, existing, policy == "source")
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

// sameContent reports whether two versions of an object differ in nothing but what the API server notes about writes.
func sameContent(a, b *unstructured.Unstructured) bool {
	a, b = a.DeepCopy(), b.DeepCopy()
	for _, obj := range []*unstructured.Unstructured{a, b} {
		obj.SetManagedFields(nil)
		obj.SetResourceVersion("")
	}
	return field.Equal(a.Object, b.Object)
}

// kept notes, once for each kind, that the other cluster makes something else of objects than is written.
func (w *writer) kept(want, written *unstructured.Unstructured) {
	kind := want.GroupVersionKind().GroupKind().String()
	w.lock.Lock()
	known := w.changed[kind]
	w.changed[kind] = true
	w.lock.Unlock()
	if !known {
		w.tally.Note("%s is not kept as it is written: the other cluster makes something else of it, by a webhook perhaps; there may be more of its kind", ident.Of(want))
	}
}

// policy says who wins where somebody has changed a copied object of a kind.
func (c *copier) policy(obj *unstructured.Unstructured) string {
	if policy := c.Conflicts[obj.GroupVersionKind().GroupKind().String()]; policy != "" {
		return policy
	}
	return c.Conflicts[obj.GetKind()]
}

// keepScale leaves replicas alone that an autoscaler in the other cluster has set since they were copied.
func keepScale(want, existing *unstructured.Unstructured) {
	existing = withhold.Released(existing)
	for m := range kube.Managers(existing) {
		if m.Subresource != "scale" {
			continue
		}
		if n, found, _ := unstructured.NestedInt64(existing.Object, "spec", "replicas"); found {
			_ = unstructured.SetNestedField(want.Object, n, "spec", "replicas") // spec is there, as the kind can be scaled
		}
	}
}

// servedWithin bounds how long the other cluster may take to serve a kind that was defined.
const servedWithin = 30 * time.Second

// established waits until a kind that was defined is served, in every version that its definition says.
func (w *writer) established(ctx context.Context, obj *unstructured.Unstructured) error {
	if !definition.Is(obj) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, servedWithin)
	defer cancel()
	if err := w.to.AwaitServed(ctx, obj); err != nil {
		return err
	}
	for _, kind := range definition.Served(obj) {
		if err := w.serves(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

// serves waits until the other cluster serves a kind in a version.
func (w *writer) serves(ctx context.Context, kind schema.GroupVersionKind) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := w.to.Namespaced(kind)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// same reports whether writing want over existing would change nothing: what was written last was want, and all of it is
// still there. When in doubt it is false.
func same(want, existing *unstructured.Unstructured) bool {
	if want.GetLabels()[kube.CopiedLabel] != kube.Copied(existing) || withhold.Held(want) != withhold.Held(existing) {
		return false
	}
	if !bodyWithin(want, existing) && !bodyWithin(want, clean.Object(existing)) { // the other cluster may have put something beside it
		return false
	}
	if !field.Within(anyMap(want.GetLabels()), anyMap(existing.GetLabels())) || !field.Within(anyMap(want.GetAnnotations()), anyMap(existing.GetAnnotations())) {
		return false
	}
	theirs := existing.GetOwnerReferences()
	return !slices.ContainsFunc(want.GetOwnerReferences(), func(ref metav1.OwnerReference) bool {
		return !slices.ContainsFunc(theirs, func(r metav1.OwnerReference) bool { return r.UID == ref.UID })
	})
}

// bodyWithin reports whether all of an object but its metadata is contained in another.
func bodyWithin(want, in *unstructured.Unstructured) bool {
	for key, value := range want.Object {
		if key != "metadata" && !field.Within(value, in.Object[key]) {
			return false
		}
	}
	return true
}

func anyMap(texts map[string]string) any {
	m := make(map[string]any, len(texts))
	for key, value := range texts {
		m[key] = value
	}
	return m
}
