package objects_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// wheels defines a kind in some versions, of which the last is stored.
func wheels(group string, versions ...string) string {
	var served []string
	for i, v := range versions {
		served = append(served, fmt.Sprintf("{name: %s, served: true, storage: %t, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}", v, i == len(versions)-1))
	}
	return fmt.Sprintf("{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: wheels.%[1]s.served.example.com}, spec: {group: %[1]s.served.example.com, scope: Namespaced, names: {kind: Wheel, plural: wheels}, versions: [%[2]s]}}",
		group, strings.Join(served, ", "))
}

func wheel(group, version string) string {
	return fmt.Sprintf("{apiVersion: %s.served.example.com/%s, kind: Wheel, metadata: {name: %[1]s, namespace: served}, spec: {size: 1}}", group, version)
}

// testServed: the best version that both clusters serve is used; what there is none for is told before anything is written, with what
// to do; and definitions come with their objects, also when they have changed since they came.
func testServed(t *testing.T, p *clusters) {
	for group, versions := range map[string][]string{"both": {"v1", "v2"}, "split": {"v1"}, "gone": {"v1"}, "comes": {"v1"}, "kept": {"v1"}} {
		p.from.WriteAs(t, "kubectl-create", wheels(group, versions...))
	}
	for group, versions := range map[string][]string{"both": {"v1", "v3"}, "split": {"v2"}} {
		p.to.WriteAs(t, "kubectl-create", wheels(group, versions...))
	}
	p.from.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: served}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: served}}")
	for _, group := range []string{"both", "split", "gone", "comes"} {
		eventually(t, group+" is served", func() bool { _, err := p.a.Get(t.Context(), object(t, wheel(group, "v1"))); return err == nil })
		p.from.WriteAs(t, "kubectl-create", wheel(group, "v1"))
	}
	selected := within("served", names("*.served.example.com"))
	selected.Exclude = append(selected.Exclude, names("wheels.gone.*"))
	var order []string
	o := options(selected)
	o.Tell = func(d outcome.Decision) {
		if d.Action == outcome.Fail || d.Action == outcome.Create {
			order = append(order, string(d.Action))
		}
	}
	report, decided := p.decidedWith(t, "", o)
	covers(t, "decisions", map[string]string{
		"both.served.example.com/Wheel served/both":   "create",
		"split.served.example.com/Wheel served/split": "fail the other cluster serves its kind in v2 only, and this one in v1: convert the objects, or serve one version in both",
		"gone.served.example.com/Wheel served/gone":   "fail the other cluster does not serve its kind: install there what defines it, or leave it out with copy.exclude",
		"comes.served.example.com/Wheel served/comes": "create", "ConfigMap served/settings": "create",
		"apiextensions.k8s.io/CustomResourceDefinition wheels.split.served.example.com": "skip the other cluster has its own",
		"apiextensions.k8s.io/CustomResourceDefinition wheels.comes.served.example.com": "create",
		"apiextensions.k8s.io/CustomResourceDefinition wheels.gone.served.example.com":  "skip excluded by the configuration",
	}, decided)
	if diff := cmp.Diff([]string{"wheels.gone.served.example.com", "wheels.split.served.example.com"}, report.NotServed); diff != "" || fault.CodeOf(report.Err()) != fault.Failed {
		t.Errorf("%v; not served (-want +got):\n%s", report.Err(), diff)
	}
	if len(order) < 2 || order[0] != "fail" || order[1] != "fail" {
		t.Errorf("what cannot be copied is told first: %v", order)
	}

	p.from.WriteAs(t, "kubectl-edit", wheels("comes", "v1", "v2"))
	eventually(t, "the new version is served", func() bool { _, err := p.a.Get(t.Context(), object(t, wheel("comes", "v2"))); return err == nil })
	p.from.WriteAs(t, "kubectl-edit", strings.Replace(wheels("comes", "v1", "v2"), "{name: v1, served: true", "{name: v1, served: false", 1)+"\n---\n"+wheel("comes", "v2"))
	eventually(t, "the old version is not", func() bool {
		served, _, err := p.a.Resources(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range served {
			if r.Group == "comes.served.example.com" {
				return len(r.Versions) == 1 && r.Version == "v2"
			}
		}
		return false
	})
	p.from.WriteAs(t, "kubectl-edit", strings.Replace(wheel("comes", "v2"), "size: 1", "size: 2", 1))
	selected.Exclude = append(selected.Exclude, names("split", "gone"))
	_, decided = p.decided(t, "", selected)
	covers(t, "a definition that has changed", map[string]string{
		"apiextensions.k8s.io/CustomResourceDefinition wheels.comes.served.example.com": "update",
		"comes.served.example.com/Wheel served/comes":                                   "update",
	}, decided)
	p.settled(t, selected)
}
