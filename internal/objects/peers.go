package objects

import (
	"iter"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// peers finds, for objects of one cluster in the order of the API, those of the same name in another, by walking both lists
// side by side: the API lists in the order of its keys, so that neither list is ever held as a whole. Where an API server
// lists in another order a peer may be missed; then its object is looked for once more before anything is done about it.
type peers struct {
	alone func(*unstructured.Unstructured) // told of objects of the other cluster that were not asked for; may be nil
	next  func() (*unstructured.Unstructured, error, bool)
	stop  func()
	head  *unstructured.Unstructured
	done  bool
}

func newPeers(list iter.Seq2[*unstructured.Unstructured, error]) *peers {
	next, stop := iter.Pull2(list)
	return &peers{next: next, stop: stop}
}

func (p *peers) close() { p.stop() }

// find returns the peer of obj, or nil.
func (p *peers) find(obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
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

// rest goes to the end of the other cluster's list.
func (p *peers) rest() error {
	for {
		if err := p.fetch(); err != nil || p.done {
			return err
		}
		p.pass()
	}
}

// fetch puts the next object of the other cluster at the head, unless one is there.
func (p *peers) fetch() error {
	if p.done || p.head != nil {
		return nil
	}
	head, err, ok := p.next()
	if err != nil {
		return err
	}
	p.head, p.done = head, !ok
	return nil
}

func (p *peers) pass() {
	if p.alone != nil {
		p.alone(p.head)
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
