package objects_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// oddities are objects at the limits of the API.
func oddities() string {
	long := func(n int) string { return strings.Repeat("long-name.", 30)[:n-1] + "x" }
	label := strings.Repeat("l", 63)
	return strings.Join([]string{
		"{apiVersion: v1, kind: Namespace, metadata: {name: odd}}", "{apiVersion: v1, kind: Namespace, metadata: {name: odd-" + strings.Repeat("n", 59) + "}}",
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: " + long(253) + ", namespace: odd-" + strings.Repeat("n", 59) + ", labels: {" + label + ": " + label + ", example.com/" + label + ": ''}}}",
		"{apiVersion: v1, kind: Service, metadata: {name: s" + strings.Repeat("s", 62) + ", namespace: odd}, spec: {type: ExternalName, externalName: db.example.com}}",
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: text, namespace: odd, annotations: {text: "žluťoučký \u0085\u2028\ufeff\U0001F600\t\n", empty: ""}},
		  data: {yaml: "a: [b\n---\n", empty: "", ctrl: "\x07\x7f", quotes: "\"'\\", number: "1e3", bool: "yes"}, binaryData: {raw: AAECA//+}}`,
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: empty, namespace: odd}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: large, namespace: odd}, data: {a: " + base64.StdEncoding.EncodeToString(make([]byte, 1<<20-2)) + "}}",
		`{apiVersion: odd.example.com/v1, kind: Gadget, metadata: {name: unknown, namespace: odd}, spec: {deep: [{er: [[{x: 1.5}], {}, []]}], none: null, big: 9007199254740993, negative: -1, status: {a: b}, metadata: {uid: mine}},
		  kindly: {apiVersion: x}, data: {ownerReferences: []}}`,
		"{apiVersion: v1, kind: Service, metadata: {name: dual, namespace: odd}, spec: {type: NodePort, ports: [{name: tcp, port: 53, protocol: TCP, nodePort: 30053}, {name: udp, port: 53, protocol: UDP, nodePort: 30053}, {name: other, port: 54}]}}",
		"{apiVersion: v1, kind: Service, metadata: {name: clash, namespace: odd}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30777}]}}",
		"{apiVersion: v1, kind: LimitRange, metadata: {name: limits, namespace: odd}, spec: {limits: [{type: Container, default: {cpu: 500m, memory: 0.5Gi}, defaultRequest: {cpu: '0.1'}}]}}",
		"{apiVersion: v1, kind: Pod, metadata: {name: limited, namespace: odd}, spec: {containers: [{name: a, image: 'a:1'}], terminationGracePeriodSeconds: 0}}",
	}, "\n---\n")
}

// testOdd: what is legal is copied as it is, at whatever limit, and an independent look agrees.
func testOdd(t *testing.T, p *clusters) {
	define(t, p.from, p.a, "odd")
	p.from.WriteAs(t, "kubectl-create", oddities())
	p.to.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: theirs}}\n---\n"+
		"{apiVersion: v1, kind: Service, metadata: {name: first, namespace: theirs}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30777}]}}")
	selected := within("odd", names("gadgets.odd.example.com"))
	report, decided := p.decided(t, "", selected)
	if report.Failed != 1 || !strings.Contains(decided["Service odd/clash"], "provided port is already allocated") {
		t.Errorf("%d failed: %v", report.Failed, report.Failures)
	}
	for _, original := range kubetest.Objects(t, oddities()) {
		if original.GetName() == "clash" {
			continue
		}
		here, err := p.a.Get(t.Context(), original)
		if err != nil {
			t.Fatal(err)
		}
		there, err := p.b.Get(t.Context(), original)
		if err != nil || there == nil {
			t.Errorf("%s %.40s: %v, %v", original.GetKind(), original.GetName(), there, err)
			continue
		}
		if diff := cmp.Diff(bare(here), bare(there)); diff != "" {
			t.Errorf("%s %.40s (-first +other):\n%.2000s", original.GetKind(), original.GetName(), diff)
		}
	}
	dual := p.there(t, "{apiVersion: v1, kind: Service, metadata: {name: dual, namespace: odd}}")
	ports, _, _ := unstructured.NestedSlice(dual.Object, "spec", "ports")
	for i, want := range []int64{30053, 30053} {
		if got, _, _ := unstructured.NestedInt64(ports[i].(map[string]any), "nodePort"); got != want {
			t.Errorf("node port %d is %d, want %d", i, got, want)
		}
	}
	selected.Exclude = append(selected.Exclude, names("clash"))
	p.settled(t, selected)
}

// bare is an object without what is of one cluster: written down here on its own, to check the product's own list.
func bare(obj *unstructured.Unstructured) map[string]any {
	found := obj.DeepCopy().Object
	labels := obj.GetLabels()
	delete(labels, "crossfade.dev/origin")
	delete(labels, "crossfade.dev/copied")
	found["metadata"] = []any{obj.GetName(), obj.GetNamespace(), fmt.Sprint(labels), fmt.Sprint(obj.GetAnnotations())}
	delete(found, "status")
	spec, _ := found["spec"].(map[string]any)
	for _, name := range []string{"clusterIP", "clusterIPs", "volumes"} { // addresses, and the volume of a pod's token
		delete(spec, name)
	}
	ports, _ := spec["ports"].([]any)
	for _, p := range ports {
		delete(p.(map[string]any), "nodePort")
	}
	containers, _ := spec["containers"].([]any)
	for _, c := range containers {
		delete(c.(map[string]any), "volumeMounts")
	}
	return found
}

// testBound: a claim of a disk that somebody has made is bound to that disk in the other cluster, too.
func testBound(t *testing.T, p *clusters) {
	p.from.WriteAs(t, "kubectl-create", `
{apiVersion: v1, kind: Namespace, metadata: {name: bound}}
---
{apiVersion: v1, kind: PersistentVolume, metadata: {name: bound-disk}, spec: {accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, storageClassName: "", persistentVolumeReclaimPolicy: Retain, csi: {driver: d.example.com, volumeHandle: disk-1}}}
---
{apiVersion: v1, kind: PersistentVolume, metadata: {name: bound-reserved}, spec: {accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, storageClassName: "", claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: bound, name: reserved}, csi: {driver: d.example.com, volumeHandle: disk-2}}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: bound}, spec: {accessModes: [ReadWriteOnce], storageClassName: "", volumeName: bound-disk, resources: {requests: {storage: 1Gi}}}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: reserved, namespace: bound}, spec: {accessModes: [ReadWriteOnce], storageClassName: "", resources: {requests: {storage: 1Gi}}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: bound}, imagePullSecrets: [{name: registry}]}
`)
	// disks are the claims of a cluster, with the disk that each is bound to.
	disks := func(get func(string) *unstructured.Unstructured) func() bool {
		return func() bool {
			for name, disk := range map[string]string{"data": "bound-disk", "reserved": "bound-reserved"} {
				claim := get("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {namespace: bound, name: " + name + "}}")
				volume := get("{apiVersion: v1, kind: PersistentVolume, metadata: {name: " + disk + "}}")
				phase, _, _ := unstructured.NestedString(claim.Object, "status", "phase")
				to, _, _ := unstructured.NestedString(claim.Object, "spec", "volumeName")
				of, _, _ := unstructured.NestedString(volume.Object, "spec", "claimRef", "uid")
				if phase != "Bound" || to != disk || of != string(claim.GetUID()) {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "the claims are bound", disks(func(text string) *unstructured.Unstructured { return get(t, p.a, text) }))
	p.to.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: bound}}")
	eventually(t, "the namespace has its account", func() bool {
		return get(t, p.b, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: bound}}") != nil
	})
	selected := within("bound", names("bound-*"))
	_, decided := p.decided(t, "bound", selected)
	covers(t, "decisions", map[string]string{
		"PersistentVolume bound-disk": "create", "PersistentVolume bound-reserved": "create", "PersistentVolumeClaim bound/data": "create",
		"PersistentVolumeClaim bound/reserved": "create", "ServiceAccount bound/default": "update",
	}, decided)
	eventually(t, "the claims are bound in the other cluster, to its volumes", disks(func(text string) *unstructured.Unstructured { return p.there(t, text) }))
	account := p.there(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: bound}}")
	if secrets, _, _ := unstructured.NestedSlice(account.Object, "imagePullSecrets"); len(secrets) != 1 || account.GetLabels()["crossfade.dev/origin"] != "taken" {
		t.Errorf("the account that was there: %v", account.Object)
	}
	p.settled(t, selected)
}

// testScaled: the first cluster says how many pods there are until an autoscaler of the other one does.
func testScaled(t *testing.T, p *clusters) {
	web := func(replicas int, image string) string {
		return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: scaled}, spec: {replicas: %d, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "%s"}]}}}}`, replicas, image)
	}
	p.from.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: scaled}}\n---\n"+web(1, "web:1")+"\n---\n"+
		"{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web, namespace: scaled}, spec: {minReplicas: 1, maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}")
	selected := within("scaled")
	state := func() string {
		obj := p.there(t, web(0, ""))
		n, _, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas")
		containers, _, _ := unstructured.NestedSlice(obj.Object, "spec", "template", "spec", "containers")
		return fmt.Sprint(n, " ", containers[0].(map[string]any)["image"])
	}
	steps := []struct {
		reason string
		do     func()
		want   string
	}{
		{"the live number, which the autoscaler of the first cluster has set", func() { p.scaleTo(t, true, web(0, ""), 3) }, "3 web:1"},
		{"the first cluster goes on to say it", func() { p.scaleTo(t, true, web(0, ""), 4) }, "4 web:1"},
		{"until the other one's autoscaler does", func() { p.scaleTo(t, false, web(0, ""), 6) }, "6 web:1"},
		{"everything else still comes from the first", func() { p.from.WriteAs(t, "kubectl-edit", web(5, "web:2")) }, "6 web:2"},
	}
	for _, step := range steps {
		step.do()
		if report := copyAll(t, p.a, p.b, selected); report.Err() != nil || state() != step.want {
			t.Errorf("%s: %s, want %s (%v)", step.reason, state(), step.want, report.Err())
		}
		p.settled(t, selected)
	}
}

// scaleTo sets the replicas of a workload in one of the clusters as autoscalers do.
func (p *clusters) scaleTo(t *testing.T, first bool, text string, n int) {
	t.Helper()
	c := p.b
	if first {
		c = p.a
	}
	if _, err := c.Patch(t.Context(), object(t, text), fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n), "scale"); err != nil {
		t.Fatal(err)
	}
}

// testCounted: a namespace that its quota just allows arrives whole, with its quota; and what a larger quota makes room for follows.
func testCounted(t *testing.T, p *clusters) {
	quota := func(configs int) string {
		return fmt.Sprintf("{apiVersion: v1, kind: ResourceQuota, metadata: {name: limit, namespace: counted}, spec: {hard: {pods: '2', configmaps: '%d', services: '1', count/deployments.apps: '1'}}}", configs)
	}
	parts := []string{"{apiVersion: v1, kind: Namespace, metadata: {name: counted}}"}
	for i := range 5 {
		parts = append(parts, fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: a-%d, namespace: counted}}", i))
	}
	parts = append(parts, "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: counted}, spec: {ports: [{port: 80}]}}",
		"{apiVersion: v1, kind: Pod, metadata: {name: one, namespace: counted}, spec: {containers: [{name: a, image: 'a:1'}]}}",
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: counted}, spec: {replicas: 3, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "web:1"}]}}}}`,
		quota(6)) // with the one that every namespace has
	p.from.WriteAs(t, "kubectl-create", strings.Join(parts, "\n---\n"))
	selected := within("counted")
	if report := copyAll(t, p.a, p.b, selected); report.Err() != nil || report.Created != len(parts) {
		t.Errorf("%d of %d created: %v", report.Created, len(parts), report.Err())
	}
	p.settled(t, selected)
	eventually(t, "the quota is counted, and not exceeded", func() bool {
		used, _, _ := unstructured.NestedStringMap(p.there(t, quota(6)).Object, "status", "used")
		return used["configmaps"] == "6" && used["pods"] == "2"
	})
	p.from.WriteAs(t, "kubectl-edit", quota(8))
	eventually(t, "the larger quota is in force", func() bool {
		hard, _, _ := unstructured.NestedStringMap(get(t, p.a, quota(8)).Object, "status", "hard")
		return hard["configmaps"] == "8"
	})
	p.from.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: ConfigMap, metadata: {name: b-1, namespace: counted}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: b-2, namespace: counted}}")
	if report := copyAll(t, p.a, p.b, selected); report.Err() != nil || report.Created != 2 {
		t.Errorf("%+v", report)
	}
}
