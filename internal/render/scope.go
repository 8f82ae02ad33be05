package render

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// clusterKinds are the kinds of Kubernetes itself that live outside namespaces, by group. (The API's own list, v1.36.)
var clusterKinds = map[string][]string{
	"":                             {"Namespace", "Node", "PersistentVolume", "ComponentStatus"},
	"admissionregistration.k8s.io": {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration"},
	"apiextensions.k8s.io":         {"CustomResourceDefinition"},
	"apiregistration.k8s.io":       {"APIService"},
	"certificates.k8s.io":          {"CertificateSigningRequest", "ClusterTrustBundle"},
	"flowcontrol.apiserver.k8s.io": {"FlowSchema", "PriorityLevelConfiguration"},
	"networking.k8s.io":            {"IngressClass", "IPAddress", "ServiceCIDR"},
	"node.k8s.io":                  {"RuntimeClass"},
	"rbac.authorization.k8s.io":    {"ClusterRole", "ClusterRoleBinding"},
	"resource.k8s.io":              {"DeviceClass", "DeviceTaintRule", "ResourceSlice"},
	"scheduling.k8s.io":            {"PriorityClass"},
	"storage.k8s.io":               {"CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"},
	"gateway.networking.k8s.io":    {"GatewayClass"},
	"cert-manager.io":              {"ClusterIssuer"},
	"external-secrets.io":          {"ClusterExternalSecret", "ClusterSecretStore"},
	"snapshot.storage.k8s.io":      {"VolumeSnapshotClass", "VolumeSnapshotContent"},
}

// setNamespaces gives the namespace to objects that name none and are not known to live outside namespaces: known from
// the API, or from a definition among the objects. What is guessed wrong for an unknown kind is put right when the object
// is applied, where the cluster knows the scope.
func setNamespaces(objs []*unstructured.Unstructured, namespace string) {
	if namespace == "" {
		namespace = "default"
	}
	defined := definedScopes(objs)
	for _, obj := range objs {
		kind := obj.GroupVersionKind().GroupKind()
		if scope, ok := defined[kind.String()]; ok && scope == "Cluster" || slices.Contains(clusterKinds[kind.Group], kind.Kind) {
			obj.SetNamespace("")
		} else if obj.GetNamespace() == "" {
			obj.SetNamespace(namespace)
		}
	}
}

// definedScopes returns the scope of the kinds that definitions among the objects define.
func definedScopes(objs []*unstructured.Unstructured) map[string]string {
	scopes := map[string]string{}
	for _, obj := range objs {
		if obj.GetKind() != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(obj.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "kind")
		scope, _, _ := unstructured.NestedString(obj.Object, "spec", "scope")
		scopes[kind+"."+group] = scope
	}
	return scopes
}
