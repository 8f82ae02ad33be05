// Package pair brings the objects of two clusters together: each meets the one of its name, kind by kind, in a version that both
// clusters serve. No more than a page of either list is held.
package pair

import (
	"iter"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
)

// Version chooses the version in which both clusters can be asked for a kind: the first of the resource's own that the other
// cluster serves too. ok is false when there is none.
func Version(resource kube.Resource, served []kube.Resource) (version string, ok bool) {
	i := slices.IndexFunc(served, func(r kube.Resource) bool { return r.GroupResource() == resource.GroupResource() })
	if i < 0 {
		return "", false
	}
	for _, version := range resource.Versions {
		if slices.Contains(served[i].Versions, version) {
			return version, true
		}
	}
	return "", false
}

// Peers finds, for objects of one cluster in the order of the API, those of the same name in another, by walking both lists
// side by side: the API lists in the order of its keys, so that neither list is ever held as a whole. Where an API server
// lists in another order a peer may be missed; then its object must be looked for once more before anything is done about it.
// It is used by one goroutine.
type Peers struct {
	// Alone is told of objects of the other cluster that were not asked for. It may be nil.
	Alone func(*unstructured.Unstructured)

	next       func() (*unstructured.Unstructured, error, bool)
	stop       func()
	head       *unstructured.Unstructured
	done       bool
	asked, met string // keys of the latest objects of either cluster
	disordered bool
}

// New walks the list of the other cluster. The peers must be closed.
func New(list iter.Seq2[*unstructured.Unstructured, error]) *Peers {
	next, stop := iter.Pull2(list)
	return &Peers{next: next, stop: stop}
}

// None are the peers in a cluster that has none.
func None() *Peers { return New(func(func(*unstructured.Unstructured, error) bool) {}) }

// Close ends the walk. It may be called more than once.
func (p *Peers) Close() { p.stop() }

// Find returns the peer of obj; nil, without an error, when there is none. An error is one of the other cluster's list.
func (p *Peers) Find(obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	p.disordered = p.disordered || key(obj) < p.asked
	p.asked = key(obj)
	for {
		if err := p.fetch(); err != nil || p.done {
			return nil, err
		}
		switch theirs, ours := key(p.head), key(obj); {
		case theirs == ours:
			found := p.head
			p.head = nil
			return found, nil
		case theirs > ours:
			return nil, nil //nolint:nilnil // nil means: there is none, and that is documented
		}
		p.pass()
	}
}

// Rest goes to the end of the other cluster's list.
func (p *Peers) Rest() error {
	for {
		if err := p.fetch(); err != nil || p.done {
			return err
		}
		p.pass()
	}
}

// Ordered reports whether the objects of both clusters have come in the order of their keys so far, so that no peer was missed.
func (p *Peers) Ordered() bool { return !p.disordered }

// fetch puts the next object of the other cluster at the head, unless one is there.
func (p *Peers) fetch() error {
	if p.done || p.head != nil {
		return nil
	}
	head, err, ok := p.next()
	if err != nil {
		return err
	}
	p.head, p.done = head, !ok
	if ok {
		p.disordered = p.disordered || key(head) < p.met
		p.met = key(head)
	}
	return nil
}

func (p *Peers) pass() {
	if p.Alone != nil {
		p.Alone(p.head)
	}
	p.head = nil
}

// key orders objects as etcd does: by namespace, slash, name.
func key(obj *unstructured.Unstructured) string {
	if obj.GetNamespace() == "" {
		return obj.GetName()
	}
	return obj.GetNamespace() + "/" + obj.GetName()
}
