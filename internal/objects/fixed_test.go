package objects_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// fixed is objects with fields that cannot be changed, before and after somebody has replaced them: VN is v1 and v2.
const fixed = `
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: fixed}, immutable: true, data: {version: VN}}
---
{apiVersion: v1, kind: Secret, metadata: {name: key, namespace: fixed}, immutable: true, data: {version: VNVN}}
---
{apiVersion: v1, kind: Secret, metadata: {name: typed, namespace: fixed}, type: example.com/VN}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: reader, namespace: fixed}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: VN}}
---
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: fixed-gold}, value: VALUE}
---
{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: fixed-fast}, provisioner: example.com/VN}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: fixed}
spec: {selector: {matchLabels: {app: web, version: VN}}, template: {metadata: {labels: {app: web, version: VN}}, spec: {containers: [{name: web, image: "web:1"}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: fixed}
spec:
  serviceName: VN
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: "db:1"}]}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: queue, namespace: fixed}
spec:
  serviceName: queue
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}
  selector: {matchLabels: {app: queue, version: VN}}
  template: {metadata: {labels: {app: queue, version: VN}}, spec: {containers: [{name: queue, image: "queue:1"}]}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: fixed}
spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:VN"}]}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: alone, namespace: fixed}, spec: {containers: [{name: a, image: "a:1", args: [VN]}]}}
`

// headless is Services that change from headless to not, and back.
const headless = `
{apiVersion: v1, kind: Service, metadata: {name: was, namespace: fixed}, spec: {clusterIP: None, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: becomes, namespace: fixed}, spec: {ports: [{port: 80}]}}
`

const headlessAfter = `
{apiVersion: v1, kind: Service, metadata: {name: was, namespace: fixed}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: becomes, namespace: fixed}, spec: {clusterIP: None, ports: [{port: 80}]}}
`

func version(v string) string {
	return strings.NewReplacer("VALUE", map[string]string{"v1": "1000", "v2": "2000"}[v], "VN", v).Replace(fixed)
}

// replace deletes objects and makes them as they are in text, as somebody does who wants to change what cannot be changed.
func (p *clusters) replace(t *testing.T, text string) {
	t.Helper()
	for _, obj := range kubetest.Objects(t, text) {
		if err := p.a.Delete(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
		eventually(t, obj.GetName()+" is gone", func() bool {
			found, err := p.a.Get(t.Context(), obj)
			return err == nil && found == nil
		})
	}
	p.from.WriteAs(t, "kubectl-create", text)
}

// uids are those of the objects of a kind in a namespace of the other cluster, by name.
func (p *clusters) uids(t *testing.T, r schema.GroupVersionResource, namespace string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for obj, err := range p.b.List(t.Context(), r, kube.Query{Namespace: namespace}) {
		if err != nil {
			t.Fatal(err)
		}
		if obj.GetDeletionTimestamp() == nil {
			found[obj.GetName()] = string(obj.GetUID())
		}
	}
	return found
}

var pods, claims = kindsOf[1], kindsOf[2]

// testFixedFields: what cannot be changed is made again, with what belongs to it: pods that fit are adopted, and no claim is ever
// lost.
func testFixedFields(t *testing.T, p *clusters) {
	p.from.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: fixed}}\n---\n"+version("v1")+"---\n"+headless)
	selected := within("fixed", names("fixed-*"))
	copyAll(t, p.a, p.b, selected)
	wanted := []string{"data-db-0", "data-queue-0"}
	eventually(t, "the claims are there, and belong to their sets", func() bool {
		return len(p.uids(t, claims, "fixed")) == 2 && len(p.uids(t, pods, "fixed")) == 4 && p.owner(t, wanted[0]) != "" && p.owner(t, wanted[1]) != ""
	})
	podsBefore, claimsBefore := p.uids(t, pods, "fixed"), p.uids(t, claims, "fixed")

	p.replace(t, version("v2")+"---\n"+headlessAfter)
	report, decided := p.decided(t, "", selected)
	if report.Err() != nil {
		t.Fatalf("%v: %v", report.Err(), report.Failures)
	}
	again := "update deleted and created again"
	covers(t, "decisions", map[string]string{
		"ConfigMap fixed/settings": again, "Secret fixed/key": again, "Secret fixed/typed": again, "Service fixed/was": again, "Service fixed/becomes": again,
		"rbac.authorization.k8s.io/RoleBinding fixed/reader": again, "scheduling.k8s.io/PriorityClass fixed-gold": again,
		"storage.k8s.io/StorageClass fixed-fast": again, "apps/Deployment fixed/web": again, "apps/StatefulSet fixed/db": again,
		"apps/StatefulSet fixed/queue": again, "batch/Job fixed/once": again, "Pod fixed/alone": again,
	}, decided)
	for _, want := range kubetest.Objects(t, version("v2")) {
		found, err := p.b.Get(t.Context(), want)
		if err != nil || found == nil {
			t.Fatalf("%s %s: %v, %v", want.GetKind(), want.GetName(), found, err)
		}
		for _, key := range []string{"data", "spec", "type", "roleRef", "value", "provisioner"} {
			if value, has := want.Object[key]; has && !field.Within(value, found.Object[key]) {
				t.Errorf("%s %s: %s is %v, want %v", want.GetKind(), want.GetName(), key, found.Object[key], value)
			}
		}
	}
	for name, want := range map[string]bool{"was": false, "becomes": true} {
		service := p.there(t, "{apiVersion: v1, kind: Service, metadata: {namespace: fixed, name: "+name+"}}")
		if ip, _, _ := unstructured.NestedString(service.Object, "spec", "clusterIP"); (ip == "None") != want {
			t.Errorf("Service %s: cluster IP %s", name, ip)
		}
	}
	eventually(t, "the sets have their pods and claims again", func() bool {
		return len(p.uids(t, pods, "fixed")) == 4 && p.owner(t, wanted[0]) != "" && p.owner(t, wanted[1]) != ""
	})
	if diff := cmp.Diff(claimsBefore, p.uids(t, claims, "fixed")); diff != "" {
		t.Errorf("claims (-before +after):\n%s", diff)
	}
	podsAfter := p.uids(t, pods, "fixed")
	if podsAfter["db-0"] != podsBefore["db-0"] || podsAfter["queue-0"] == podsBefore["queue-0"] {
		t.Errorf("the pod of db stays, that of queue does not fit any more: %v, then %v", podsBefore, podsAfter)
	}
	p.settled(t, selected)
}

// owner is the UID of what controls a claim of the other cluster, "" for nothing.
func (p *clusters) owner(t *testing.T, claim string) string {
	t.Helper()
	obj := p.there(t, "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {namespace: fixed, name: "+claim+"}}")
	for _, ref := range obj.GetOwnerReferences() {
		return string(ref.UID)
	}
	return ""
}

// testRefused: what holds data, what somebody else has made and what somebody has changed is not deleted to be made again.
func testRefused(t *testing.T, p *clusters) {
	const claim = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: refused}, spec: {accessModes: [MODE], resources: {requests: {storage: 1Gi}}}}"
	const settings = "{apiVersion: v1, kind: ConfigMap, metadata: {name: theirs, namespace: refused}, immutable: true, data: {a: MODE}}"
	const binding = "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: NAME, namespace: refused}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: MODE}}"
	bindings := strings.ReplaceAll(binding, "NAME", "edited") + "\n---\n" + strings.ReplaceAll(binding, "NAME", "marked")
	as := func(mode string, texts ...string) string {
		return strings.ReplaceAll(strings.Join(texts, "\n---\n"), "MODE", mode)
	}
	namespace := "{apiVersion: v1, kind: Namespace, metadata: {name: refused}}"
	p.from.WriteAs(t, "kubectl-create", namespace+"\n---\n"+as("ReadWriteOnce", claim, bindings))
	copyAll(t, p.a, p.b, within("refused"))
	p.to.WriteAs(t, "kubectl-create", as("theirs", settings))
	p.to.WriteAs(t, "kubectl-annotate", "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: edited, namespace: refused, annotations: {why: because}}}")
	p.to.WriteAs(t, "guard-operator", "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: marked, namespace: refused, annotations: {guard.example.com/seen: yes it was}}}")
	before := p.uids(t, claims, "refused")

	p.replace(t, as("ReadWriteMany", claim, bindings, settings))
	selected := within("refused")
	selected.Conflicts = map[string]string{"ConfigMap": "source"}
	_, decided := p.decided(t, "refused", selected)
	covers(t, "decisions", map[string]string{
		"PersistentVolumeClaim refused/data":                   "fail PersistentVolumeClaim refused/data differs in a field that cannot be changed, and is never deleted to be made again",
		"ConfigMap refused/theirs":                             "fail ConfigMap refused/theirs differs in a field that cannot be changed, and was not made by Crossfade",
		"rbac.authorization.k8s.io/RoleBinding refused/edited": "conflict a field that cannot be changed differs, and it was changed here since it was copied",
		"rbac.authorization.k8s.io/RoleBinding refused/marked": "update deleted and created again",
	}, decided)
	if diff := cmp.Diff(before, p.uids(t, claims, "refused")); diff != "" {
		t.Errorf("claims (-before +after):\n%s", diff)
	}
	selected.Conflicts["RoleBinding"] = "source"
	_, decided = p.decided(t, "refused", selected)
	covers(t, "when the source wins", map[string]string{"rbac.authorization.k8s.io/RoleBinding refused/edited": "update deleted and created again"}, decided)
}
