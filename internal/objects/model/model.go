// Package model says what a copy would write, without writing it.
package model

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/objects/gather"
	"github.com/crossfade-dev/crossfade/internal/objects/relate"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
	"github.com/crossfade-dev/crossfade/internal/objects/stamp"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
	"github.com/crossfade-dev/crossfade/internal/objects/write"
)

// Model says what a copy from one cluster to another would write, for comparing it with what is there. It only reads, and may be
// used by many goroutines.
type Model struct {
	from   *kube.Cluster
	rules  decide.Rules
	mark   stamp.Mark
	decide *decide.Decider
	there  *decide.Decider // decides about objects of the other cluster
	writer *write.Writer
	active bool // nothing is withheld in the other cluster
	hidden bool // whether it is active may not be known
}

// New makes a model of the copy that the rules ask for, of kinds that the first cluster serves. An error is one of reading the clusters.
func New(ctx context.Context, from, to *kube.Cluster, rules decide.Rules, kinds []kube.Resource) (*Model, error) {
	mark, err := stamp.Of(ctx, from)
	if err != nil {
		return nil, err
	}
	m := &Model{
		from: from, rules: rules, mark: mark, decide: decide.New(rules, decide.OwnersIn(from)),
		writer: &write.Writer{From: from, To: to, Relate: relate.New(to, rules.References, relate.Remembered), DryRun: true},
	}
	m.there = m.decide.In(decide.OwnersIn(to))
	m.active, err = withhold.Active(ctx, to)
	if m.hidden = apierrors.IsForbidden(err); err != nil && !m.hidden {
		return nil, err
	}
	kinds = slices.DeleteFunc(slices.Clone(kinds), func(r kube.Resource) bool { return !m.MayCopy(r) })
	impatient := retry.New(from, to, 0, nil)
	return m, gather.New(from, rules, m.decide, impatient).Gather(ctx, kinds)
}

// MayCopy reports whether any object of a kind is copied.
func (m *Model) MayCopy(resource kube.Resource) bool { return m.decide.MayCopy(resource) }

// Skips says why an object of the first cluster is not copied; decide.None when it is.
func (m *Model) Skips(ctx context.Context, resource kube.Resource, obj *unstructured.Unstructured) (decide.Reason, error) {
	return m.decide.Object(ctx, resource, obj)
}

// Asks reports whether the rules ask for an object, which does not mean that it is copied.
func (m *Model) Asks(resource kube.Resource, obj *unstructured.Unstructured) bool {
	return m.decide.Asked(resource, obj)
}

// Keeps says why existing stays as it is although obj, its peer in the first cluster, is copied; decide.None when it does not.
func (m *Model) Keeps(resource kube.Resource, obj, existing *unstructured.Unstructured) decide.Reason {
	reason := m.decide.Keep(resource, obj, existing)
	if reason == decide.None && m.rules.Policy(obj) == "target" && decide.Edited(existing) {
		return decide.Changed
	}
	return reason
}

// SkipsThere says why an object of the other cluster is none that a copy could have made; decide.None when it is one.
func (m *Model) SkipsThere(ctx context.Context, resource kube.Resource, obj *unstructured.Unstructured) (decide.Reason, error) {
	return m.there.Object(ctx, resource, obj)
}

// Made reports whether a copy from the first cluster made an object of the other, as opposed to having found it there.
func (m *Model) Made(theirs *unstructured.Unstructured) bool { return m.mark.Made(theirs) }

// Wanted is an object as a copy would write it over one that is there.
type Wanted struct {
	Object   *unstructured.Unstructured // but for its labels about the copy
	Scaled   bool                       // its replicas are those that an autoscaler has set in the other cluster
	Copied   bool                       // what is there was written by a copy from the first cluster, whoever had made it
	Unwanted bool                       // what is there was not copied, and acts on the world outside although the other cluster is not active

	plain, scaled *unstructured.Unstructured // with nothing withheld, and the replicas of the first cluster and of the other
}

// Want is obj as a copy would write it over existing. Owners that are not there are left out.
func (m *Model) Want(ctx context.Context, obj, existing *unstructured.Unstructured) (Wanted, error) {
	plain, _, err := m.writer.Prepare(ctx, obj, false)
	if err != nil {
		return Wanted{}, err
	}
	scaled := plain.DeepCopy()
	write.KeepScale(scaled, existing)
	want := Wanted{Object: scaled, plain: plain, scaled: scaled}
	want.Scaled = !field.Equal(field.Map(plain, "spec")["replicas"], field.Map(scaled, "spec")["replicas"])
	_, want.Copied = m.mark.Written(existing)
	if m.active {
		return want, nil
	}
	held, err := withhold.Hold(ctx, scaled, m.from.Find)
	if err != nil {
		return Wanted{}, err
	}
	if want.Copied && !m.hidden || withhold.Held(existing) {
		want.Object = held
	} else {
		want.Unwanted = held != scaled
	}
	return want, nil
}

// Current reports whether what a copy has written to existing is what it would write now, values of Secrets aside.
func (m *Model) Current(want Wanted, existing *unstructured.Unstructured) bool {
	written, copied := m.mark.Written(existing)
	return copied && (stamp.Digest(want.plain, existing) == written || stamp.Digest(want.scaled, existing) == written)
}
