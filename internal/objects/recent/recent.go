// Package recent remembers the latest of many things, so that memory does not grow with a cluster.
package recent

import "sync"

// Map keeps at least the latest values that were put into it, up to a number, and less than twice as many. It may be used by many
// goroutines.
type Map[K comparable, V any] struct {
	most       int
	lock       sync.Mutex
	young, old map[K]V
}

// New makes a map that keeps most values; with 0 it keeps none.
func New[K comparable, V any](most int) *Map[K, V] {
	return &Map[K, V]{most: most, young: map[K]V{}}
}

// Get returns the value of a key, if it is remembered.
func (m *Map[K, V]) Get(key K) (V, bool) {
	m.lock.Lock()
	defer m.lock.Unlock()
	value, ok := m.young[key]
	if !ok {
		value, ok = m.old[key]
	}
	return value, ok
}

// Put remembers a value.
func (m *Map[K, V]) Put(key K, value V) {
	if m.most == 0 {
		return
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	if len(m.young) >= m.most {
		m.young, m.old = map[K]V{}, m.young
	}
	m.young[key] = value
}

// Forget removes a key.
func (m *Map[K, V]) Forget(key K) {
	m.lock.Lock()
	defer m.lock.Unlock()
	delete(m.young, key)
	delete(m.old, key)
}
