package diff

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/model"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
)

// Reasons of exceptions that come of what a copy is.
const (
	withheld  = "withheld until the switch"
	handed    = "withheld in the first cluster"
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
// looked at once more, as the lists are not read at one moment, and as a peer may be missed in a list that is doubtful.
func (w *walk) judge(ctx context.Context, obj, existing *unstructured.Unstructured, doubtful bool) error {
	v, err := w.look(ctx, w.kind, obj, existing)
	if err == nil && v.difference != nil && w.kind.from && w.kind.to && (doubtful || w.again.Add(1) <= lookedAtAgain) {
		if obj, existing, err = w.readAgain(ctx, obj, existing); err == nil {
			v, err = w.look(ctx, w.kind, obj, existing)
		}
	}
	if err != nil {
		return err
	}
	w.found.with(func(r *Report) {
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

// readAgain reads both objects as they are now.
func (c *comparer) readAgain(ctx context.Context, obj, existing *unstructured.Unstructured) (ours, theirs *unstructured.Unstructured, err error) {
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
	switch {
	case err != nil:
		return verdict{}, in(c.from, err)
	case skipped != decide.None && skipped != decide.Excluded && !c.model.Asks(k.resource, obj):
		return verdict{}, nil
	case skipped != decide.None:
		return verdict{skipped: skipped}, nil
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
	if manager.Copied(existing) != "" {
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
	case decide.Theirs, decide.Changed:
		v.exceptions = append(v.exceptions, Exception{Object: ident.Of(obj), Reason: string(reason), Fields: fields, More: more})
	default:
		return verdict{skipped: reason}, nil
	}
	return v, nil
}

// meant are the exceptions that come of what a copy is, for an object that is in both clusters.
func meant(obj, existing *unstructured.Unstructured, want model.Wanted) []Exception {
	var all []Exception
	add := func(reason string) { all = append(all, Exception{Object: ident.Of(obj), Reason: reason}) }
	here, there := withhold.Held(obj), withhold.Held(existing)
	switch {
	case there && !here:
		add(withheld)
	case here && !there:
		add(handed)
	case want.Unwanted && !here:
		add(atWork)
	}
	if want.Scaled {
		add(autoscale)
	}
	return all
}
