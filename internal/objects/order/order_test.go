package order

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/refer"
)

func TestLevels(t *testing.T) {
	resource := func(group, kind string) kube.Resource {
		return kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: group, Resource: kind}, Kind: kind}
	}
	all := []kube.Resource{
		resource("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"), resource("apps", "Deployment"), resource("", "Service"),
		resource("", "Secret"), resource("", "ServiceAccount"), resource("", "Namespace"), resource("apiextensions.k8s.io", "CustomResourceDefinition"),
		resource("", "ResourceQuota"), resource("example.com", "Service"), resource("autoscaling", "HorizontalPodAutoscaler"), resource("example.com", "Coupon"),
		resource("cert-manager.io", "Certificate"), resource("cert-manager.io", "ClusterIssuer"), resource("networking.k8s.io", "Ingress"),
		resource("", "Pod"), resource("flowcontrol.apiserver.k8s.io", "FlowSchema"), resource("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
		resource("admissionregistration.k8s.io", "MutatingAdmissionPolicy"), resource("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
	}
	position := map[string]int{}
	for i, level := range Levels(all) {
		for _, r := range level {
			position[r.GroupKind().String()] = i
		}
	}
	for _, pair := range [][2]string{
		{"CustomResourceDefinition.apiextensions.k8s.io", "Coupon.example.com"},
		{"Namespace", "ServiceAccount"},
		{"ServiceAccount", "Secret"},
		{"Secret", "Coupon.example.com"},
		{"Secret", "Deployment.apps"},
		{"CustomResourceDefinition.apiextensions.k8s.io", "Certificate.cert-manager.io"},
		{"Secret", "Certificate.cert-manager.io"},
		{"Secret", "ClusterIssuer.cert-manager.io"},
		{"Secret", "Ingress.networking.k8s.io"},
		{"Service", "ResourceQuota"},
		{"ResourceQuota", "Deployment.apps"},
		{"Deployment.apps", "HorizontalPodAutoscaler.autoscaling"},
		{"HorizontalPodAutoscaler.autoscaling", "ValidatingWebhookConfiguration.admissionregistration.k8s.io"},
		{"CustomResourceDefinition.apiextensions.k8s.io", "Service.example.com"},
		{"Pod", "ResourceQuota"},
		{"Pod", "ValidatingWebhookConfiguration.admissionregistration.k8s.io"},
		{"PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io", "FlowSchema.flowcontrol.apiserver.k8s.io"},
		{"Deployment.apps", "MutatingAdmissionPolicy.admissionregistration.k8s.io"},
		{"MutatingAdmissionPolicy.admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding.admissionregistration.k8s.io"},
	} {
		if position[pair[0]] >= position[pair[1]] {
			t.Errorf("%s is at level %d, %s at %d", pair[0], position[pair[0]], pair[1], position[pair[1]])
		}
	}
}

// referrers are objects of every kind that refers to others, each with all that it can refer to.
const referrers = `
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: n1}, spec: {serviceAccountName: a, priorityClassName: a, runtimeClassName: a, imagePullSecrets: [{name: a}],
  volumes: [{configMap: {name: a}}, {persistentVolumeClaim: {claimName: a}}, {ephemeral: {volumeClaimTemplate: {spec: {storageClassName: a, volumeAttributesClassName: a}}}}]}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a, namespace: n1}, spec: {serviceName: a, template: {spec: {serviceAccountName: a, priorityClassName: a, imagePullSecrets: [{name: a}], volumes: [{configMap: {name: a}}, {persistentVolumeClaim: {claimName: a}}]}},
  volumeClaimTemplates: [{spec: {storageClassName: a}}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: n1}, spec: {template: {spec: {serviceAccountName: a, runtimeClassName: a, imagePullSecrets: [{name: a}]}}}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: a, namespace: n1}, spec: {jobTemplate: {spec: {template: {spec: {serviceAccountName: a, imagePullSecrets: [{name: a}]}}}}}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a, namespace: n1, managedFields: [{manager: kubectl, operation: Update, fieldsV1: {'f:spec': {'f:volumeName': {}}}}]}, spec: {storageClassName: a, volumeAttributesClassName: a, volumeName: a}}
---
{apiVersion: v1, kind: PersistentVolume, metadata: {name: a}, spec: {storageClassName: a}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: a, namespace: n1}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: a}, subjects: [{kind: ServiceAccount, name: a}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: a}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: a}, subjects: [{kind: ServiceAccount, name: a, namespace: n1}]}
---
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a, namespace: n1}, spec: {ingressClassName: a, tls: [{secretName: a}], defaultBackend: {service: {name: a}}}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a, namespace: n1}, spec: {rules: [{backendRefs: [{name: a}, {kind: Secret, name: a}]}]}}
---
{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a, namespace: n1}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: a}}}
---
{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}, spec: {service: {name: a, namespace: n1}}}
---
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: a}, webhooks: [{clientConfig: {service: {name: a, namespace: n1}}}]}
---
{apiVersion: example.com/v1, kind: Thing, metadata: {name: a, namespace: n1}}
`

// TestReferencesComeFirst: no kind is written before one that its objects refer to.
func TestReferencesComeFirst(t *testing.T) {
	for _, obj := range kubetest.Objects(t, referrers) {
		kind := obj.GroupVersionKind().GroupKind()
		r := kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: kind.Group, Resource: "things"}, Kind: kind.Kind}
		refs := refer.Of(r, obj)
		if len(refs) == 0 {
			t.Errorf("%s refers to nothing", kind)
		}
		for _, ref := range refs {
			if depth(nodeOf(ref.Kind)) >= depth(nodeOf(kind)) {
				t.Errorf("%s is written with or before %s, to which it refers", kind, ref.Kind)
			}
		}
	}
}

// TestNeedsAreKinds: what a kind needs is a kind of the graph, and nothing needs itself.
func TestNeedsAreKinds(t *testing.T) {
	for kind, needs := range after {
		for _, need := range needs {
			if _, known := after[need]; !known || depth(need) >= depth(kind) {
				t.Errorf("%s needs %s", kind, need)
			}
		}
	}
}

// TestLevelsKeepEverything: whatever a cluster serves, each resource is in one level, and its level does not depend on the others.
func TestLevelsKeepEverything(t *testing.T) {
	kinds := []schema.GroupKind{{Group: "example.com", Kind: "Deployment"}, {Group: "metrics.k8s.io", Kind: "Thing"}, {Kind: "Endpoints"}}
	for kind := range after {
		for _, group := range []string{"", "apps", "example.com"} {
			kinds = append(kinds, schema.GroupKind{Group: group, Kind: kind})
		}
	}
	slices.SortFunc(kinds, func(a, b schema.GroupKind) int {
		return slices.Compare([]string{a.Group, a.Kind}, []string{b.Group, b.Kind})
	})
	rapid.Check(t, func(r *rapid.T) {
		var all []kube.Resource
		for _, kind := range rapid.SliceOfDistinct(rapid.SampledFrom(kinds), rapid.ID[schema.GroupKind]).Draw(r, "kinds") {
			all = append(all, kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: kind.Group}, Kind: kind.Kind})
		}
		var found []kube.Resource
		last := -1
		for _, level := range Levels(all) {
			here := depth(nodeOf(level[0].GroupKind()))
			if here <= last {
				r.Fatalf("level %d comes after level %d", here, last)
			}
			last = here
			for _, resource := range level {
				if depth(nodeOf(resource.GroupKind())) != here {
					r.Fatalf("%s is at level %d", resource.GroupKind(), here)
				}
			}
			found = append(found, level...)
		}
		byName := func(a, b kube.Resource) int {
			return slices.Compare([]string{a.Group, a.Kind}, []string{b.Group, b.Kind})
		}
		slices.SortFunc(all, byName)
		slices.SortFunc(found, byName)
		if diff := cmp.Diff(all, found, cmp.AllowUnexported(kube.Resource{})); diff != "" {
			r.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
