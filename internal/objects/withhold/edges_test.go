package withhold

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// TestHandOverEdges is what may go on around a hand-over, one thing after the other between two clusters of which a is active at first.
func TestHandOverEdges(t *testing.T) {
	p := newPair(t)
	for _, step := range []struct {
		reason string
		do     func(*testing.T, *pair)
	}{
		{"there must be two clusters", oneCluster},
		{"nothing is touched when an annotation cannot be read", garbled},
		{"a new generation is told that it is on standby", announced},
		{"when nothing was handed over, nothing stops for its undoing", neverBegun},
		{"a hand-over that was overtaken by another stops", overtaken},
		{"what is withheld by a copy meanwhile is released all the same", lateArrival},
		{"what somebody starts again in spite of it is named", contested},
		{"what the rules leave out is left alone", ruledOut},
		{"what changes while it is read is looked at again", underway},
		{"what users have stopped in the one cluster is not started in the other", stoppedByUsers},
		{"without a cluster to hand over from, the other begins", fromNobody},
	} {
		if ok := t.Run(step.reason, func(t *testing.T) { step.do(t, p) }); !ok {
			return
		}
	}
}

func oneCluster(t *testing.T, p *pair) {
	for _, to := range []string{"a", "b"} { // by the same name, and by another one
		side := Side{Cluster: p.direct["a"]}
		if to == "b" {
			side.Cluster = p.gated["a"]
		}
		err := HandOver(t.Context(), Side{Cluster: p.direct["a"]}, side, Options{Progress: t.Logf})
		if fault.CodeOf(err) != fault.Invalid {
			t.Errorf("got %v, want it invalid", err)
		}
	}
}

func garbled(t *testing.T, p *pair) {
	for _, in := range []string{"a", "b"} {
		name := p.get(t, in, "Service shop/front")
		was := name.GetAnnotations()[Annotation]
		p.annotate(t, in, "Service shop/front", `"{}"`)
		err := p.handOver(t, "a", "b")
		if fault.CodeOf(err) != fault.Failed || !strings.Contains(fmt.Sprint(err), "Service shop/front") {
			t.Errorf("in %s: got %v, want the object named", in, err)
		}
		if p.told(t, "a") != nil || Held(p.get(t, "a", "batch/CronJob shop/nightly")) {
			t.Errorf("in %s: something was touched in a", in)
		}
		if was == "" {
			p.annotate(t, in, "Service shop/front", "null")
		} else {
			p.annotate(t, in, "Service shop/front", fmt.Sprintf("%q", was))
		}
	}
}

// annotate writes what is withheld of an object, as JSON.
func (p *pair) annotate(t *testing.T, in, name, value string) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, Annotation, value)
	if _, err := p.direct[in].Patch(t.Context(), p.get(t, in, name), []byte(patch)); err != nil {
		t.Fatal(err)
	}
}

func announced(t *testing.T, p *pair) {
	b := p.direct["b"]
	for _, active := range []string{"a", "else"} { // the second time it knows already
		if err := Announce(t.Context(), b, "b", active); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]any{"generation": "b", "active": "a", "isActive": "false"}, p.told(t, "b")); diff != "" {
			t.Errorf("announced as standby of %s (-want +got):\n%s", active, diff)
		}
	}
	if active, err := Active(t.Context(), p.direct["a"]); err != nil || active {
		t.Errorf("a cluster that was told nothing is active: %t, %v", active, err)
	}
	for _, kind := range []string{"Role", "RoleBinding"} {
		found, err := b.Get(t.Context(), object("rbac.authorization.k8s.io/v1", kind, nil))
		if err != nil || found == nil {
			t.Errorf("the programs in b may not read what they are told: no %s (%v)", kind, err)
		}
	}
}

func neverBegun(t *testing.T, p *pair) {
	p.gate.after = func(r *http.Request) {
		if said := p.told(t, "a"); said != nil && said["isActive"] != "true" {
			t.Errorf("after %s %s: a is told %v", r.Method, r.URL.Path, said)
		}
	}
	if err := p.handOver(t, "b", "a"); err != nil {
		t.Fatal(err)
	}
	p.gate.after = nil
	p.wantActive(t, "turned back before it was handed over", "a", "b")
}

func overtaken(t *testing.T, p *pair) {
	p.gate.after = func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/daemonsets/agent") {
			p.servers["a"].WriteAs(t, "another", `{apiVersion: v1, kind: ConfigMap, metadata: {name: active-generation, namespace: crossfade-system}, data: {handOver: another}}`)
		}
	}
	if err := p.handOver(t, "a", "b"); fault.CodeOf(err) != fault.Locked {
		t.Fatalf("got %v, want it locked", err)
	}
	p.gate.after = nil
	for _, obj := range p.objects {
		if found := p.get(t, "b", ident.Of(obj)); acts(found) && acts(p.get(t, "a", ident.Of(obj))) && slices.Contains(exclusive, ident.Of(obj)) {
			t.Errorf("%s acts in both", ident.Of(obj))
		}
	}
	if err := p.handOver(t, "a", "b"); err != nil {
		t.Fatal(err)
	}
	p.wantActive(t, "begun anew", "b", "a")
}

func lateArrival(t *testing.T, p *pair) {
	late := p.named(t, "batch/CronJob shop/nightly", "late")
	p.gate.after = func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/configmaps/"+Name) && p.told(t, "a")["isActive"] == "true" {
			p.gate.after = nil
			p.create(t, "a", []*unstructured.Unstructured{late})
		}
	}
	if err := p.handOver(t, "b", "a"); err != nil {
		t.Fatal(err)
	}
	found, err := p.direct["a"].Get(t.Context(), late)
	if err != nil || found == nil || Held(found) || field.Bool(found, "spec", "suspend") {
		t.Errorf("in a it is %v (%v), want it to run", found, err)
	}
	p.wantActive(t, "with a late arrival", "a", "b")
}

func contested(t *testing.T, p *pair) {
	p.gate.after = func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/cronjobs/nightly") {
			p.servers["a"].WriteAs(t, "gitops", `{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: shop}, spec: {suspend: false}}`)
		}
	}
	err := p.handOver(t, "a", "b")
	if fault.CodeOf(err) != fault.Refused || !strings.Contains(fmt.Sprint(err), "batch/CronJob shop/nightly") {
		t.Errorf("got %v, want it refused, with the object named", err)
	}
	p.gate.after = nil
	if acts(p.get(t, "b", "batch/CronJob shop/nightly")) {
		t.Error("it acts in b, and somebody starts it in a")
	}
	if err := p.handOver(t, "b", "a"); err != nil {
		t.Fatal(err)
	}
	p.wantActive(t, "undone", "a", "b")
}

func ruledOut(t *testing.T, p *pair) {
	const system = `{apiVersion: batch/v1, kind: CronJob, metadata: {name: system, namespace: kube-system}, spec: {schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}}}`
	owned := fmt.Sprintf(`{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: queue-1, namespace: shop, labels: {crossfade.dev/singleton: "true"},
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: queue, uid: %s, controller: true}]},
  spec: {replicas: 2, selector: {matchLabels: {app: queue}}, template: {metadata: {labels: {app: queue}}, spec: {containers: [{name: c, image: "c:1"}]}}}}`, p.get(t, "a", "apps/Deployment shop/queue").GetUID())
	p.servers["a"].WriteAs(t, "kubectl-create", system+"\n---\n"+owned)
	rules := decide.Rules{Copy: spec.Copy{Exclude: []spec.Selector{{Names: []string{"nightly", "agent"}}}}, Owned: []string{"apps/DaemonSet shop/agent"}}
	if err := p.handOver(t, "a", "b", func(h *handOver) {
		h.from.decide, h.to.decide = decide.New(rules, nil), decide.New(rules, nil)
	}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"batch/CronJob shop/nightly": true, "batch/CronJob kube-system/system": true, "apps/ReplicaSet shop/queue-1": true,
		"apps/Deployment shop/queue": false, "apps/DaemonSet shop/agent": false, // which belongs to a pipeline
	} {
		for _, obj := range append(kubetest.Objects(t, system+"\n---\n"+owned), p.objects...) {
			if ident.Of(obj) != name {
				continue
			}
			found, err := p.direct["a"].Get(t.Context(), obj)
			if err != nil || found == nil || Held(found) == want {
				t.Errorf("%s is left alone in a: %t, want %t (%v)", name, !Held(found), want, err)
			}
		}
	}
	if !Held(p.get(t, "b", "batch/CronJob shop/nightly")) {
		t.Error("what is left out was released in b")
	}
	if err := p.handOver(t, "b", "a"); err != nil {
		t.Fatal(err)
	}
	p.wantActive(t, "and back", "a", "b")
}

func underway(t *testing.T, p *pair) {
	p.servers["a"].WriteAs(t, "kubectl-create", strings.ReplaceAll(p.text(t, "batch/CronJob shop/nightly"), "name: nightly", "name: first"))
	p.gate.after = func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/cronjobs/first") { // nightly is in the same page
			p.gate.after = nil
			p.servers["a"].WriteAs(t, "kubectl-edit", `{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: shop}, spec: {suspend: true}}`)
		}
	}
	for _, sides := range [][2]string{{"a", "b"}, {"b", "a"}} {
		if err := p.handOver(t, sides[0], sides[1]); err != nil {
			t.Fatal(err)
		}
		if acts(p.get(t, "a", "batch/CronJob shop/nightly")) {
			t.Errorf("from %s to %s: what users suspended meanwhile runs", sides[0], sides[1])
		}
	}
	p.servers["a"].WriteAs(t, "kubectl-edit", `{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: shop}, spec: {suspend: false}}`)
}

func stoppedByUsers(t *testing.T, p *pair) {
	p.servers["a"].WriteAs(t, "kubectl-edit", `{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: shop}, spec: {suspend: true}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: queue, namespace: shop}, spec: {replicas: 0}}`)
	for _, sides := range [][2]string{{"a", "b"}, {"b", "a"}} {
		if err := p.handOver(t, sides[0], sides[1]); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"batch/CronJob shop/nightly", "apps/Deployment shop/queue"} {
			if found := p.get(t, sides[1], name); acts(found) || Held(found) {
				t.Errorf("in %s %s acts: %t, is withheld: %t", sides[1], name, acts(found), Held(found))
			}
		}
	}
}

func fromNobody(t *testing.T, p *pair) {
	if Held(p.get(t, "b", "apps/DaemonSet shop/agent")) == false {
		t.Fatal("nothing is withheld in b")
	}
	h, err := newHandOver(t.Context(), Side{}, Side{Cluster: p.direct["b"], Generation: "next"}, Options{Progress: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !acts(p.get(t, "b", "apps/DaemonSet shop/agent")) {
		t.Error("b does not begin")
	}
	if diff := cmp.Diff(map[string]any{"generation": "next", "active": "next", "isActive": "true"}, p.told(t, "b")); diff != "" {
		t.Errorf("b is told (-want +got):\n%s", diff)
	}
}
