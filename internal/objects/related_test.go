package objects_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// gadget is one with fields that name others by UID; the UIDs are filled in by name.
func gadget(name, fields string) string {
	return "{apiVersion: related.example.com/v1, kind: Gadget, metadata: {name: " + name + ", namespace: related}, spec: {" + fields + "}}"
}

// points makes a reference to another gadget.
func points(name, uid string) string {
	return "target: {apiVersion: related.example.com/v1, kind: Gadget, name: " + name + ", uid: " + uid + "}"
}

// uidOf is the UID of an object in a cluster; "" when it is not there.
func uidOf(t *testing.T, c *kube.Cluster, text string) string {
	t.Helper()
	obj := get(t, c, text)
	if obj == nil {
		return ""
	}
	return string(obj.GetUID())
}

// testRelated: what names others by UID names those of the other cluster after one copy, whatever comes first in the order of names
// and kinds, and whoever could not be written at once.
func testRelated(t *testing.T, p *clusters) {
	define(t, p.from, p.a, "related")
	p.from.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: related}}\n---\n"+gadget("z-last", "a: b")+"\n---\n"+gadget("loop-1", "a: b")+"\n---\n"+gadget("loop-2", "a: b")+
		"\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: late, namespace: related, labels: {counted: 'yes'}}}\n---\n"+gadget("leaving", "a: b"))
	uid := func(name string) string { return uidOf(t, p.a, gadget(name, "")) }
	late := uidOf(t, p.a, "{apiVersion: v1, kind: ConfigMap, metadata: {name: late, namespace: related}}")
	p.from.WriteAs(t, "kubectl-create", strings.Join([]string{
		gadget("a-first", points("z-last", uid("z-last"))), gadget("loop-1", points("loop-2", uid("loop-2"))), gadget("loop-2", points("loop-1", uid("loop-1"))),
		gadget("dangling", points("leaving", uid("leaving"))), gadget("ruled", "parent: {id: "+late+", name: late}"),
		gadget("user", "admin: {kind: Admin, name: anna, uid: '1000'}"),
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: owned, namespace: related, ownerReferences: [{apiVersion: related.example.com/v1, kind: Gadget, name: z-last, uid: " + uid("z-last") + "}]}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: of-late, namespace: related, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: late, uid: " + late + "}]}}",
		"{apiVersion: v1, kind: Service, metadata: {name: marker, namespace: related}, spec: {ports: [{port: 80}]}}",
	}, "\n---\n"))
	if err := p.a.Delete(t.Context(), kubetest.Objects(t, gadget("leaving", ""))[0]); err != nil {
		t.Fatal(err)
	}
	selected := within("related", names("gadgets.related.example.com"))
	selected.References = []spec.Reference{{Kind: "Gadget", Field: "spec.parent.id", To: "ConfigMap", Name: "spec.parent.name"}}
	p.to.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: related}}\n---\n"+refuse("related-late", "related", "object.metadata.name != 'late'"))
	refused := kubetest.Objects(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: late, namespace: related}}")[0]
	p.refused(t, refused, true)
	var once sync.Once
	o := options(selected)
	o.Tell = func(d outcome.Decision) {
		if strings.HasSuffix(d.Object, "Gadget related/user") { // by then what could be written at once has been
			once.Do(func() {
				if err := p.b.Delete(t.Context(), kubetest.Objects(t, refuse("related-late", "", ""))[1]); err != nil {
					t.Error(err)
				}
				p.refused(t, refused, false)
			})
		}
	}
	report, err := objects.Copy(t.Context(), p.a, p.b, o)
	if err != nil || report.Err() != nil {
		t.Fatal(err, report.Err())
	}
	there := func(name string) string { return uidOf(t, p.b, gadget(name, "")) }
	found := map[string]string{}
	for name, path := range map[string][]string{
		"a-first": {"spec", "target", "uid"}, "loop-1": {"spec", "target", "uid"}, "loop-2": {"spec", "target", "uid"}, "dangling": {"spec", "target", "uid"},
		"ruled": {"spec", "parent", "id"}, "user": {"spec", "admin", "uid"},
	} {
		found[name], _, _ = unstructured.NestedString(p.there(t, gadget(name, "")).Object, path...)
	}
	for _, text := range []string{"{apiVersion: v1, kind: ConfigMap, metadata: {name: owned, namespace: related}}", "{apiVersion: v1, kind: Secret, metadata: {name: of-late, namespace: related}}"} {
		obj := p.there(t, text)
		for _, ref := range obj.GetOwnerReferences() {
			found[obj.GetName()] = string(ref.UID)
		}
	}
	lateThere := uidOf(t, p.b, "{apiVersion: v1, kind: ConfigMap, metadata: {name: late, namespace: related}}")
	want := map[string]string{
		"a-first": there("z-last"), "loop-1": there("loop-2"), "loop-2": there("loop-1"), "dangling": "", "ruled": lateThere, "user": "1000",
		"owned": there("z-last"), "of-late": lateThere,
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("UIDs (-want +got):\n%s", diff)
	}
	notes := []string{
		"related.example.com/Gadget related/dangling was copied without related.example.com/Gadget related/leaving, which the other cluster does not have",
		"related.example.com/Gadget related/loop-1 and related.example.com/Gadget related/loop-2 name each other by UID: it was copied first, without",
	}
	slices.Sort(report.Notes)
	if diff := cmp.Diff(notes, report.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	p.settled(t, selected)
}

// refused waits until the other cluster refuses to create an object, or does not refuse it any more. It leaves nothing there.
func (p *clusters) refused(t *testing.T, obj *unstructured.Unstructured, want bool) {
	t.Helper()
	eventually(t, "a policy is in force, or not", func() bool {
		probe := obj.DeepCopy()
		probe.SetLabels(map[string]string{"probe": "yes"})
		created, err := p.b.Create(t.Context(), probe)
		if created != nil {
			if err := p.b.Delete(t.Context(), probe); err != nil {
				t.Fatal(err)
			}
		}
		return (err != nil) == want
	})
}

// refuse is a policy with which a cluster refuses ConfigMaps of a namespace for which an expression (CEL) does not hold.
func refuse(name, namespace, expression string) string {
	return fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [configmaps], operations: [CREATE]}]}
  validations: [{expression: "%[3]s"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s, validationActions: [Deny], matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[2]s}}}}
`, name, namespace, expression)
}
