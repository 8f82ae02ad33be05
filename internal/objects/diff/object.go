package diff

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/clean"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
)

// Reasons of exceptions that come of what a copy is.
const (
	withheld  = "withheld until the switch"
	handed    = "withheld in the first cluster since the switch"
	atWork    = "withheld in neither cluster"
	autoscale = "scaled in the other cluster since it was copied"
)

// verdict is what came of one object: at most one of its fields is set besides the exceptions. Of one that is none of the comparison's
// business, none is.
type verdict struct {
	skipped    decide.Reason // it is not copied
	same       bool
	difference *Difference
	exceptions []Exception
}

// judge compares an object of the first cluster with that of the other. Either may be nil, and neither is modified. What is not the same is
// looked at once more, as lists are not read at one moment.
func (c *comparer) judge(ctx context.Context, k kind, obj, existing *unstructured.Unstructured, found *collector) error {
	v, err := c.look(ctx, k, obj, existing)
	if err == nil && v.difference != nil && k.from && k.to {
		if obj, existing, err = c.again(ctx, obj, existing); err == nil {
			v, err = c.look(ctx, k, obj, existing)
		}
	}
	if err != nil {
		return err
	}
	found.with(func(r *Report) {
		if v.skipped != decide.None {
			r.NotCopied[string(v.skipped)]++
		}
		if v.same || v.difference != nil || len(v.exceptions) > 0 {
			r.Compared++
		}
		if v.difference != nil {
			r.add(*v.difference)
		}
		r.Exceptions = append(r.Exceptions, v.exceptions...)
	})
	return nil
}

// again reads both objects as they are now.
func (c *comparer) again(ctx context.Context, obj, existing *unstructured.Unstructured) (ours, theirs *unstructured.Unstructured, err error) {
	ref := obj
	if ref == nil {
		ref = existing
	}
	if ours, err = c.from.Get(ctx, ref); err != nil {
		return nil, nil, in(c.from, err)
	}
	theirs, err = c.to.Get(ctx, ref)
	return ours, theirs, in(c.to, err)
}

func (c *comparer) look(ctx context.Context, k kind, obj, existing *unstructured.Unstructured) (verdict, error) {
	switch {
	case obj == nil && existing == nil:
		return verdict{}, nil
	case obj == nil:
		return c.alone(ctx, k, existing)
	}
	skipped, err := c.model.Skips(ctx, k.resource, obj)
	if err != nil || skipped != decide.None {
		return verdict{skipped: skipped}, in(c.from, err)
	}
	switch {
	case !k.to:
		return different(obj, Difference{Cause: Unserved, Reason: k.reason}), nil
	case existing == nil:
		return different(obj, Difference{Cause: Missing}), nil
	case existing.GetDeletionTimestamp() != nil:
		return different(obj, Difference{Cause: Missing, Reason: "it is being deleted there"}), nil
	}
	return c.both(ctx, k, obj, existing)
}

func different(obj *unstructured.Unstructured, d Difference) verdict {
	d.Object = ident.Of(obj)
	return verdict{difference: &d}
}

// alone judges an object that is only in the other cluster.
func (c *comparer) alone(ctx context.Context, k kind, existing *unstructured.Unstructured) (verdict, error) {
	skipped, err := c.model.SkipsThere(ctx, k.resource, existing)
	switch {
	case err != nil:
		return verdict{}, in(c.to, err)
	case skipped != decide.None:
		return verdict{}, nil
	case c.model.Made(existing):
		return different(existing, Difference{Cause: Leftover}), nil
	case c.model.Keeps(k.resource, existing, existing) == decide.Theirs:
		return verdict{exceptions: []Exception{{Object: ident.Of(existing), Reason: string(decide.Theirs)}}}, nil
	}
	d := Difference{Cause: Extra, By: managersOf(existing).writers()}
	if existing.GetLabels()[kube.CopiedLabel] != "" {
		d.Reason = "its label says that it was copied"
	}
	return different(existing, d), nil
}

// both judges an object that is in both clusters.
func (c *comparer) both(ctx context.Context, k kind, obj, existing *unstructured.Unstructured) (verdict, error) {
	want, err := c.model.Want(ctx, obj, existing)
	if err != nil {
		return verdict{}, err
	}
	fields, more, cause, err := c.fields(ctx, k, want, existing)
	if err != nil {
		return verdict{}, err
	}
	v := verdict{same: len(fields) == 0, exceptions: meant(obj, existing, want)}
	if v.same {
		return v, nil
	}
	switch reason := c.model.Keeps(k.resource, obj, existing); reason {
	case decide.None:
		v.difference = &Difference{Object: ident.Of(obj), Cause: cause, Fields: fields, More: more}
	case decide.Theirs, decide.Edited:
		v.exceptions = append(v.exceptions, Exception{Object: ident.Of(obj), Reason: string(reason), Fields: fields, More: more})
	default:
		return verdict{skipped: reason}, nil
	}
	return v, nil
}

// meant are the exceptions that come of what a copy is, for an object that is in both clusters.
func meant(obj, existing *unstructured.Unstructured, want objects.Wanted) []Exception {
	var all []Exception
	add := func(reason string) { all = append(all, Exception{Object: ident.Of(obj), Reason: reason}) }
	here, there := withhold.Held(obj), withhold.Held(existing)
	switch {
	case there && !here:
		add(withheld)
	case here && !there:
		add(handed)
	case !here && want.Copied && withhold.Hold(want.Object) != want.Object:
		add(atWork)
	}
	if want.Scaled {
		add(autoscale)
	}
	return all
}

// compared is an object that is in both clusters, while it is compared.
type compared struct {
	*comparer
	kind     kind
	want     objects.Wanted
	existing *unstructured.Unstructured
	managed  managed // of existing
	current  bool    // the copy is what it would be now
}

// fields lists the fields in which existing is not as it is wanted, and why.
func (c *comparer) fields(ctx context.Context, k kind, want objects.Wanted, existing *unstructured.Unstructured) (fields []Field, more int, cause Cause, err error) {
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
	created := o.existing.GetLabels()[kube.OriginLabel] == kube.OriginCreated
	switch {
	case created && len(people) > 0: // who writes to what a copy has made edits it
		return false, nil
	case len(o.managed) > 0 && len(people) == 0 && (o.current || !slices.Contains(writers, kube.FieldManager)):
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
	if kube.Unreachable(err) {
		return err
	}
	return nil
}
