package objects

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/definition"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
)

var claims = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}

// prune deletes copies whose originals are gone. Each is looked at again in both clusters first.
func (c *copier) prune(ctx context.Context, gone []*unstructured.Unstructured) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writesAtOnce)
	for _, ref := range gone {
		group.Go(func() error {
			_, err := c.pruneOne(ctx, ref)
			return err
		})
	}
	return group.Wait()
}

// pruneOne deletes one copy if its original is gone, and nobody has changed it or put anything of his own into it since.
func (c *copier) pruneOne(ctx context.Context, ref *unstructured.Unstructured) (deleted bool, err error) {
	original, err := c.from.Find(ctx, ref.GroupVersionKind().GroupKind(), ref.GetNamespace(), ref.GetName())
	if err != nil || original != nil {
		return false, c.settled(ref, err)
	}
	theirs, err := c.to.Get(ctx, ref)
	if err != nil || theirs == nil || !c.mark.Made(theirs) || theirs.GetDeletionTimestamp() != nil {
		return false, c.settled(ref, err)
	}
	if decide.Edited(theirs) {
		c.tally.Add(theirs, outcome.Conflict, "its original is gone, and it was changed here since it was copied")
		return false, nil
	}
	guest, err := c.guest(ctx, theirs)
	if err != nil {
		return false, c.settled(ref, err)
	}
	if guest != "" {
		c.tally.Add(theirs, outcome.Conflict, fmt.Sprintf("its original is gone, and deleting it would delete %s", guest))
		return false, nil
	}
	if !c.DryRun {
		if err := c.to.Delete(ctx, theirs); err != nil {
			return false, c.settled(ref, err)
		}
		c.relate.Forget(theirs)
	}
	c.tally.Add(theirs, outcome.Delete, "its original is gone")
	return true, nil
}

// settled counts a failure about one object, and returns what stops everything.
func (c *copier) settled(obj *unstructured.Unstructured, err error) error {
	if err == nil || retry.Stops(err) {
		return err
	}
	c.tally.Fail(obj, err)
	return nil
}

// guest names an object that would be deleted together with a namespace or a definition, and that somebody made in the other cluster or
// has changed there since it was copied, and says which; "" when there is none.
func (c *copier) guest(ctx context.Context, obj *unstructured.Unstructured) (string, error) {
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
	resources, _, err := c.to.Resources(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range resources {
		if !inside(r) || c.decide.Kind(r) != decide.None {
			continue
		}
		for found, err := range c.to.List(ctx, r.GroupVersionResource, query) {
			if err != nil {
				return "", err
			}
			switch {
			case !decide.MadeBySomebody(r, found):
			case !c.mark.Made(found):
				return ident.Of(found) + ", which was not copied", nil
			case decide.Edited(found):
				return ident.Of(found) + ", which was changed here since it was copied", nil
			}
		}
	}
	return "", nil
}
