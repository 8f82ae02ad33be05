package write

import (
	"context"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/definition"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// precious kinds are never deleted to be made again: data, or other objects, would go with them.
var precious = []string{
	"Namespace", "PersistentVolumeClaim", "PersistentVolume", "CustomResourceDefinition.apiextensions.k8s.io", "Node",
}

// immutableWords are how the API says that a field cannot be changed, in its own validation and in rules of definitions.
var immutableWords = []string{
	"immutable", "cannot change roleRef", "updates to", "may not be changed", "may not change", "cannot be changed", "must not be changed", "must not change",
	"cannot be modified", "may not be modified", "oldSelf",
}

// immutable reports whether an error is about a field that cannot be changed.
func immutable(err error) bool {
	return apierrors.IsInvalid(err) && slices.ContainsFunc(immutableWords, func(words string) bool { return strings.Contains(err.Error(), words) })
}

// ignored reports whether the API server would take a change of an object without a word, and not make it: a Service stays headless,
// or not.
func ignored(want, existing *unstructured.Unstructured) bool {
	headless := func(obj *unstructured.Unstructured) bool { return field.String(obj, "spec", "clusterIP") == "None" }
	return want.GroupVersionKind().GroupKind().String() == "Service" && headless(want) != headless(existing)
}

// replace makes an object again, unless that would undo what somebody has changed in it.
func (w *Writer) replace(ctx context.Context, want, existing *unstructured.Unstructured, policy string) (outcome.Action, string, error) {
	if policy != "source" && decide.Edited(existing) {
		return outcome.Conflict, "a field that cannot be changed differs, and it was changed here since it was copied", nil
	}
	return outcome.Update, "deleted and created again", w.recreate(ctx, want, existing)
}

// goneWithin bounds how long an object that is deleted to be made again may take to go.
const goneWithin = 30 * time.Second

// recreate deletes an object whose change cannot be written, and makes it again. What it owns stays: the new one adopts it. Pods
// of a selector that has changed cannot be adopted and go with it; claims stay in any case. Only what Crossfade has created is
// ever deleted. Cut off anywhere, the next copy goes on: the object is there with its old fields, or it is not.
func (w *Writer) recreate(ctx context.Context, want, existing *unstructured.Unstructured) error {
	switch {
	case slices.Contains(precious, want.GroupVersionKind().GroupKind().String()):
		return fault.New(fault.Failed, "%s differs in a field that cannot be changed, and is never deleted to be made again", ident.Of(want)).
			WithHint("bring the field in line by hand, or leave the object out with copy.exclude")
	case manager.Origin(existing) != manager.OriginCreated:
		return fault.New(fault.Failed, "%s differs in a field that cannot be changed, and was not made by Crossfade", ident.Of(want)).
			WithHint("delete it in the other cluster, or leave it out with copy.exclude")
	}
	remove := w.To.DeleteAlone
	if !field.Equal(field.Map(want, "spec", "selector"), field.Map(existing, "spec", "selector")) {
		if err := w.keepClaims(ctx, existing); err != nil {
			return err
		}
		remove = w.To.Delete
	}
	if err := remove(ctx, existing); err != nil {
		return err
	}
	w.Relate.Forget(existing)
	if err := w.goes(ctx, existing); err != nil {
		return err
	}
	w.Mark.Put(want, nil)
	created, err := w.To.Create(ctx, want)
	if err != nil {
		return err
	}
	if created == nil {
		return fault.New(fault.Unavailable, "%s was made by somebody else while it was made again", ident.Of(want))
	}
	w.Relate.Learn(created)
	return nil
}

// leaves returns when an object of the other cluster that is being deleted is out of the way of one that shall be made there. What
// others are in is waited for, as nothing can be made in it; anything else is to be tried again.
func (w *writing) leaves(ctx context.Context, existing *unstructured.Unstructured) error {
	holds := definition.Is(existing) || existing.GroupVersionKind().GroupKind().String() == "Namespace"
	switch {
	case w.DryRun:
		return nil
	case holds && w.first:
		w.Progress("waiting until %s is gone, which is being deleted", ident.Of(existing))
		return w.goes(ctx, existing)
	}
	return fault.New(fault.Unavailable, "%s is being deleted in the other cluster, with finalizers %v", ident.Of(existing), existing.GetFinalizers()).
		WithHint("copy again when it is gone; the controllers that its finalizers name let it go")
}

// goes waits until an object that was deleted is gone.
func (w *Writer) goes(ctx context.Context, obj *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, goneWithin)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := w.To.Get(ctx, obj)
		if err == nil && (now == nil || now.GetUID() != obj.GetUID()) {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Failed, "%s is being deleted in the other cluster, and still there after %s, with finalizers %v", ident.Of(obj), goneWithin, obj.GetFinalizers()).
				WithHint("see why the controllers that its finalizers name do not let it go")
		case <-tick.C:
		}
	}
}

var claims = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}

// keepClaims has a StatefulSet let go of the claims that would be deleted with it.
func (w *Writer) keepClaims(ctx context.Context, existing *unstructured.Unstructured) error {
	if field.String(existing, "spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted") != "Delete" {
		return nil
	}
	if _, err := w.To.Patch(ctx, existing, []byte(`{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain"}}}`)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, goneWithin)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		held, err := w.ownsClaims(ctx, existing)
		if err != nil && ctx.Err() == nil || err == nil && !held {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Failed, "%s still owns its claims %s after it was told to keep them", ident.Of(existing), goneWithin)
		case <-tick.C:
		}
	}
}

func (w *Writer) ownsClaims(ctx context.Context, set *unstructured.Unstructured) (bool, error) {
	for claim, err := range w.To.List(ctx, claims, kube.Query{Namespace: set.GetNamespace()}) {
		if err != nil {
			return false, err
		}
		for _, ref := range claim.GetOwnerReferences() {
			if ref.UID == set.GetUID() {
				return true, nil
			}
		}
	}
	return false, nil
}
