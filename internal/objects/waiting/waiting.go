// Package waiting holds the objects that are copied when others are there: who waits for whom, and who need not wait any longer.
package waiting

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/ident"
)

// List holds the objects that are copied when others are there: those whose owners are not, and those that could not be written when
// their turn came. The zero value is an empty one. It may be used by many goroutines.
type List struct {
	lock    sync.Mutex
	waiting map[string]*entry          // by name
	after   map[string]map[*entry]bool // by name of owner: who waits for it
	again   map[string]*unstructured.Unstructured
	whole   int // objects that are held with their content
}

// entry is an object whose owners are not all there.
type entry struct {
	Object
	missing map[string]bool // names of owners
}

// Object is an object that is copied later.
type Object struct {
	Ref     *unstructured.Unstructured // its kind and name
	Content *unstructured.Unstructured // as it was read; nil when it is to be read again
	Absent  bool                       // whether the other cluster had none of its name
}

// Owned puts an object off until its owners are there; absent says that the other cluster has none of its name.
func (l *List) Owned(obj *unstructured.Unstructured, missing []string, absent bool) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.waiting == nil {
		l.waiting, l.after = map[string]*entry{}, map[string]map[*entry]bool{}
	}
	name := ident.Of(obj)
	l.remove(name)
	w := &entry{Object: Object{Ref: ident.Reference(obj), Absent: absent}, missing: map[string]bool{}}
	if l.whole < heldWhole && light(obj) {
		w.Content = obj
		l.whole++
	}
	l.waiting[name] = w
	for _, owner := range missing {
		w.missing[owner] = true
		if l.after[owner] == nil {
			l.after[owner] = map[*entry]bool{}
		}
		l.after[owner][w] = true
	}
}

// remove forgets an object that waits. The lock is held.
func (l *List) remove(name string) {
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
func (l *List) leave(name string, w *entry) {
	delete(l.waiting, name)
	if w.Content != nil {
		l.whole--
	}
}

// Failed puts an object off until everything else is there.
func (l *List) Failed(obj *unstructured.Unstructured) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.again == nil {
		l.again = map[string]*unstructured.Unstructured{}
	}
	l.again[ident.Of(obj)] = ident.Reference(obj)
}

// Settled tells that an object is there after all: it was tried again because a cluster had gone away.
func (l *List) Settled(obj *unstructured.Unstructured) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if len(l.again) > 0 {
		delete(l.again, ident.Of(obj))
	}
}

// Take removes and returns the objects that wait for none of those that wait themselves, in order of name.
func (l *List) Take() []Object {
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
	off := make([]Object, 0, len(free))
	for _, name := range free {
		off = append(off, l.waiting[name].Object)
		l.remove(name)
	}
	return off
}

// Arrived tells that an object is there, and returns those that waited for it alone. They wait no longer.
func (l *List) Arrived(name string) []Object {
	l.lock.Lock()
	defer l.lock.Unlock()
	var free []Object
	for w := range l.after[name] {
		delete(w.missing, name)
		if len(w.missing) == 0 {
			free = append(free, w.Object)
			l.leave(ident.Of(w.Ref), w)
		}
	}
	delete(l.after, name)
	return free
}

// Waits reports whether an object waits for its owners.
func (l *List) Waits(obj *unstructured.Unstructured) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.waiting[ident.Of(obj)] != nil
}

// Cycle removes and returns one object of those that wait for each other, with the names of the owners it waits for.
func (l *List) Cycle() (*unstructured.Unstructured, []string) {
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
	ref := l.waiting[first].Ref
	l.remove(first)
	return ref, owners
}

// Failures removes and returns the objects that could not be written.
func (l *List) Failures() []Object {
	l.lock.Lock()
	defer l.lock.Unlock()
	again := make([]Object, 0, len(l.again))
	for _, name := range slices.Sorted(maps.Keys(l.again)) {
		again = append(again, Object{Ref: l.again[name]})
	}
	l.again = nil
	return again
}
