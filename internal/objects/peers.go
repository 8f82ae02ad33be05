package objects

import (
	"iter"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// peers finds, for objects of one cluster in the order of the API, those of the same name in another, by walking both lists
// side by side: the API lists in the order of its keys, so that neither list is ever held as a whole. Where an API server
// lists in another order a peer may be missed; then its object is written once more than needed, and nothing is lost.
type peers struct {
	next func() (*unstructured.Unstructured, error, bool)
	stop func()
	head *unstructured.Unstructured
	done bool
}

func newPeers(list iter.Seq2[*unstructured.Unstructured, error]) *peers {
	next, stop := iter.Pull2(list)
	return &peers{next: next, stop: stop}
}

func (p *peers) close() { p.stop() }

// find returns the peer of obj, or nil.
func (p *peers) find(obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	for !p.done {
		if p.head == nil {
			head, err, ok := p.next()
			if err != nil {
				return nil, err
			}
			if p.head, p.done = head, !ok; p.done {
				return nil, nil //nolint:nilnil // nil means: there is none, and that is documented
			}
		}
		switch theirs, ours := key(p.head), key(obj); {
		case theirs == ours:
			found := p.head
			p.head = nil
			return found, nil
		case theirs > ours:
			return nil, nil //nolint:nilnil // as above
		}
		p.head = nil
	}
	return nil, nil //nolint:nilnil // as above
}

// key orders objects as etcd does: by namespace, slash, name.
func key(obj *unstructured.Unstructured) string {
	if obj.GetNamespace() == "" {
		return obj.GetName()
	}
	return obj.GetNamespace() + "/" + obj.GetName()
}
