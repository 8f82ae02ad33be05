package objects_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// knots is a kind whose objects may own each other.
const knots = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: knots.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Knot, plural: knots}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

// kinds that the random graphs are made of.
var graphKinds = []schema.GroupVersionKind{
	{Version: "v1", Kind: "ConfigMap"}, {Version: "v1", Kind: "Secret"}, {Version: "v1", Kind: "ServiceAccount"}, {Group: "example.com", Version: "v1", Kind: "Knot"},
}

// node is an object of a random graph.
type node struct {
	obj    *unstructured.Unstructured
	owners []int // positions of its owners; they may be its own owners in turn
}

// TestOwnersOfRandomGraphs copies objects that own each other every which way: in the other cluster the same own the same, and the
// UIDs are those of objects that are there. A second copy writes nothing.
func TestOwnersOfRandomGraphs(t *testing.T) {
	from, to := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	a, b := from.Connect(t), to.Connect(t)
	from.WriteAs(t, "kubectl-create", knots)
	eventually(t, "knots are served", func() bool {
		_, err := a.Namespaced(graphKinds[3])
		return err == nil
	})
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		if round++; round > 12 {
			return // each is slow, as it is real
		}
		namespace := fmt.Sprintf("graph-%d", round)
		from.WriteAs(t, "kubectl-create", fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %s}}", namespace))
		nodes := drawGraph(r, namespace)
		plant(t, a, nodes)
		rules := decide.Rules{Copy: spec.Copy{Include: []spec.Selector{{Namespaces: []string{namespace}}, {Kinds: []string{"CustomResourceDefinition"}}}}}
		report := copyAll(t, a, b, rules)
		if report.Err() != nil {
			r.Fatalf("%v", report.Err())
		}
		if diff := cmp.Diff(ownersIn(t, a, nodes), ownersIn(t, b, nodes)); diff != "" {
			r.Fatalf("who owns whom (-first +other):\n%s\nnotes: %v", diff, report.Notes)
		}
		if again := copyAll(t, a, b, rules); again.Copied() != 0 || again.Deleted != 0 {
			r.Fatalf("a second copy has written: %+v", again)
		}
	})
}

func drawGraph(r *rapid.T, namespace string) []node {
	count := rapid.IntRange(2, 24).Draw(r, "objects")
	nodes := make([]node, count)
	for i := range nodes {
		obj := &unstructured.Unstructured{}
		obj.SetGroupVersionKind(rapid.SampledFrom(graphKinds).Draw(r, "kind"))
		obj.SetNamespace(namespace)
		obj.SetName(fmt.Sprintf("%s-%02d", rapid.SampledFrom([]string{"a", "z", strings.Repeat("long", 50)}).Draw(r, "name"), i))
		obj.SetAnnotations(map[string]string{"text": rapid.String().Draw(r, "text")})
		nodes[i] = node{obj: obj}
		for range rapid.IntRange(0, 2).Draw(r, "owners") {
			if owner := rapid.IntRange(0, count-1).Draw(r, "owner"); owner != i && !slices.Contains(nodes[i].owners, owner) {
				nodes[i].owners = append(nodes[i].owners, owner)
			}
		}
	}
	return nodes
}

// plant creates the objects, and then says who owns whom.
func plant(t *testing.T, c *kube.Cluster, nodes []node) {
	t.Helper()
	uids := make([]types.UID, len(nodes))
	for i, n := range nodes {
		created, err := c.Create(t.Context(), n.obj)
		if err != nil || created == nil {
			t.Fatal(created, err)
		}
		uids[i] = created.GetUID()
	}
	for _, n := range nodes {
		var refs []string
		for _, o := range n.owners {
			owner := nodes[o].obj
			refs = append(refs, fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"name":%q,"uid":%q}`, owner.GetAPIVersion(), owner.GetKind(), owner.GetName(), uids[o]))
		}
		if _, err := c.Patch(t.Context(), n.obj, []byte(`{"metadata":{"ownerReferences":[`+strings.Join(refs, ",")+`]}}`)); err != nil {
			t.Fatal(err)
		}
	}
}

// ownersIn lists the owners of each object by name, with its annotation. An owner whose UID is of no object shows as wrong.
func ownersIn(t *testing.T, c *kube.Cluster, nodes []node) map[string][]string {
	t.Helper()
	uids, found := map[types.UID]string{}, map[string][]string{}
	for _, n := range nodes {
		obj, err := c.Get(t.Context(), n.obj)
		if err != nil || obj == nil {
			t.Fatalf("%s %s: %v, %v", n.obj.GetKind(), n.obj.GetName(), obj, err)
		}
		uids[obj.GetUID()] = obj.GetKind() + " " + obj.GetName()
		n.obj.Object = obj.Object
	}
	for _, n := range nodes {
		owners := []string{n.obj.GetAnnotations()["text"]}
		for _, ref := range n.obj.GetOwnerReferences() {
			owner := uids[ref.UID]
			if owner != ref.Kind+" "+ref.Name {
				owner = "wrong: " + ref.Name
			}
			owners = append(owners, owner)
		}
		slices.Sort(owners[1:])
		found[n.obj.GetKind()+" "+n.obj.GetName()] = owners
	}
	return found
}
