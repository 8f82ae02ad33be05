package objects_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/apierror"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// made are objects that people make in either cluster, by name, namespace, a value and the group of the custom resource. The fixed ones
// can be changed only by making them again.
var made = map[string]string{
	"ConfigMap":       "{apiVersion: v1, kind: ConfigMap, metadata: {name: %[1]s, namespace: %[2]s}, data: {value: v%[3]d}}",
	"fixed ConfigMap": "{apiVersion: v1, kind: ConfigMap, immutable: true, metadata: {name: fixed-%[1]s, namespace: %[2]s}, data: {value: v%[3]d}}",
	"Secret":          "{apiVersion: v1, kind: Secret, metadata: {name: %[1]s, namespace: %[2]s}, stringData: {value: v%[3]d}}",
	"release":         "{apiVersion: v1, kind: Secret, type: helm.sh/release.v1, metadata: {name: sh.helm.release.v1.%[1]s, namespace: %[2]s}, stringData: {release: v%[3]d}}",
	"Service":         "{apiVersion: v1, kind: Service, metadata: {name: %[1]s, namespace: %[2]s}, spec: {ports: [{port: %[3]d}]}}",
	"Knot":            "{apiVersion: %[4]s/v1, kind: Knot, metadata: {name: %[1]s, namespace: %[2]s}, spec: {value: v%[3]d}}",
	"fixed Job": `{apiVersion: batch/v1, kind: Job, metadata: {name: %[1]s, namespace: %[2]s},
  spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:%[3]d"}]}}}}`,
}

// guestNames are those of the objects.
var guestNames = []string{"o0", "o1", "o2"}

const knotsOf = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: knots.%[1]s}
spec:
  group: %[1]s
  scope: Namespaced
  names: {kind: Knot, plural: knots}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

// hotel is a random history of two clusters: what people have made in the other one are guests.
type hotel struct {
	*clusters
	t      *testing.T
	r      *rapid.T
	group  string // of the custom resource
	round  int
	guests map[string]*unstructured.Unstructured // by name of object, as they came
	value  int
	sum    *outcome.Report // of all copies
}

// TestGuestsStay: whatever people delete in the first cluster, and whoever wins a conflict, nothing that people have made in the other
// is deleted or made again by a copy: not in namespaces that were copied, not of kinds that were, not under the names of objects
// that were, not with the labels of such.
func TestGuestsStay(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	p.from.Controllers(t)
	p.to.Controllers(t)
	round, sum := 0, outcome.Report{}
	rapid.Check(t, func(r *rapid.T) {
		if round++; round > 8 {
			return // each is slow, as it is real
		}
		h := &hotel{clusters: p, t: t, r: r, round: round, group: fmt.Sprintf("knots-%d.example.com", round), guests: map[string]*unstructured.Unstructured{}, sum: &sum}
		h.open()
		for range 2 {
			h.arrive()
			h.copy()
			h.leave()
			h.copy()
		}
		h.arrive()
		h.close()
		h.copy()
	})
	t.Log(sum.Summary())
	if sum.Deleted == 0 || sum.Conflicted == 0 {
		t.Errorf("all copies: %s; want some deleted and some left because of a guest", sum.Summary())
	}
}

func (h *hotel) namespaces() []string {
	return []string{fmt.Sprintf("hotel-%d-a", h.round), fmt.Sprintf("hotel-%d-b", h.round)}
}

// open makes the namespaces, the kind and some objects in the first cluster. A namespace may be there in the other one before.
func (h *hotel) open() {
	if h.round%4 == 1 { // new kinds take their time
		h.from.WriteAs(h.t, "kubectl-create", fmt.Sprintf(knotsOf, h.group))
		eventually(h.t, "knots are served", func() bool { return h.served(h.a) })
	}
	for _, namespace := range h.namespaces() {
		text := "{apiVersion: v1, kind: Namespace, metadata: {name: " + namespace + "}}"
		h.from.WriteAs(h.t, "kubectl-create", text)
		if rapid.Bool().Draw(h.r, "a namespace of guests") {
			h.to.WriteAs(h.t, "kubectl-create", text)
			h.register(kubetest.Objects(h.t, text)[0])
		}
	}
	for range rapid.IntRange(4, 20).Draw(h.r, "residents") {
		h.write(h.from, h.a, h.draw())
	}
}

// served reports whether a cluster has the custom resource.
func (h *hotel) served(c *kube.Cluster) bool {
	definition := get(h.t, c, fmt.Sprintf(knotsOf, h.group))
	_, err := c.Namespaced(schema.GroupVersionKind{Group: h.group, Version: "v1", Kind: "Knot"})
	return definition != nil && definition.GetDeletionTimestamp() == nil && err == nil
}

func (h *hotel) text(kind, name, namespace string) string {
	h.value++
	return fmt.Sprintf(made[kind], name, namespace, h.value, h.group)
}

// draw is an object of a random kind, name and namespace, with a value that no other has.
func (h *hotel) draw() *unstructured.Unstructured {
	kind := rapid.SampledFrom(slices.Sorted(maps.Keys(made))).Draw(h.r, "kind")
	name := rapid.SampledFrom(guestNames).Draw(h.r, "name")
	return kubetest.Objects(h.t, h.text(kind, name, rapid.SampledFrom(h.namespaces()).Draw(h.r, "namespace")))[0]
}

// write makes an object as people do, again if it is there already. It does nothing where its namespace or its kind is not.
func (h *hotel) write(s *kubetest.Server, c *kube.Cluster, obj *unstructured.Unstructured) bool {
	namespace := get(h.t, c, "{apiVersion: v1, kind: Namespace, metadata: {name: "+obj.GetNamespace()+"}}")
	if namespace == nil || namespace.GetDeletionTimestamp() != nil || obj.GetKind() == "Knot" && !h.served(c) {
		return false
	}
	h.remove(c, obj)
	raw, err := obj.MarshalJSON()
	if err != nil {
		h.t.Fatal(err)
	}
	s.WriteAs(h.t, "kubectl-create", string(raw))
	return true
}

// remove deletes an object and returns when it is gone.
func (h *hotel) remove(c *kube.Cluster, obj *unstructured.Unstructured) {
	eventually(h.t, ident.Of(obj)+" is gone", func() bool {
		if err := c.Delete(h.t.Context(), obj); err != nil {
			h.t.Fatal(err)
		}
		found, err := c.Get(h.t.Context(), obj)
		return apierror.NotServed(err) || err == nil && found == nil
	})
}

// arrive has guests come to the other cluster. One that takes the place of a copy has its labels.
func (h *hotel) arrive() {
	for range rapid.IntRange(1, 4).Draw(h.r, "guests") {
		obj := h.draw()
		if _, there := h.guests[ident.Of(obj)]; there || obj.GetKind() == "Knot" && !h.served(h.b) {
			continue
		}
		copied, err := h.b.Get(h.t.Context(), obj)
		if err != nil {
			h.t.Fatal(err)
		}
		if copied != nil {
			obj.SetLabels(map[string]string{manager.OriginLabel: copied.GetLabels()[manager.OriginLabel], manager.CopiedLabel: copied.GetLabels()[manager.CopiedLabel]})
		}
		if h.write(h.to, h.b, obj) {
			h.register(obj)
		}
	}
}

func (h *hotel) register(obj *unstructured.Unstructured) {
	found, err := h.b.Get(h.t.Context(), obj)
	if err != nil || found == nil {
		h.t.Fatal(found, err)
	}
	h.guests[ident.Of(obj)] = found
}

// leave deletes and changes what is in the first cluster.
func (h *hotel) leave() {
	for range rapid.IntRange(0, 8).Draw(h.r, "changes") {
		h.write(h.from, h.a, h.draw())
	}
	for range rapid.IntRange(0, 12).Draw(h.r, "deletions") {
		if obj := h.draw(); obj.GetKind() != "Knot" || h.served(h.a) {
			h.remove(h.a, obj)
		}
	}
}

// close deletes a namespace and the kind in the first cluster.
func (h *hotel) close() {
	h.empty(h.namespaces()[0])
	h.remove(h.a, kubetest.Objects(h.t, fmt.Sprintf(knotsOf, h.group))[0])
}

// empty deletes a namespace of the first cluster and everything in it.
func (h *hotel) empty(namespace string) {
	for _, kind := range slices.Sorted(maps.Keys(made)) {
		for _, name := range guestNames {
			if obj := kubetest.Objects(h.t, h.text(kind, name, namespace))[0]; obj.GetKind() != "Knot" || h.served(h.a) {
				h.remove(h.a, obj)
			}
		}
	}
	h.remove(h.a, kubetest.Objects(h.t, "{apiVersion: v1, kind: Namespace, metadata: {name: "+namespace+"}}")[0])
}

// copy copies by random rules, and looks whether the guests are still there.
func (h *hotel) copy() {
	conflicts := map[string]string{}
	for _, kind := range []string{"ConfigMap", "Secret", "Service", "Job", "Knot", "Namespace"} {
		if policy := rapid.SampledFrom([]string{"", "source", "target"}).Draw(h.r, "who wins "+kind); policy != "" {
			conflicts[kind] = policy
		}
	}
	o := options(decide.Rules{Copy: spec.Copy{
		Conflicts: conflicts, Include: []spec.Selector{{Namespaces: h.namespaces()}, {Kinds: []string{"CustomResourceDefinition"}, Names: []string{"knots." + h.group}}},
	}})
	var told []outcome.Decision
	o.Tell = func(d outcome.Decision) { told = append(told, d) }
	report, err := objects.Copy(h.t.Context(), h.a, h.b, o)
	if err != nil {
		h.r.Fatal(err)
	}
	h.sum.Created += report.Created
	h.sum.Deleted += report.Deleted
	h.sum.Conflicted += report.Conflicted
	h.settle()
	for name, guest := range h.guests {
		if !h.stays(guest) {
			h.r.Fatalf("%s was deleted by a copy with %v:\n%v", name, conflicts, told)
		}
	}
}

// stays reports whether a guest is there as it came, in a namespace that is.
func (h *hotel) stays(guest *unstructured.Unstructured) bool {
	now, err := h.b.Get(h.t.Context(), guest)
	if err != nil || now == nil || now.GetUID() != guest.GetUID() || now.GetDeletionTimestamp() != nil {
		return false
	}
	if guest.GetNamespace() == "" {
		return true
	}
	namespace := get(h.t, h.b, "{apiVersion: v1, kind: Namespace, metadata: {name: "+guest.GetNamespace()+"}}")
	return namespace != nil && namespace.GetDeletionTimestamp() == nil
}

// settle waits until everything is gone from the other cluster that is being deleted there.
func (h *hotel) settle() {
	refs := "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: knots." + h.group + "}}"
	for _, namespace := range h.namespaces() {
		refs += "\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: " + namespace + "}}"
	}
	for _, ref := range kubetest.Objects(h.t, refs) {
		eventually(h.t, ident.Of(ref)+" is gone", func() bool {
			found, err := h.b.Get(h.t.Context(), ref)
			return err == nil && (found == nil || found.GetDeletionTimestamp() == nil)
		})
	}
}
