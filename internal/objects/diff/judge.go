package diff

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/apierror"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/clean"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/objects/model"
)

// compared is an object that is in both clusters, while it is compared.
type compared struct {
	*comparer
	kind     kind
	want     model.Wanted
	existing *unstructured.Unstructured
	managed  managed // of existing
	current  bool    // the copy is what it would be now
}

// fields lists the fields in which existing is not as it is wanted, and why.
func (c *comparer) fields(ctx context.Context, k kind, want model.Wanted, existing *unstructured.Unstructured) (fields []Field, more int, cause Cause, err error) {
	changes := compare(want.Object.Object, normal(existing))
	if len(changes) == 0 {
		return nil, 0, "", nil
	}
	o := &compared{comparer: c, kind: k, want: want, existing: existing, managed: managersOf(existing), current: c.model.Current(want, existing)}
	for _, ch := range changes {
		harmless, err := o.harmless(ctx, ch)
		if err != nil {
			return nil, 0, "", err
		}
		if harmless {
			continue
		}
		f := o.field(ch)
		cause = o.cause(cause, ch, f)
		if len(fields) < maxFields {
			fields = append(fields, f)
		} else {
			more++
		}
	}
	return fields, more, cause, nil
}

// cause is that of the object, given the one so far and one more field. A change in the other cluster comes first: a copy does not undo it.
func (o *compared) cause(sofar Cause, ch change, f Field) Cause {
	_, people := o.managed.others(ch.path)
	switch {
	case !o.want.Copied:
		return Differs
	case sofar == Changed, len(people) > 0, o.current && !f.Secret: // whether a Secret's value is current is not known
		return Changed
	}
	return Behind
}

// field is what is told of a field.
func (o *compared) field(ch change) Field {
	by, _ := o.managed.others(ch.path)
	f := Field{Path: ch.path.String(), Secret: isSecret(o.existing, ch.path), By: by}
	if !f.Secret {
		f.From, f.To = show(ch.want, ch.have)
	}
	return f
}

// isSecret reports whether a field's value must not be shown.
func isSecret(obj *unstructured.Unstructured, p path) bool {
	return obj.GroupVersionKind().GroupKind().String() == "Secret" && p[0].key == "data"
}

// normal is an object of the other cluster without what belongs to that cluster, as the wanted one is without that of the first.
func normal(existing *unstructured.Unstructured) map[string]any {
	obj := clean.Object(existing)
	if owners := field.List(existing, "metadata", "ownerReferences"); len(owners) > 0 {
		_ = unstructured.SetNestedSlice(obj.Object, owners, "metadata", "ownerReferences") // metadata is a map
	}
	return obj.Object
}

// harmless reports whether a field is no difference after all: it is as it is wanted, and was cleaned away only because nobody chose it
// in the other cluster; or only the other cluster's object has it, as a default of its API, or because its controllers have written
// it. A field that may as well be gone from the original since is judged by what the APIs publish.
func (o *compared) harmless(ctx context.Context, ch change) (bool, error) {
	if ch.want != nil {
		return field.Equal(ch.want, ch.path.at(o.existing.Object)), nil
	}
	writers := o.managed.of(ch.path)
	_, people := o.managed.others(ch.path)
	created := manager.Origin(o.existing) == manager.OriginCreated
	switch {
	case created && len(people) > 0: // who writes to what a copy has made edits it
		return false, nil
	case len(o.managed) > 0 && len(people) == 0 && (o.current || !slices.Contains(writers, manager.Crossfade)):
		return true, nil
	}
	return o.byDefault(ctx, ch)
}

// byDefault reports whether a field of the other cluster is none of the first one's API, or has the default of the other one's.
func (o *compared) byDefault(ctx context.Context, ch change) (bool, error) {
	steps := ch.path.schema()
	ours, err := o.ours.Field(ctx, o.kind.gvk(), steps)
	if err != nil || !ours.Known {
		return err == nil, stopping(err)
	}
	for n := len(steps); n > 0; n-- { // a default may be that of a map that the field is in
		theirs, err := o.theirs.Field(ctx, o.kind.gvk(), steps[:n])
		if err != nil {
			return false, stopping(err)
		}
		if theirs.Default != nil && field.Equal(ch.path[n:].at(theirs.Default), ch.have) {
			return true, nil
		}
	}
	return false, nil
}

// stopping is an error because of which nothing can be said at all; nil for one that leaves a doubt about a field.
func stopping(err error) error {
	if apierror.Unreachable(err) {
		return err
	}
	return nil
}
