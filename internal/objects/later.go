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
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// later holds the objects that are copied when others are there: those whose owners are not, and those that could not be written when
// their turn came.
type later struct {
	lock    sync.Mutex
	waiting map[string]*waiting          // by name
	after   map[string]map[*waiting]bool // by name of owner: who waits for it
	again   map[string]*unstructured.Unstructured
	whole   int // objects that are held with their content
}

// waiting is an object whose owners are not all there.
type waiting struct {
	putOff
	missing map[string]bool // names of owners
}

// putOff is an object that is copied later.
type putOff struct {
	ref    *unstructured.Unstructured // its kind and name
	obj    *unstructured.Unstructured // as it was read; nil when it is to be read again
	absent bool                       // whether the other cluster had none of its name
}

// What is held of objects that wait: the content of so many, of so many values each. Others are read again.
const (
	heldWhole  = 2048
	heldValues = 500
)

// owned puts an object off until its owners are there; absent says that the other cluster has none of its name.
func (l *later) owned(obj *unstructured.Unstructured, missing []string, absent bool) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.waiting == nil {
		l.waiting, l.after = map[string]*waiting{}, map[string]map[*waiting]bool{}
	}
	name := ident.Of(obj)
	l.remove(name)
	w := &waiting{putOff: putOff{ref: ident.Reference(obj), absent: absent}, missing: map[string]bool{}}
	if l.whole < heldWhole && light(obj) {
		w.obj = obj
		l.whole++
	}
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
	l.leave(name, w)
	for owner := range w.missing {
		if delete(l.after[owner], w); len(l.after[owner]) == 0 {
			delete(l.after, owner)
		}
	}
}

// leave takes an object from those that wait. The lock is held.
func (l *later) leave(name string, w *waiting) {
	delete(l.waiting, name)
	if w.obj != nil {
		l.whole--
	}
}

// failed puts an object off until everything else is there.
func (l *later) failed(obj *unstructured.Unstructured) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.again == nil {
		l.again = map[string]*unstructured.Unstructured{}
	}
	l.again[ident.Of(obj)] = ident.Reference(obj)
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
func (l *later) take() []putOff {
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
	off := make([]putOff, 0, len(free))
	for _, name := range free {
		off = append(off, l.waiting[name].putOff)
		l.remove(name)
	}
	return off
}

// arrived tells that an object is there, and returns those that waited for it alone. They wait no longer.
func (l *later) arrived(name string) []putOff {
	l.lock.Lock()
	defer l.lock.Unlock()
	var free []putOff
	for w := range l.after[name] {
		delete(w.missing, name)
		if len(w.missing) == 0 {
			free = append(free, w.putOff)
			l.leave(ident.Of(w.ref), w)
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
func (l *later) failures() []putOff {
	l.lock.Lock()
	defer l.lock.Unlock()
	again := make([]putOff, 0, len(l.again))
	for _, name := range slices.Sorted(maps.Keys(l.again)) {
		again = append(again, putOff{ref: l.again[name]})
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
	var relink []putOff
	for {
		ref, owners := c.later.cycle()
		if ref == nil {
			break
		}
		c.tally.Note("%s and %s name each other by UID: it was copied first, without", ident.Of(ref), strings.Join(owners, ", "))
		first := putOff{ref: ref}
		relink = append(relink, first)
		if err := c.descend(ctx, []putOff{first}, writer{tally: c.tally}); err != nil {
			return err
		}
	}
	again := outcome.New(c.DryRun, nil) // those that succeed were counted when they were first written
	if err := c.descend(ctx, relink, writer{tally: again}); err != nil {
		return err
	}
	c.tally.Merge(again.Problems())
	return c.descend(ctx, c.later.failures(), writer{tally: c.tally, last: true})
}

// descend copies objects with a writer like the one given, and then those that waited for them, until nothing more can follow.
func (c *copier) descend(ctx context.Context, off []putOff, like writer) error {
	for len(off) > 0 {
		var lock sync.Mutex
		var next []putOff
		group, each := errgroup.WithContext(ctx)
		group.SetLimit(writesAtOnce)
		for _, o := range off {
			group.Go(func() error {
				w := like
				w.copier = c
				if err := c.again(each, o, &w); err != nil {
					return err
				}
				if w.first && c.later.waits(o.ref) {
					return nil
				}
				free := c.later.arrived(ident.Of(o.ref))
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
func (c *copier) keep(off []putOff) {
	for _, o := range off {
		c.later.failed(o.ref)
	}
}

// again copies an object that was put off. What is not held of it is read.
func (c *copier) again(ctx context.Context, o putOff, w *writer) (err error) {
	if w.from = o.obj; w.from == nil {
		w.from, err = c.from.Get(ctx, o.ref)
		if err != nil || w.from == nil || w.from.GetDeletionTimestamp() != nil { // gone since, or soon: there is nothing to copy
			return c.settled(o.ref, err)
		}
	}
	if o.absent {
		return w.copy(ctx, nil)
	}
	existing, err := c.to.Get(ctx, o.ref)
	if err != nil {
		return c.settled(o.ref, err)
	}
	return w.copy(ctx, existing)
}

// light reports whether an object has few values.
func light(obj *unstructured.Unstructured) bool {
	left := heldValues
	return count(obj.Object, &left)
}

// count takes the number of values from what is left, and reports whether that was enough. A long text counts as many.
func count(value any, left *int) bool {
	*left--
	switch v := value.(type) {
	case string:
		*left -= len(v) / 64
	case map[string]any:
		for _, below := range v {
			if !count(below, left) {
				return false
			}
		}
	case []any:
		for _, below := range v {
			if !count(below, left) {
				return false
			}
		}
	}
	return *left >= 0
}
