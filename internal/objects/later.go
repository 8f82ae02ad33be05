package objects

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/ident"
)

// later holds the names of objects that are copied when others are there: those whose owners are not, and those that could not
// be written when their turn came.
type later struct {
	lock    sync.Mutex
	waiting map[string]*waiting          // by name
	after   map[string]map[*waiting]bool // by name of owner: who waits for it
	again   map[string]*unstructured.Unstructured
}

// waiting is an object whose owners are not all there.
type waiting struct {
	ref     *unstructured.Unstructured
	missing map[string]bool // names of owners
}

// reference is an object's kind and name, without its content.
func reference(obj *unstructured.Unstructured) *unstructured.Unstructured {
	ref := &unstructured.Unstructured{}
	ref.SetGroupVersionKind(obj.GroupVersionKind())
	ref.SetNamespace(obj.GetNamespace())
	ref.SetName(obj.GetName())
	return ref
}

// owned puts an object off until its owners are there.
func (l *later) owned(obj *unstructured.Unstructured, missing []string) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.waiting == nil {
		l.waiting, l.after = map[string]*waiting{}, map[string]map[*waiting]bool{}
	}
	name := ident.Of(obj)
	l.remove(name)
	w := &waiting{ref: reference(obj), missing: map[string]bool{}}
	l.waiting[name] = w
	for _, owner := range missing {
		w.missing[owner] = true
		if l.after[owner] == nil {
			l.after[owner] = map[*waiting]bool{}
		}
		l.after[owner][w] = true
	}
}

// remove forgets an object that waits. The lock is held.
func (l *later) remove(name string) {
	w := l.waiting[name]
	if w == nil {
		return
	}
	delete(l.waiting, name)
	for owner := range w.missing {
		if delete(l.after[owner], w); len(l.after[owner]) == 0 {
			delete(l.after, owner)
		}
	}
}

// failed puts an object off until everything else is there.
func (l *later) failed(obj *unstructured.Unstructured) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.again == nil {
		l.again = map[string]*unstructured.Unstructured{}
	}
	l.again[ident.Of(obj)] = reference(obj)
}

// settled tells that an object is there after all: it was tried again because a cluster had gone away.
func (l *later) settled(obj *unstructured.Unstructured) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if len(l.again) > 0 {
		delete(l.again, ident.Of(obj))
	}
}

// take removes and returns the objects that wait for none of those that wait themselves, in order of name.
func (l *later) take() []*unstructured.Unstructured {
	l.lock.Lock()
	defer l.lock.Unlock()
	var free []string
	for name, w := range l.waiting {
		blocked := false
		for owner := range w.missing {
			blocked = blocked || l.waiting[owner] != nil
		}
		if !blocked {
			free = append(free, name)
		}
	}
	slices.Sort(free)
	refs := make([]*unstructured.Unstructured, 0, len(free))
	for _, name := range free {
		refs = append(refs, l.waiting[name].ref)
		l.remove(name)
	}
	return refs
}

// arrived tells that an object is there, and returns those that waited for it alone. They wait no longer.
func (l *later) arrived(name string) []*unstructured.Unstructured {
	l.lock.Lock()
	defer l.lock.Unlock()
	var free []*unstructured.Unstructured
	for w := range l.after[name] {
		delete(w.missing, name)
		if len(w.missing) == 0 {
			free = append(free, w.ref)
			delete(l.waiting, ident.Of(w.ref))
		}
	}
	delete(l.after, name)
	return free
}

// waits reports whether an object waits for its owners.
func (l *later) waits(obj *unstructured.Unstructured) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.waiting[ident.Of(obj)] != nil
}

// cycle removes and returns one object of those that wait for each other, with the names of the owners it waits for.
func (l *later) cycle() (*unstructured.Unstructured, []string) {
	l.lock.Lock()
	defer l.lock.Unlock()
	first := ""
	for name := range l.waiting {
		if first == "" || name < first {
			first = name
		}
	}
	if first == "" {
		return nil, nil
	}
	var owners []string
	for owner := range l.waiting[first].missing {
		owners = append(owners, owner)
	}
	slices.Sort(owners)
	ref := l.waiting[first].ref
	l.remove(first)
	return ref, owners
}

// failures removes and returns the objects that could not be written.
func (l *later) failures() []*unstructured.Unstructured {
	l.lock.Lock()
	defer l.lock.Unlock()
	again := make([]*unstructured.Unstructured, 0, len(l.again))
	for _, name := range slices.Sorted(maps.Keys(l.again)) {
		again = append(again, l.again[name])
	}
	l.again = nil
	return again
}

// settleOwners copies the objects whose owners are there by now, and those whose owners those are. Objects that still wait for an owner of
// a kind whose turn has not come go on waiting.
func (c *copier) settleOwners(ctx context.Context) error {
	return c.descend(ctx, c.later.take(), writer{tally: c.tally, first: true})
}

// settleRest copies what still waits when every kind has had its turn: everything that could not be written, once more, as what it
// lacked may be there; objects that name others by UID which are not copied, without those; objects that name each other, one of them
// first without the other; and what could not be written even then, for the last time.
func (c *copier) settleRest(ctx context.Context) error {
	if err := c.descend(ctx, c.later.failures(), writer{tally: c.tally, first: true}); err != nil {
		return err
	}
	if err := c.descend(ctx, c.later.take(), writer{tally: c.tally, last: true}); err != nil {
		return err
	}
	var relink []*unstructured.Unstructured
	for {
		ref, owners := c.later.cycle()
		if ref == nil {
			break
		}
		c.tally.remark(&c.tally.report.Notes, "%s and %s name each other by UID: it was copied first, without", ident.Of(ref), strings.Join(owners, ", "))
		relink = append(relink, ref)
		if err := c.descend(ctx, []*unstructured.Unstructured{ref}, writer{tally: c.tally}); err != nil {
			return err
		}
	}
	again := newTally(c.DryRun, nil) // those that succeed were counted when they were first written
	if err := c.descend(ctx, relink, writer{tally: again}); err != nil {
		return err
	}
	c.tally.merge(again.problems())
	return c.descend(ctx, c.later.failures(), writer{tally: c.tally, last: true})
}

// descend copies objects with a writer like the one given, and then those that waited for them, until nothing more can follow.
func (c *copier) descend(ctx context.Context, refs []*unstructured.Unstructured, like writer) error {
	for len(refs) > 0 {
		var lock sync.Mutex
		var next []*unstructured.Unstructured
		group, each := errgroup.WithContext(ctx)
		group.SetLimit(writesAtOnce)
		for _, ref := range refs {
			group.Go(func() error {
				w := like
				w.copier = c
				if err := c.again(each, ref, &w); err != nil {
					return err
				}
				if w.first && c.later.waits(ref) {
					return nil
				}
				free := c.later.arrived(ident.Of(ref))
				lock.Lock()
				defer lock.Unlock()
				next = append(next, free...)
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			c.keep(refs)
			return err
		}
		refs = next
	}
	return nil
}

// keep puts objects back that a cluster which went away has kept from being copied.
func (c *copier) keep(refs []*unstructured.Unstructured) {
	for _, ref := range refs {
		c.later.failed(ref)
	}
}

// again reads an object that was put off from both clusters and copies it.
func (c *copier) again(ctx context.Context, ref *unstructured.Unstructured, w *writer) error {
	obj, err := c.from.Get(ctx, ref)
	if err != nil || obj == nil || obj.GetDeletionTimestamp() != nil { // gone since, or soon: there is nothing to copy
		return c.settled(ref, err)
	}
	existing, err := c.to.Get(ctx, ref)
	if err != nil {
		return c.settled(ref, err)
	}
	w.from = obj
	return w.copy(ctx, existing)
}
