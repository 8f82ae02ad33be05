package objects_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
)

// gadgets is a kind of an operator.
const gadgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.NAME.example.com}
spec:
  group: NAME.example.com
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets}
  versions:
    - {name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

// testGone: what is gone from the first cluster goes from the other, if a copy has put it there and nobody has made it his own.
func testGone(t *testing.T, p *clusters) {
	define(t, p.from, p.a, "gone")
	p.from.WriteAs(t, "kubectl-create", `
{apiVersion: v1, kind: Namespace, metadata: {name: gone}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: gone-empty}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: gone-used}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: untouched, namespace: gone}, data: {a: b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: edited, namespace: gone}, data: {a: b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: taken, namespace: gone}, data: {a: b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: excluded, namespace: gone}, data: {a: b}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: gone}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
{apiVersion: gone.example.com/v1, kind: Gadget, metadata: {name: marked, namespace: gone}, spec: {a: b}}
---
{apiVersion: gone.example.com/v1, kind: Gadget, metadata: {name: completed, namespace: gone}, spec: {a: b}}
`)
	p.to.WriteAs(t, "kubectl-create", `
{apiVersion: v1, kind: Namespace, metadata: {name: gone}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: taken, namespace: gone}, data: {a: b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: theirs, namespace: gone}, data: {a: b}}
`)
	selected := within("gone", names("gadgets.gone.example.com"))
	copyAll(t, p.a, p.b, selected)
	p.to.WriteAs(t, "kubectl-edit", "{apiVersion: v1, kind: ConfigMap, metadata: {name: edited, namespace: gone}, data: {b: c}}\n---\n"+
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: guest, namespace: gone-used}, data: {b: c}}")
	p.to.WriteAs(t, "gadget-operator", "{apiVersion: gone.example.com/v1, kind: Gadget, metadata: {name: marked, namespace: gone, finalizers: [example.com/gadget]}}\n---\n"+
		"{apiVersion: gone.example.com/v1, kind: Gadget, metadata: {name: completed, namespace: gone}, spec: {size: 1}}")
	labelled := p.there(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: untouched, namespace: gone}}").GetLabels()
	p.to.WriteAs(t, "kubectl-create", fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: imitation, namespace: gone, labels: {%s: %s, %s: %s}}}",
		manager.OriginLabel, labelled[manager.OriginLabel], manager.CopiedLabel, labelled[manager.CopiedLabel]))

	originals := kubetest.Objects(t, `
{apiVersion: v1, kind: ConfigMap, metadata: {name: untouched, namespace: gone}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: edited, namespace: gone}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: taken, namespace: gone}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: excluded, namespace: gone}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: gone}}
---
{apiVersion: gone.example.com/v1, kind: Gadget, metadata: {name: marked, namespace: gone}}
---
{apiVersion: gone.example.com/v1, kind: Gadget, metadata: {name: completed, namespace: gone}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: gone-empty}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: gone-used}}
`)
	for _, obj := range originals {
		if err := p.a.Delete(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	for _, obj := range originals {
		eventually(t, obj.GetName()+" is gone", func() bool { found, err := p.a.Get(t.Context(), obj); return err == nil && found == nil })
	}
	selected.Exclude = append(selected.Exclude, names("excluded"))
	want := map[string]string{
		"ConfigMap gone/untouched":               "delete its original is gone",
		"Service gone/web":                       "delete its original is gone",
		"Namespace gone-empty":                   "delete its original is gone",
		"gone.example.com/Gadget gone/marked":    "delete its original is gone",
		"ConfigMap gone/edited":                  "conflict its original is gone, and it was changed here since it was copied",
		"gone.example.com/Gadget gone/completed": "conflict its original is gone, and it was changed here since it was copied",
		"Namespace gone-used":                    "conflict its original is gone, and deleting it would delete ConfigMap gone-used/guest, which was not copied",
	}
	o := options(selected)
	o.DryRun = true
	_, decided := p.decidedWith(t, "gone", o)
	covers(t, "a dry run", want, decided)
	p.there(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: untouched, namespace: gone}}")
	report, decided := p.decided(t, "gone", selected)
	covers(t, "decisions", want, decided)
	if report.Deleted != 4 || fault.CodeOf(report.Err()) != fault.Failed {
		t.Errorf("deleted %d, %v", report.Deleted, report.Err())
	}
	for _, name := range []string{"edited", "taken", "theirs", "excluded", "imitation"} {
		p.there(t, "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: gone, name: "+name+"}}")
	}
	if obj := get(t, p.b, "{apiVersion: v1, kind: ConfigMap, metadata: {name: untouched, namespace: gone}}"); obj != nil {
		t.Error("what is gone there is still here")
	}
}

// define writes a definition of gadgets and waits until the cluster serves them.
func define(t *testing.T, in *kubetest.Server, c *kube.Cluster, group string) {
	t.Helper()
	in.WriteAs(t, "kubectl-create", strings.ReplaceAll(gadgets, "NAME", group))
	eventually(t, "gadgets are served", func() bool {
		served, _, err := c.Resources(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range served {
			if r.GroupResource().String() == "gadgets."+group+".example.com" {
				return true
			}
		}
		return false
	})
}

// testNothingElseIsDeleted: whatever people do in both clusters between copies, what they have made in the other one stays, with
// its UID.
func testNothingElseIsDeleted(t *testing.T, p *clusters) {
	for _, s := range []*kubetest.Server{p.from, p.to} {
		s.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: kept}}")
	}
	text := func(name, value string) string {
		return fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: kept}, data: {value: %q}}", name, value)
	}
	selected := within("kept")
	selected.Conflicts = map[string]string{"ConfigMap": "source"} // the rudest way to copy
	theirs := map[string]types.UID{}
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		if round++; round > 8 {
			return // each is slow, as it is real
		}
		for i := range rapid.IntRange(1, 8).Draw(r, "edits") {
			name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(r, "name")
			value := fmt.Sprintf("%d-%d", round, i)
			ref := kubetest.Objects(t, text(name, value))[0]
			switch rapid.SampledFrom([]string{"write", "delete", "make there", "edit there", "copy"}).Draw(r, "what") {
			case "write":
				p.from.WriteAs(t, "kubectl-edit", text(name, value))
			case "delete":
				if err := p.a.Delete(t.Context(), ref); err != nil {
					r.Fatal(err)
				}
			case "make there":
				if found := get(t, p.b, text(name, value)); found == nil {
					p.to.WriteAs(t, "kubectl-create", text(name, value))
					theirs[name] = get(t, p.b, text(name, value)).GetUID()
				}
			case "edit there":
				if found := get(t, p.b, text(name, value)); found != nil {
					p.to.WriteAs(t, "kubectl-edit", text(name, value))
				}
			case "copy":
				if _, decided := p.decided(t, "kept", selected); len(decided) == 0 {
					r.Fatal("nothing was decided")
				}
			}
		}
		p.decided(t, "kept", selected)
		found := map[string]types.UID{}
		for name := range theirs {
			if obj := get(t, p.b, text(name, "")); obj != nil {
				found[name] = obj.GetUID()
			}
		}
		if diff := cmp.Diff(theirs, found); diff != "" {
			r.Fatalf("what people have made there (-want +got):\n%s", diff)
		}
	})
}
