// Package gather finds out what selected objects refer to: what has to be copied with them, and what they may lack in the other cluster.
package gather

import (
	"context"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/refer"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
)

// References are those of the selected objects of a cluster, followed outwards.
type References struct {
	from     *kube.Cluster
	rules    decide.Rules
	decide   *decide.Decider
	patience *retry.Patience

	kinds map[string]kube.Resource
	seen  map[string]bool
	open  []outward
	left  map[refer.Ref]string // what copied objects refer to and is not copied, and one that refers to it
}

// outward is a reference, and who refers.
type outward struct {
	refer.Ref
	by string
}

// New makes the references of the objects of a cluster that a decider selects by the rules. What comes in through them is added to it.
func New(from *kube.Cluster, rules decide.Rules, decider *decide.Decider, patience *retry.Patience) *References {
	return &References{
		from: from, rules: rules, decide: decider, patience: patience, kinds: map[string]kube.Resource{}, seen: map[string]bool{}, left: map[refer.Ref]string{},
	}
}

// Gather looks, when only some objects are selected, for what those refer to: their namespaces and definitions are copied with them, everything
// else where the rules ask for it. What is left outside is kept, to be looked for in the other cluster at the end.
func (g *References) Gather(ctx context.Context, resources []kube.Resource) error {
	if len(g.rules.Include)+len(g.rules.Only) == 0 {
		return nil
	}
	for _, r := range resources {
		g.kinds[r.GroupKind().String()] = r
	}
	for _, r := range resources {
		if err := g.patience.Insist(ctx, func() error { return g.kind(ctx, r) }); err != nil && g.patience.Ends(ctx, err) {
			return err
		} // a kind that cannot be read is reported when its turn comes
	}
	return g.patience.Insist(ctx, func() error { return g.close(ctx) })
}

// kind finds what the selected objects of a kind refer to.
func (g *References) kind(ctx context.Context, r kube.Resource) error {
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

func (g *References) follow(r kube.Resource, obj *unstructured.Unstructured) {
	for _, ref := range refer.Of(r, obj) {
		if name := ref.String(); !g.seen[name] {
			g.seen[name] = true
			g.open = append(g.open, outward{Ref: ref, by: ident.Of(obj)})
		}
	}
}

// close decides about every reference, and about those of what comes in through them. It may be called again after an error.
func (g *References) close(ctx context.Context) error {
	for len(g.open) > 0 {
		if err := g.settle(ctx, g.open[0]); err != nil {
			return err
		}
		g.open = g.open[1:]
	}
	return nil
}

func (g *References) settle(ctx context.Context, ref outward) error {
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
	case reason == decide.Unselected && (g.rules.WithReferences || ref.Needed()):
		g.decide.Add(obj)
		g.follow(resource, obj)
	default:
		g.outside(ref)
	}
	return nil
}

// outside remembers a reference to something that is not copied.
func (g *References) outside(ref outward) { g.left[ref.Ref] = ref.by }

// Missing remarks on what copied objects refer to and the cluster that they were copied to does not have.
func (g *References) Missing(ctx context.Context, to *kube.Cluster, tally *outcome.Tally) error {
	refs := slices.SortedFunc(maps.Keys(g.left), func(a, b refer.Ref) int { return strings.Compare(a.String(), b.String()) })
	for _, ref := range refs {
		found, err := to.Find(ctx, ref.Kind, ref.Namespace, ref.Name)
		if retry.Passes(err) {
			return err
		}
		if err != nil {
			tally.Missing("%s perhaps, which %s refers to: %v", ref, g.left[ref], err)
			continue
		}
		if found == nil {
			tally.Missing("%s, which %s refers to", ref, g.left[ref])
		}
	}
	return nil
}
