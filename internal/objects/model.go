package objects

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
)

// Model says what a copy would write, for comparing it with what is there. It only reads, and may be used by many goroutines.
type Model struct {
	copier *copier
	there  *decide.Decider // decides about objects of the other cluster
}

// NewModel makes a model of the copy from one cluster to another. An error is one of reading the first cluster.
func NewModel(ctx context.Context, from, to *kube.Cluster, rules decide.Rules) (*Model, error) {
	c, err := newCopier(ctx, from, to, Options{Rules: rules, Progress: func(string, ...any) {}})
	if err != nil {
		return nil, err
	}
	return &Model{copier: c, there: decide.New(rules, ownersIn(to))}, nil
}

// MayCopy reports whether any object of a kind is copied.
func (m *Model) MayCopy(resource kube.Resource) bool { return m.copier.decide.MayCopy(resource) }

// Skips says why an object of the first cluster is not written over existing, its peer or nil; decide.None when it is.
func (m *Model) Skips(ctx context.Context, resource kube.Resource, obj, existing *unstructured.Unstructured) (decide.Reason, error) {
	reason, err := m.copier.decide.Object(ctx, resource, obj)
	if err != nil || reason != decide.None {
		return reason, err
	}
	return m.copier.decide.Keep(resource, obj, existing), nil
}

// SkipsThere says why an object of the other cluster is none that a copy could have made; decide.None when it is one.
func (m *Model) SkipsThere(ctx context.Context, resource kube.Resource, obj *unstructured.Unstructured) (decide.Reason, error) {
	return m.there.Object(ctx, resource, obj)
}

// Made reports whether a copy from the first cluster made an object of the other, as opposed to having found it there.
func (m *Model) Made(theirs *unstructured.Unstructured) bool { return m.copier.isOurs(theirs) }

// Want is the object as a copy would write it over existing, but for its labels about the copy. Owners that are not there are
// left out. scaled tells that its replicas are those that an autoscaler has set in the other cluster.
func (m *Model) Want(ctx context.Context, obj, existing *unstructured.Unstructured) (want *unstructured.Unstructured, scaled bool, err error) {
	w := &writer{copier: m.copier, from: obj}
	want, _, err = w.prepare(ctx)
	if err != nil {
		return nil, false, err
	}
	replicas, _, _ := unstructured.NestedInt64(want.Object, "spec", "replicas")
	keepScale(want, existing)
	kept, _, _ := unstructured.NestedInt64(want.Object, "spec", "replicas")
	if existing != nil && withhold.Held(existing) {
		want, err = withhold.Hold(ctx, want, m.copier.from.Find)
	}
	return want, kept != replicas, err
}

// Copied reports whether existing was written by a copy from the first cluster, whoever made it, and whether any of the objects that
// are passed is what was written then. They are as Want made them.
func (m *Model) Copied(existing *unstructured.Unstructured, wanted ...*unstructured.Unstructured) (copied, same bool) {
	label, _ := strings.CutPrefix(kube.Copied(existing), takenOver)
	written, copied := strings.CutPrefix(label, m.copier.mark)
	if !copied {
		return false, false
	}
	for _, want := range wanted {
		form := want.DeepCopy()
		m.copier.stamp(form, existing)
		labels := form.GetLabels()
		delete(labels, kube.CopiedLabel)
		form.SetLabels(labels)
		same = same || digest(released(form)) == written
	}
	return true, same
}
