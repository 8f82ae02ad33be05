// Package prune deletes what was copied into a cluster once and is gone from the one it came from.
package prune

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/definition"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
	"github.com/crossfade-dev/crossfade/internal/objects/stamp"
	"github.com/crossfade-dev/crossfade/internal/objects/write"
)

// atOnce is how many copies are deleted at once.
const atOnce = 24

// Pruner deletes copies whose originals are gone.
type Pruner struct {
	From, To *kube.Cluster
	Decide   *decide.Decider
	Mark     stamp.Mark // of From
	Writer   *write.Writer
	Tally    *outcome.Tally
}

// All deletes those of the copies whose originals are gone. Each is looked at again in both clusters first.
func (p *Pruner) All(ctx context.Context, copies []*unstructured.Unstructured) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, ref := range copies {
		group.Go(func() error {
			_, err := p.One(ctx, ref)
			return err
		})
	}
	return group.Wait()
}

// One deletes one copy if its original is gone, and nobody has changed it or put anything of his own into it since. What cannot be
// done about it is counted; an error is one that stops everything.
func (p *Pruner) One(ctx context.Context, ref *unstructured.Unstructured) (deleted bool, err error) {
	deleted, err = p.prune(ctx, ref)
	if err != nil && !retry.Stops(err) {
		p.Tally.Fail(ref, err)
		return false, nil
	}
	return deleted, err
}

func (p *Pruner) prune(ctx context.Context, ref *unstructured.Unstructured) (deleted bool, err error) {
	original, err := p.From.Find(ctx, ref.GroupVersionKind().GroupKind(), ref.GetNamespace(), ref.GetName())
	if err != nil || original != nil {
		return false, err
	}
	theirs, err := p.To.Get(ctx, ref)
	if err != nil || theirs == nil || !p.Mark.Made(theirs) || theirs.GetDeletionTimestamp() != nil {
		return false, err
	}
	if decide.Edited(theirs) {
		p.Tally.Add(theirs, outcome.Conflict, "its original is gone, and it was changed here since it was copied")
		return false, nil
	}
	guest, err := p.guest(ctx, theirs)
	if err != nil {
		return false, err
	}
	if guest != "" {
		p.Tally.Add(theirs, outcome.Conflict, fmt.Sprintf("its original is gone, and deleting it would delete %s", guest))
		return false, nil
	}
	if err := p.Writer.Delete(ctx, theirs); err != nil {
		return false, err
	}
	p.Tally.Add(theirs, outcome.Delete, "its original is gone")
	return true, nil
}

// guest names an object that would be deleted together with a namespace or a definition, and that somebody made in the other cluster or
// has changed there since it was copied, and says which; "" when there is none.
func (p *Pruner) guest(ctx context.Context, obj *unstructured.Unstructured) (string, error) {
	var inside func(kube.Resource) bool
	query := kube.Query{}
	switch {
	case definition.Is(obj):
		inside = func(r kube.Resource) bool { return r.GroupResource() == definition.Resource(obj) }
	case obj.GroupVersionKind().GroupKind().String() == "Namespace":
		inside = func(r kube.Resource) bool { return r.Namespaced }
		query.Namespace = obj.GetName()
	default:
		return "", nil
	}
	resources, _, err := p.To.Resources(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range resources {
		if !inside(r) || p.Decide.Kind(r) != decide.None {
			continue
		}
		for found, err := range p.To.List(ctx, r.GroupVersionResource, query) {
			if err != nil {
				return "", err
			}
			switch {
			case !decide.MadeBySomebody(r, found):
			case !p.Mark.Made(found):
				return ident.Of(found) + ", which was not copied", nil
			case decide.Edited(found):
				return ident.Of(found) + ", which was changed here since it was copied", nil
			}
		}
	}
	return "", nil
}
