package objects_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/endpoint"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// live is what the users of a cluster have made.
const live = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop-2}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: coupons.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {kind: Coupon, plural: coupons}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {colour: blue, size: "1"}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop-2}, data: {colour: red}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: of-the-pipeline, namespace: shop}, data: {a: b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: election, namespace: shop, annotations: {control-plane.alpha.kubernetes.io/leader: x}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: key, namespace: shop}, stringData: {password: hunter2}}
---
{apiVersion: v1, kind: Secret, metadata: {name: sh.helm.release.v1.x.v1, namespace: shop}, type: helm.sh/release.v1, stringData: {release: x}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: worker, namespace: shop}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader, namespace: shop}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: worker, namespace: shop}]
---
{apiVersion: v1, kind: ResourceQuota, metadata: {name: limit, namespace: shop}, spec: {hard: {pods: "10"}}}
---
{apiVersion: v1, kind: LimitRange, metadata: {name: limit, namespace: shop}, spec: {limits: [{type: Container, default: {cpu: 100m}}]}}
---
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: gold}, value: 1000}
---
{apiVersion: shop.example.com/v1, kind: Coupon, metadata: {name: ten, namespace: shop}, spec: {percent: 10}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {type: NodePort, selector: {app: web}, ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 81}]}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: shop}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: tool, namespace: shop}
spec:
  selector: {matchLabels: {app: tool}}
  template: {metadata: {labels: {app: tool}}, spec: {containers: [{name: tool, image: "tool:1"}]}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: shop}
spec: {schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: paused, namespace: shop}
spec: {suspend: true, schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: shop}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed, namespace: shop}, spec: {podSelector: {}}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: tool, namespace: shop}, spec: {minAvailable: 1, selector: {matchLabels: {app: tool}}}}
---
{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: tool, namespace: shop}, spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: tool}}}
---
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web, namespace: shop}, spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: guard}
webhooks: [{name: guard.shop.example.com, sideEffects: None, admissionReviewVersions: [v1], failurePolicy: Fail, clientConfig: {service: {name: guard, namespace: shop}}, rules: [{apiGroups: [nothing.example.com], apiVersions: [v1], operations: [CREATE], resources: [things]}]}]
`

func silent(string, ...any) {}

func get(t *testing.T, c *kube.Cluster, text string) *unstructured.Unstructured {
	t.Helper()
	obj, err := c.Get(t.Context(), kubetest.Objects(t, text)[0])
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

func options(rules decide.Rules) objects.Options {
	return objects.Options{Rules: rules, Progress: silent}
}

func copyAll(t *testing.T, a, b *kube.Cluster, rules decide.Rules) outcome.Report {
	t.Helper()
	report, err := objects.Copy(t.Context(), a, b, options(rules))
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Failures) > 0 {
		t.Errorf("failures: %v", report.Failures)
	}
	return report
}

func TestCopy(t *testing.T) {
	from, to := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	a, b := from.Connect(t), to.Connect(t)
	from.WriteAs(t, "kubectl-create", live)
	rules := decide.Rules{Owned: []string{"ConfigMap shop/of-the-pipeline"}}

	first := copyAll(t, a, b, rules)
	if want := 24; first.Copied() != want || first.Unchanged != 0 {
		t.Errorf("copied %d, unchanged %d; want %d and 0", first.Copied(), first.Unchanged, want)
	}
	for reason, want := range map[string]int{
		"belongs to a pipeline": 1, "the record of a Helm release": 1, "a leader election of the old cluster": 1,
	} {
		if got := first.Skipped[reason]; got != want {
			t.Errorf("skipped %d because %q, want %d: %v", got, reason, want, first.Skipped)
		}
	}
	second := copyAll(t, a, b, rules)
	if second.Copied() != 0 || second.Unchanged != first.Copied() {
		t.Errorf("a second copy: copied %d, unchanged %d; want 0 and %d", second.Copied(), second.Unchanged, first.Copied())
	}
	checkPorts(t, b)
	checkCronJobs(t, b)

	from.WriteAs(t, "kubectl-edit", "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {size: null}}")
	third := copyAll(t, a, b, rules)
	settings := get(t, b, "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}}")
	if diff := cmp.Diff(map[string]any{"colour": "blue"}, settings.Object["data"]); diff != "" || third.Copied() != 1 {
		t.Errorf("a key that was removed (copied %d, want 1) (-want +got):\n%s", third.Copied(), diff)
	}
}

func checkPorts(t *testing.T, b *kube.Cluster) {
	t.Helper()
	port, err := endpoint.NodePort(t.Context(), b, "shop", "web", "a")
	if err != nil || port != 30080 {
		t.Errorf("the node port that somebody chose is %d (%v), want 30080", port, err)
	}
}

func checkCronJobs(t *testing.T, b *kube.Cluster) {
	t.Helper()
	for name, want := range map[string]string{"nightly": `{"/spec/suspend":false}`, "paused": ""} {
		job := get(t, b, "{apiVersion: batch/v1, kind: CronJob, metadata: {namespace: shop, name: "+name+"}}")
		suspend, _, _ := unstructured.NestedBool(job.Object, "spec", "suspend")
		if got := job.GetAnnotations()[withhold.Annotation]; !suspend || got != want {
			t.Errorf("CronJob %s: suspended %t, withheld %q; want true and %q", name, suspend, got, want)
		}
	}
}

func TestCopyRules(t *testing.T) {
	from, to := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	a, b := from.Connect(t), to.Connect(t)
	from.WriteAs(t, "kubectl-create", live)
	rules := decide.Rules{Copy: spec.Copy{
		Include: []spec.Selector{{Namespaces: []string{"shop*"}, Kinds: []string{"ConfigMap", "Secret"}}},
		Exclude: []spec.Selector{{Namespaces: []string{"shop-2"}, Names: []string{"set*"}}},
		Owners:  map[string]string{"Secret": "git"},
	}}
	report := copyAll(t, a, b, rules)
	if want := 4; report.Copied() != want { // two namespaces, settings, of-the-pipeline
		t.Errorf("copied %d, want %d: %+v", report.Copied(), want, report)
	}
}

// TestChangedThere: an object that somebody made differently in the other cluster stays so and is reported, and everything else
// arrives; the configuration may say who wins.
func TestChangedThere(t *testing.T) {
	from, to := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	from.WriteAs(t, "kubectl-create", live)
	to.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: shop-2}}\n---\n"+
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop-2}, data: {colour: green}}")
	a, b := from.Connect(t), to.Connect(t)
	colour := func() string {
		text, _, _ := unstructured.NestedString(get(t, b, "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop-2}}").Object, "data", "colour")
		return text
	}
	report, err := objects.Copy(t.Context(), a, b, options(decide.Rules{}))
	if err != nil {
		t.Fatal(err)
	}
	want := []outcome.Problem{{Object: "ConfigMap shop-2/settings", Error: "field .data.colour, set by kubectl-create"}}
	if diff := cmp.Diff(want, report.Conflicts); diff != "" || report.Copied() != 24 || fault.CodeOf(report.Err()) != fault.Failed || colour() != "green" {
		t.Errorf("copied %d, colour %s, %v; conflicts (-want +got):\n%s", report.Copied(), colour(), report.Err(), diff)
	}
	target := decide.Rules{Copy: spec.Copy{Conflicts: map[string]string{"ConfigMap": "target"}}}
	if report := copyAll(t, a, b, target); report.Err() != nil || report.Copied() != 0 || colour() != "green" {
		t.Errorf("with target: copied %d, colour %s, %v", report.Copied(), colour(), report.Err())
	}
	source := decide.Rules{Copy: spec.Copy{Conflicts: map[string]string{"ConfigMap": "source"}}}
	if report := copyAll(t, a, b, source); report.Err() != nil || report.Copied() != 1 || colour() != "red" {
		t.Errorf("with source: copied %d, colour %s, %v", report.Copied(), colour(), report.Err())
	}
	if report := copyAll(t, a, b, decide.Rules{}); report.Err() != nil || report.Copied() != 0 {
		t.Errorf("after that: copied %d, %v", report.Copied(), report.Err())
	}
}

func TestCopyFromFrozen(t *testing.T) {
	from, to := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	from.WriteAs(t, "kubectl-create", live)
	a, b := from.Connect(t), to.Connect(t)
	to.Freeze(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := objects.Copy(ctx, a, b, options(decide.Rules{})); fault.CodeOf(err) != fault.Unavailable || ctx.Err() != nil {
		t.Errorf("want Unavailable in time, got %v", err)
	}
	to.Thaw(t)
	copyAll(t, a, b, decide.Rules{})
}
