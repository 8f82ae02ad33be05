package objects

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
	"github.com/crossfade-dev/crossfade/internal/objects/waiting"
)

// settleOwners copies the objects whose owners are there by now, and those whose owners those are. Objects that still wait for an owner of
// a kind whose turn has not come go on waiting.
func (c *copier) settleOwners(ctx context.Context) error {
	return c.descend(ctx, c.waiting.Take(), turn{tally: c.tally, first: true})
}

// settleRest copies what still waits when every kind has had its turn: everything that could not be written, once more, as what it
// lacked may be there; objects that name others by UID which are not copied, without those; objects that name each other, one of them
// first without the other; and what could not be written even then, for the last time.
func (c *copier) settleRest(ctx context.Context) error {
	if err := c.descend(ctx, c.waiting.Failures(), turn{tally: c.tally, first: true}); err != nil {
		return err
	}
	if err := c.descend(ctx, c.waiting.Take(), turn{tally: c.tally, last: true}); err != nil {
		return err
	}
	var relink []waiting.Object
	for {
		ref, owners := c.waiting.Cycle()
		if ref == nil {
			break
		}
		c.tally.Note("%s and %s name each other by UID: it was copied first, without", ident.Of(ref), strings.Join(owners, ", "))
		first := waiting.Object{Ref: ref}
		relink = append(relink, first)
		if err := c.descend(ctx, []waiting.Object{first}, turn{tally: c.tally}); err != nil {
			return err
		}
	}
	again := outcome.New(c.DryRun, nil) // those that succeed were counted when they were first written
	if err := c.descend(ctx, relink, turn{tally: again}); err != nil {
		return err
	}
	c.tally.Merge(again.Problems())
	return c.descend(ctx, c.waiting.Failures(), turn{tally: c.tally, last: true})
}

// descend copies objects in a turn like the one given, and then those that waited for them, until nothing more can follow.
func (c *copier) descend(ctx context.Context, off []waiting.Object, like turn) error {
	for len(off) > 0 {
		var lock sync.Mutex
		var next []waiting.Object
		group, each := errgroup.WithContext(ctx)
		group.SetLimit(writesAtOnce)
		for _, o := range off {
			group.Go(func() error {
				t := like
				t.copier = c
				if err := c.again(each, o, &t); err != nil {
					return err
				}
				if t.first && c.waiting.Waits(o.Ref) {
					return nil
				}
				free := c.waiting.Arrived(ident.Of(o.Ref))
				lock.Lock()
				defer lock.Unlock()
				next = append(next, free...)
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			c.keep(off)
			return err
		}
		off = next
	}
	return nil
}

// keep puts objects back that a cluster which went away has kept from being copied.
func (c *copier) keep(off []waiting.Object) {
	for _, o := range off {
		c.waiting.Failed(o.Ref)
	}
}

// again copies an object that was put off. What is not held of it is read.
func (c *copier) again(ctx context.Context, o waiting.Object, t *turn) (err error) {
	if t.from = o.Content; t.from == nil {
		t.from, err = c.from.Get(ctx, o.Ref)
		if err != nil || t.from == nil || t.from.GetDeletionTimestamp() != nil { // gone since, or soon: there is nothing to copy
			return c.settled(o.Ref, err)
		}
	}
	if o.Absent {
		return t.copy(ctx, nil)
	}
	existing, err := c.to.Get(ctx, o.Ref)
	if err != nil {
		return c.settled(o.Ref, err)
	}
	return t.copy(ctx, existing)
}

// settled counts a failure about one object, and returns what stops everything.
func (c *copier) settled(obj *unstructured.Unstructured, err error) error {
	if err == nil || retry.Stops(err) {
		return err
	}
	c.tally.Fail(obj, err)
	return nil
}
