// Package order says which kinds of objects another cluster must have before which, as a graph whose edges have reasons.
package order

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
)

// after is the graph of kinds: a kind is written after those it needs. Each edge has its reason; kinds that are not in the
// graph need what custom resources need.
var after = map[string][]string{
	"CustomResourceDefinition": nil,
	"Namespace":                nil,

	"PriorityClass": nil,
	"StorageClass":  nil,
	"IngressClass":  nil,
	"RuntimeClass":  nil,

	"VolumeAttributesClass":      nil,
	"PriorityLevelConfiguration": nil,
	"FlowSchema":                 {"PriorityLevelConfiguration"},

	"ServiceAccount": {"Namespace"},
	"ConfigMap":      {"Namespace"},
	"Secret":         {"ServiceAccount"}, // a token Secret without its account is deleted at once
	"LimitRange":     {"Namespace"},      // gives defaults to pods that are created after it
	"ClusterRole":    nil,
	"Role":           {"Namespace"},

	"ClusterRoleBinding": {"ClusterRole", "ServiceAccount"},
	"RoleBinding":        {"Role", "ClusterRole", "ServiceAccount"},

	"PersistentVolume":      {"StorageClass"},
	"PersistentVolumeClaim": {"Namespace", "StorageClass", "VolumeAttributesClass", "PersistentVolume"},
	"Service":               {"Namespace"},
	"NetworkPolicy":         {"Namespace"},

	customResource: {"CustomResourceDefinition", "ConfigMap", "Secret", "RoleBinding", "ClusterRoleBinding"},

	// In force before the objects it counts, a quota refuses them while it is still counting; after the pods, the namespace
	// ends over it (velero#2211, #8100). Between the two only pods meet it, and their controllers try again.
	"ResourceQuota": {"ConfigMap", "Secret", "Service", "PersistentVolumeClaim", "LimitRange"},

	"Deployment":  workloadNeeds,
	"StatefulSet": workloadNeeds,
	"DaemonSet":   workloadNeeds,
	"CronJob":     workloadNeeds,
	"Job":         workloadNeeds,
	"ReplicaSet":  workloadNeeds,
	"Pod":         workloadNeeds,

	"ReplicationController": workloadNeeds,

	"HorizontalPodAutoscaler": {"Deployment", "StatefulSet"},
	"PodDisruptionBudget":     {"Deployment", "StatefulSet"},
	"Ingress":                 {"Service", "Secret", "IngressClass"},

	// A webhook refuses everything until what answers for it runs.
	"APIService":                       allElse,
	"ValidatingAdmissionPolicy":        allElse,
	"ValidatingAdmissionPolicyBinding": {"ValidatingAdmissionPolicy"},
	"MutatingAdmissionPolicy":          allElse,
	"MutatingAdmissionPolicyBinding":   {"MutatingAdmissionPolicy"},
	"MutatingWebhookConfiguration":     allElse,
	"ValidatingWebhookConfiguration":   allElse,
}

// customResource stands for every kind that is not in the graph.
const customResource = "*"

var (
	workloadNeeds = []string{
		"ResourceQuota", "LimitRange", "PersistentVolumeClaim", "ConfigMap", "Secret", "ServiceAccount", "RoleBinding",
		"ClusterRoleBinding", "Service", "NetworkPolicy", "PriorityClass", "RuntimeClass",
	}
	allElse = []string{"Deployment", "StatefulSet", "DaemonSet", "Pod", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress", customResource}
)

// builtIn are the API groups of Kubernetes itself; a kind of another group is a custom resource whatever it is called.
var builtIn = []string{
	"", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps", "autoscaling", "batch",
	"flowcontrol.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io", "scheduling.k8s.io", "storage.k8s.io",
}

// Levels parts resources so that each level needs only those before it. Definitions of kinds are always the first.
func Levels(resources []kube.Resource) [][]kube.Resource {
	byDepth := map[int][]kube.Resource{}
	for _, r := range resources {
		d := depth(nodeOf(r.GroupKind()))
		byDepth[d] = append(byDepth[d], r)
	}
	var ordered [][]kube.Resource
	for _, d := range slices.Sorted(maps.Keys(byDepth)) {
		ordered = append(ordered, byDepth[d])
	}
	return ordered
}

// nodeOf is the node of the graph that a kind stands at.
func nodeOf(kind schema.GroupKind) string {
	if _, known := after[kind.Kind]; known && slices.Contains(builtIn, kind.Group) {
		return kind.Kind
	}
	return customResource
}

// depth is the length of the longest chain of needs.
func depth(node string) int {
	deepest := 0
	for _, need := range after[node] {
		deepest = max(deepest, depth(need)+1)
	}
	return deepest
}
