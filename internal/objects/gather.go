package objects

import (
	"context"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/refer"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
)

// gather looks, when only some objects are selected, for what those refer to: their namespaces and definitions are copied with them, everything
// else where the rules ask for it. What is left outside is kept, to be looked for in the other cluster at the end.
func (c *copier) gather(ctx context.Context, resources []kube.Resource) error {
	if len(c.Include)+len(c.Only) == 0 {
		return nil
	}
	kinds := map[string]kube.Resource{}
	for _, r := range resources {
		kinds[r.GroupKind().String()] = r
	}
	g := &gatherer{copier: c, kinds: kinds, seen: map[string]bool{}}
	for _, r := range resources {
		if err := c.patience.Insist(ctx, func() error { return g.kind(ctx, r) }); err != nil && c.patience.Ends(ctx, err) {
			return err
		} // a kind that cannot be read is reported when its turn comes
	}
	return c.patience.Insist(ctx, func() error { return g.close(ctx) })
}

// gatherer follows references from the selected objects outwards.
type gatherer struct {
	*copier
	kinds map[string]kube.Resource
	seen  map[string]bool
	open  []outward
}

// outward is a reference, and who refers.
type outward struct {
	refer.Ref
	by string
}

// kind finds what the selected objects of a kind refer to.
func (g *gatherer) kind(ctx context.Context, r kube.Resource) error {
	for obj, err := range g.from.List(ctx, r.GroupVersionResource, kube.Query{}) {
		if err != nil {
			return err
		}
		reason, err := g.decide.Object(ctx, r, obj)
		if retry.Passes(err) {
			return err
		}
		if err == nil && reason == decide.None {
			g.follow(r, obj)
		}
	}
	return nil
}

func (g *gatherer) follow(r kube.Resource, obj *unstructured.Unstructured) {
	for _, ref := range refer.Of(r, obj) {
		if name := ref.String(); !g.seen[name] {
			g.seen[name] = true
			g.open = append(g.open, outward{Ref: ref, by: ident.Of(obj)})
		}
	}
}

// close decides about every reference, and about those of what comes in through them. It may be called again after an error.
func (g *gatherer) close(ctx context.Context) error {
	for len(g.open) > 0 {
		if err := g.settle(ctx, g.open[0]); err != nil {
			return err
		}
		g.open = g.open[1:]
	}
	return nil
}

func (g *gatherer) settle(ctx context.Context, ref outward) error {
	resource, known := g.kinds[ref.Kind.String()]
	if !known {
		return nil
	}
	obj, err := g.from.Find(ctx, ref.Kind, ref.Namespace, ref.Name)
	if err == nil && obj == nil {
		return nil // it is missing in its own cluster, too
	}
	reason := decide.None
	if err == nil {
		reason, err = g.decide.Object(ctx, resource, obj)
	}
	switch {
	case retry.Passes(err):
		return err
	case err != nil: // who may not read it cannot copy it
		g.outside(ref)
	case reason == decide.None:
	case reason == decide.Unselected && (g.WithReferences || ref.Needed()):
		g.decide.Add(obj)
		g.follow(resource, obj)
	default:
		g.outside(ref)
	}
	return nil
}

// outside remembers a reference to something that is not copied.
func (g *gatherer) outside(ref outward) {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.left[ref.Ref] = ref.by
}

// missing reports what copied objects refer to and the other cluster does not have.
func (c *copier) missing(ctx context.Context) error {
	refs := slices.SortedFunc(maps.Keys(c.left), func(a, b refer.Ref) int { return strings.Compare(a.String(), b.String()) })
	for _, ref := range refs {
		found, err := c.to.Find(ctx, ref.Kind, ref.Namespace, ref.Name)
		if retry.Passes(err) {
			return err
		}
		if err != nil {
			c.tally.Missing("%s perhaps, which %s refers to: %v", ref, c.left[ref], err)
			continue
		}
		if found == nil {
			c.tally.Missing("%s, which %s refers to", ref, c.left[ref])
		}
	}
	return nil
}
