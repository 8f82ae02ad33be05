package objects

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/definition"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/pair"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
)

// survey finds out what can be copied at all, before anything is written: the kinds of the first cluster, without those of which no
// object is copied. Objects of kinds that the other cluster does not serve, and that no definition among the copied ones
// brings, are reported here and now.
func (c *copier) survey(ctx context.Context) ([]kube.Resource, error) {
	ours, missing, err := c.from.Resources(ctx)
	if err != nil {
		return nil, err
	}
	theirs, _, err := c.to.Resources(ctx)
	if err != nil {
		return nil, err
	}
	for _, group := range missing {
		c.tally.NotServed("%s of the first cluster, whose own API server does not answer", group)
	}
	brought, err := c.definitions(ctx, ours, theirs)
	if err != nil {
		return nil, err
	}
	var copied []kube.Resource
	for _, r := range ours {
		if c.decide.Kind(r) != decide.None || !c.decide.AskedKind(r) {
			continue // nobody wants to read how many events were not copied
		}
		if _, ok := pair.Version(r, theirs); ok || slices.Contains(brought, r.GroupResource()) {
			copied = append(copied, r)
			continue
		}
		if err := c.unserved(ctx, r, theirs); err != nil {
			return nil, err
		}
	}
	return copied, nil
}

// definitions are the resources that definitions bring which will be copied: that the other cluster does not serve, or in other
// versions because an earlier copy brought them before they changed.
func (c *copier) definitions(ctx context.Context, ours, theirs []kube.Resource) ([]schema.GroupResource, error) {
	i := slices.IndexFunc(ours, func(r kube.Resource) bool { return r.GroupKind() == definition.Kind })
	if i < 0 {
		return nil, nil
	}
	resource := ours[i]
	if version, ok := pair.Version(resource, theirs); ok {
		resource.Version = version
	}
	var brought []schema.GroupResource
	for obj, err := range c.from.List(ctx, resource.GroupVersionResource, kube.Query{}) {
		if err != nil {
			return nil, nil //nolint:nilerr // one who may not read definitions copies none; their kind is reported in its turn
		}
		reason, err := c.decide.Object(ctx, resource, obj)
		if retry.Passes(err) {
			return nil, err
		}
		if err != nil || reason != decide.None && reason != decide.Unselected { // one that selected objects need is selected with them
			continue // what cannot be decided is reported when its turn comes
		}
		comes, err := c.comes(ctx, resource, obj, ours, theirs)
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
func (c *copier) comes(ctx context.Context, resource kube.Resource, crd *unstructured.Unstructured, ours, theirs []kube.Resource) (bool, error) {
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
	existing, err := c.to.Get(ctx, crd)
	if err != nil {
		return false, err
	}
	return c.decide.Keep(resource, crd, existing) == decide.None, nil
}

// unserved reports the objects of a kind that the other cluster does not serve, or in none of the versions of this one, and that would be
// copied.
func (c *copier) unserved(ctx context.Context, r kube.Resource, theirs []kube.Resource) error {
	reason := WhyUnserved(r, theirs)
	lost := false
	for obj, err := range c.from.List(ctx, r.GroupVersionResource, kube.Query{}) {
		if err != nil {
			return c.unreadable(r, err)
		}
		why, err := c.decide.Object(ctx, r, obj)
		if retry.Passes(err) {
			return err
		}
		if err != nil {
			c.tally.Fail(obj, err)
			continue
		}
		if why != decide.None {
			c.tally.Skip(obj, why)
			continue
		}
		lost = true
		c.tally.Add(obj, outcome.Fail, reason)
	}
	if lost {
		c.tally.NotServed("%s", r.GroupResource())
		c.Progress("%s cannot be copied: %s", r.GroupResource(), reason)
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
func (c *copier) unreadable(r kube.Resource, err error) error {
	if retry.Passes(err) {
		return err
	}
	c.tally.FailKind(r, err)
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
