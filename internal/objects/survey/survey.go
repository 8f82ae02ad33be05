// Package survey finds out which kinds of a cluster can be copied to another, and says why the others cannot.
package survey

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/definition"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/pair"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
)

// Surveyor looks at two clusters before anything is copied.
type Surveyor struct {
	From, To *kube.Cluster
	Decide   *decide.Decider
	Tally    *outcome.Tally // counts what cannot be copied
	Progress cluster.Progress
}

// Kinds finds out what can be copied at all, before anything is written: the kinds of the first cluster, without those of which no
// object is copied. Objects of kinds that the other cluster does not serve, and that no definition among the copied ones
// brings, are reported here and now.
func (s *Surveyor) Kinds(ctx context.Context) ([]kube.Resource, error) {
	ours, missing, err := s.From.Resources(ctx)
	if err != nil {
		return nil, err
	}
	theirs, _, err := s.To.Resources(ctx)
	if err != nil {
		return nil, err
	}
	for _, group := range missing {
		s.Tally.NotServed("%s of the first cluster, whose own API server does not answer", group)
	}
	brought, err := s.definitions(ctx, ours, theirs)
	if err != nil {
		return nil, err
	}
	var copied []kube.Resource
	for _, r := range ours {
		if s.Decide.Kind(r) != decide.None || !s.Decide.AskedKind(r) {
			continue // nobody wants to read how many events were not copied
		}
		if _, ok := pair.Version(r, theirs); ok || slices.Contains(brought, r.GroupResource()) {
			copied = append(copied, r)
			continue
		}
		if err := s.unserved(ctx, r, theirs); err != nil {
			return nil, err
		}
	}
	return copied, nil
}

// definitions are the resources that definitions bring which will be copied: that the other cluster does not serve, or in other
// versions because an earlier copy brought them before they changed.
func (s *Surveyor) definitions(ctx context.Context, ours, theirs []kube.Resource) ([]schema.GroupResource, error) {
	i := slices.IndexFunc(ours, func(r kube.Resource) bool { return r.GroupKind() == definition.Kind })
	if i < 0 {
		return nil, nil
	}
	resource := ours[i]
	if version, ok := pair.Version(resource, theirs); ok {
		resource.Version = version
	}
	var brought []schema.GroupResource
	for obj, err := range s.From.List(ctx, resource.GroupVersionResource, kube.Query{}) {
		if err != nil {
			return nil, nil //nolint:nilerr // one who may not read definitions copies none; their kind is reported in its turn
		}
		reason, err := s.Decide.Object(ctx, resource, obj)
		if retry.Passes(err) {
			return nil, err
		}
		if err != nil || reason != decide.None && reason != decide.Unselected { // one that selected objects need is selected with them
			continue // what cannot be decided is reported when its turn comes
		}
		comes, err := s.comes(ctx, resource, obj, ours, theirs)
		if err != nil {
			return nil, err
		}
		if comes {
			brought = append(brought, definition.Resource(obj))
		}
	}
	return brought, nil
}

// comes reports whether copying a definition changes how the other cluster serves its kind.
func (s *Surveyor) comes(ctx context.Context, resource kube.Resource, crd *unstructured.Unstructured, ours, theirs []kube.Resource) (bool, error) {
	at := func(all []kube.Resource) int {
		return slices.IndexFunc(all, func(r kube.Resource) bool { return r.GroupResource() == definition.Resource(crd) })
	}
	here, there := at(ours), at(theirs)
	if here < 0 || there < 0 {
		return there < 0, nil
	}
	if _, common := pair.Version(ours[here], theirs); common {
		return false, nil
	}
	existing, err := s.To.Get(ctx, crd)
	if err != nil {
		return false, err
	}
	return s.Decide.Keep(resource, crd, existing) == decide.None, nil
}

// unserved reports the objects of a kind that the other cluster does not serve, or in none of the versions of this one, and that would be
// copied.
func (s *Surveyor) unserved(ctx context.Context, r kube.Resource, theirs []kube.Resource) error {
	reason := WhyUnserved(r, theirs)
	lost := false
	for obj, err := range s.From.List(ctx, r.GroupVersionResource, kube.Query{}) {
		if err != nil {
			return s.unreadable(r, err)
		}
		why, err := s.Decide.Object(ctx, r, obj)
		if retry.Passes(err) {
			return err
		}
		if err != nil {
			s.Tally.Fail(obj, err)
			continue
		}
		if why != decide.None {
			s.Tally.Skip(obj, why)
			continue
		}
		lost = true
		s.Tally.Add(obj, outcome.Fail, reason)
	}
	if lost {
		s.Tally.NotServed("%s", r.GroupResource())
		s.Progress("%s cannot be copied: %s", r.GroupResource(), reason)
	}
	return nil
}

// WhyUnserved says why the objects of a kind cannot be copied to a cluster that does not serve it, or not in a version of theirs, and what
// to do about it.
func WhyUnserved(r kube.Resource, theirs []kube.Resource) string {
	i := slices.IndexFunc(theirs, func(t kube.Resource) bool { return t.GroupResource() == r.GroupResource() })
	if i < 0 {
		return "the other cluster does not serve its kind: install there what defines it, or leave it out with copy.exclude"
	}
	return "the other cluster serves its kind in " + list(theirs[i].Versions) + " only, and this one in " + list(r.Versions) +
		": convert the objects, or serve one version in both"
}

// unreadable counts a kind that cannot be listed, and returns what may pass.
func (s *Surveyor) unreadable(r kube.Resource, err error) error {
	if retry.Passes(err) {
		return err
	}
	s.Tally.FailKind(r, err)
	return nil
}

func list(versions []string) string {
	text := ""
	for i, v := range versions {
		switch {
		case i == 0:
		case i == len(versions)-1:
			text += " and "
		default:
			text += ", "
		}
		text += v
	}
	return text
}
