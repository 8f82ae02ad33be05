// Package crowd makes the objects of clusters of any size, for measurements: of many kinds and sizes, with names as long as they may be,
// text of many scripts, Secrets as large as they may be, custom resources, and chains of owners. Crowds of one size have the same
// objects every time.
package crowd

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What there is to how many objects.
const (
	perNamespace = 20
	perLarge     = 1000 // Secrets of the largest size
	chain        = 12   // objects that own each other in a row
	block        = 100  // objects in which the share of each kind is as kinds say
)

// Object is an object to be created.
type Object struct {
	*unstructured.Unstructured
	Resource schema.GroupVersionResource
	Owner    string // the key of the object that owns it, which must be there before; "" for none
	Made     bool   // by a controller, for its owner: a copy leaves it out
}

// The label of all objects of a crowd.
const label, hallmark = "app.kubernetes.io/managed-by", "bench"

// Labels are what all objects of a crowd have, and nothing else in a cluster.
func Labels() map[string]string { return map[string]string{label: hallmark} }

// Key names an object of a crowd.
func (o Object) Key() string { return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName() }

// Owned completes an object with the UID of its owner.
func (o Object) Owned(uid string) {
	refs, _, _ := unstructured.NestedSlice(o.Object, "metadata", "ownerReferences")
	refs[0].(map[string]any)["uid"] = uid
	_ = unstructured.SetNestedSlice(o.Object, refs, "metadata", "ownerReferences") // it is there
}

// Crowd is the objects of one cluster.
type Crowd struct {
	namespaces, others int
	longest            int           // name, in bytes
	kinds              [block]placed // what the objects of each block are
}

// placed is a kind, and how many of its kind are in a block before this one.
type placed struct {
	kind
	before int
}

// Of makes a crowd of size objects that a copy brings over, at least 50, and some that it leaves out.
func Of(size int) Crowd {
	c := Crowd{namespaces: size / perNamespace, longest: longName}
	c.others = size - c.namespaces - len(definitions())
	var all []kind
	for _, k := range kinds() {
		for range k.share {
			all = append(all, k)
		}
	}
	rand.New(rand.NewPCG(1, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	seen := map[string]int{}
	for i, k := range all {
		c.kinds[i] = placed{kind: k, before: seen[k.kind]}
		seen[k.kind]++
	}
	return c
}

// Named is the crowd with names of at most so many bytes, 30 at least.
func (c Crowd) Named(longest int) Crowd {
	c.longest = longest
	return c
}

// Stages yields the objects in stages, each of which needs those before it.
func (c Crowd) Stages() iter.Seq[iter.Seq[Object]] {
	return func(yield func(iter.Seq[Object]) bool) {
		first := func(yield func(Object) bool) {
			for _, d := range definitions() {
				if !yield(d) {
					return
				}
			}
			for i := range c.namespaces {
				if !yield(namespace(i)) {
					return
				}
			}
		}
		if !yield(first) {
			return
		}
		for depth := range chain {
			if !yield(c.deep(depth)) {
				return
			}
		}
	}
}

// deep yields the objects that as many others have to be there for.
func (c Crowd) deep(depth int) iter.Seq[Object] {
	return func(yield func(Object) bool) {
		for i := range c.others {
			p := c.kinds[i%block]
			number := i/block*p.share + p.before
			at := 0
			if p.kind.kind == linkKind {
				at = number % chain
			}
			if at == depth && !yield(c.object(p.kind, i, number)) {
				return
			}
			if p.kind.kind == "Deployment" && depth == 1 && !yield(replicaSet(c.object(p.kind, i, number))) {
				return
			}
		}
	}
}

// object makes the object at a position, which is the one of the given number of its kind.
func (c Crowd) object(k kind, position, number int) Object {
	m := &maker{Rand: rand.New(rand.NewPCG(uint64(position), 2)), position: position, number: number}
	m.namespace = namespaceName(position % c.namespaces)
	m.large = k.kind == "Secret" && position%perLarge < block && number%k.share == 0
	if k.kind == linkKind {
		m.namespace = namespaceName(number / chain % c.namespaces)
	}
	m.name = m.named(min(k.longest, c.longest))
	obj := m.base(k)
	k.fill(m, obj)
	o := Object{Unstructured: &unstructured.Unstructured{Object: obj}, Resource: k.resource()}
	if k.kind == linkKind && number%chain > 0 {
		o.Owner = Object{Unstructured: o.link(m, number)}.Key()
	}
	return o
}

// link names the link before a link as its owner, and returns it without content. Every other chain is of controllers.
func (o Object) link(m *maker, number int) *unstructured.Unstructured {
	above := &unstructured.Unstructured{}
	above.SetAPIVersion(o.GetAPIVersion())
	above.SetKind(o.GetKind())
	above.SetNamespace(o.GetNamespace())
	above.SetName(linkName(number - 1))
	o.ownedBy(above, number/chain%2 == 0)
	return above
}

func (o Object) ownedBy(owner *unstructured.Unstructured, controller bool) {
	ref := map[string]any{
		"apiVersion": owner.GetAPIVersion(), "kind": owner.GetKind(), "name": owner.GetName(), "uid": "", "controller": controller,
	}
	_ = unstructured.SetNestedSlice(o.Object, []any{ref}, "metadata", "ownerReferences") // metadata is a map
}

// replicaSet is what the controller makes for a Deployment.
func replicaSet(deployment Object) Object {
	obj := deployment.DeepCopy()
	obj.SetKind("ReplicaSet")
	obj.SetName(strings.TrimRight(deployment.GetName()[:min(len(deployment.GetName()), 240)], "-.") + "-5d9c7b8f6d")
	unstructured.RemoveNestedField(obj.Object, "spec", "strategy")
	made := Object{Unstructured: obj, Resource: deployment.Resource.GroupVersion().WithResource("replicasets"), Owner: deployment.Key(), Made: true}
	made.ownedBy(deployment.Unstructured, true)
	return made
}

func namespaceName(i int) string { return fmt.Sprintf("team-%d", i) }
