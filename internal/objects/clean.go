package objects

import (
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
)

// keptMetadata is what of an object's metadata its users wrote. Everything else is the old cluster's: identities, times,
// owners. Finalizers go too: their controllers add them again, and without its controller an object with one could never
// be deleted (velero#5580).
var keptMetadata = []string{"name", "namespace", "labels", "annotations"}

// machineAnnotations and machineLabels are written by controllers about the old cluster; by prefix.
var (
	machineAnnotations = []string{
		"kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/", "deprecated.daemonset.template.generation",
		"pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/storage-provisioner",
		"kubernetes.io/service-account.uid", "batch.kubernetes.io/", "endpoints.kubernetes.io/last-change-trigger-time",
		"argocd.argoproj.io/tracking-id",
	}
	// An Argo CD that finds its label on an object it does not know deletes the object (velero#7848).
	machineLabels = []string{kube.OriginLabel, "argocd.argoproj.io/instance", "controller-uid", "batch.kubernetes.io/controller-uid"}
)

// cleaners are what is special about single kinds, by group and kind.
var cleaners = map[string]func(obj, original *unstructured.Unstructured){
	"Namespace":                             func(obj, _ *unstructured.Unstructured) { drop(obj, "spec") },
	"Service":                               cleanService,
	"Secret":                                cleanSecret,
	"ServiceAccount":                        cleanServiceAccount,
	"PersistentVolumeClaim":                 cleanClaim,
	"PersistentVolume":                      cleanVolume,
	"ClusterRole.rbac.authorization.k8s.io": cleanClusterRole,
	"Job.batch":                             cleanJob,
	"CronJob.batch":                         func(obj, _ *unstructured.Unstructured) { withhold(obj) },
	"CustomResourceDefinition.apiextensions.k8s.io":               cleanDefinition,
	"MutatingWebhookConfiguration.admissionregistration.k8s.io":   cleanWebhooks,
	"ValidatingWebhookConfiguration.admissionregistration.k8s.io": cleanWebhooks,
	"APIService.apiregistration.k8s.io":                           cleanAPIService,
}

// clean returns a copy of an object without what belongs to the old cluster.
func clean(original *unstructured.Unstructured) *unstructured.Unstructured {
	obj := original.DeepCopy()
	metadata, _ := obj.Object["metadata"].(map[string]any)
	for field := range metadata {
		if !slices.Contains(keptMetadata, field) {
			delete(metadata, field)
		}
	}
	drop(obj, "status")
	dropPrefixed(obj, machineAnnotations, "metadata", "annotations")
	dropPrefixed(obj, machineLabels, "metadata", "labels")
	drop(obj, "spec", "template", "metadata", "creationTimestamp")
	if special := cleaners[obj.GroupVersionKind().GroupKind().String()]; special != nil {
		special(obj, original)
	}
	return obj
}

// cleanService lets the new cluster give addresses and ports, and keeps what somebody chose. The address of the load
// balancer stays with the old cluster: two Services that claim one address take it from the live one (velero#474).
func cleanService(obj, original *unstructured.Unstructured) {
	if nestedString(obj, "spec", "clusterIP") != "None" {
		drop(obj, "spec", "clusterIP")
		drop(obj, "spec", "clusterIPs")
	}
	drop(obj, "spec", "loadBalancerIP")
	for _, field := range []string{"healthCheckNodePort", "ipFamilies", "ipFamilyPolicy"} {
		if !chosen(original, "f:spec", "f:"+field) {
			drop(obj, "spec", field)
		}
	}
	ports, _, _ := unstructured.NestedSlice(obj.Object, "spec", "ports")
	for _, p := range ports {
		if port, ok := p.(map[string]any); ok && !nodePortChosen(original, port) {
			delete(port, "nodePort")
		}
	}
	if len(ports) > 0 {
		_ = unstructured.SetNestedSlice(obj.Object, ports, "spec", "ports") // the path was read just now
	}
}

// nodePortChosen reports whether somebody named the node port, as opposed to the API server having given it.
func nodePortChosen(original *unstructured.Unstructured, port map[string]any) bool {
	if lastAppliedNodePort(original, port["nodePort"]) {
		return true
	}
	for _, fields := range userFields(original) {
		for key, item := range child(fields, "f:spec", "f:ports") {
			if _, named := asMap(item)["f:nodePort"]; named && itemMatches(key, port) {
				return true
			}
		}
	}
	return false
}

// lastAppliedNodePort looks the port up in what kubectl apply remembers on the object.
func lastAppliedNodePort(original *unstructured.Unstructured, nodePort any) bool {
	var applied struct {
		Spec struct {
			Ports []struct {
				NodePort int64 `json:"nodePort"`
			} `json:"ports"`
		} `json:"spec"`
	}
	text := original.GetAnnotations()["kubectl.kubernetes.io/last-applied-configuration"]
	if text == "" || json.Unmarshal([]byte(text), &applied) != nil {
		return false
	}
	for _, p := range applied.Spec.Ports {
		if p.NodePort != 0 && p.NodePort == nodePort {
			return true
		}
	}
	return false
}

// cleanSecret empties a token that was issued by the old cluster; the new one fills it again.
func cleanSecret(obj, _ *unstructured.Unstructured) {
	if nestedString(obj, "type") == "kubernetes.io/service-account-token" {
		for _, key := range []string{"token", "ca.crt", "namespace"} {
			drop(obj, "data", key)
		}
		if data, _, _ := unstructured.NestedMap(obj.Object, "data"); len(data) == 0 {
			drop(obj, "data")
		}
	}
}

// cleanServiceAccount forgets the tokens that the old cluster made for the account.
func cleanServiceAccount(obj, _ *unstructured.Unstructured) {
	secrets, _, _ := unstructured.NestedSlice(obj.Object, "secrets")
	secrets = slices.DeleteFunc(secrets, func(s any) bool {
		name, _ := asMap(s)["name"].(string)
		return strings.HasPrefix(name, obj.GetName()+"-token-") || strings.HasPrefix(name, obj.GetName()+"-dockercfg-")
	})
	if drop(obj, "secrets"); len(secrets) > 0 {
		_ = unstructured.SetNestedSlice(obj.Object, secrets, "secrets")
	}
}

// cleanClaim lets the new cluster bind the claim to a volume of its own, unless somebody had named one.
func cleanClaim(obj, original *unstructured.Unstructured) {
	if !chosen(original, "f:spec", "f:volumeName") {
		drop(obj, "spec", "volumeName")
	}
	drop(obj, "spec", "dataSource")
	drop(obj, "spec", "dataSourceRef")
}

func cleanVolume(obj, _ *unstructured.Unstructured) {
	drop(obj, "spec", "claimRef", "uid")
	drop(obj, "spec", "claimRef", "resourceVersion")
}

// cleanClusterRole leaves the rules of an aggregated role to the controller that puts them together.
func cleanClusterRole(obj, _ *unstructured.Unstructured) {
	if _, aggregated := obj.Object["aggregationRule"]; aggregated {
		drop(obj, "rules")
	}
}

// cleanJob removes the selector that the controller made, and the labels that go with it.
func cleanJob(obj, _ *unstructured.Unstructured) {
	if manual, _, _ := unstructured.NestedBool(obj.Object, "spec", "manualSelector"); !manual {
		drop(obj, "spec", "selector")
		for _, label := range []string{"controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name"} {
			drop(obj, "spec", "template", "metadata", "labels", label)
			drop(obj, "metadata", "labels", label)
		}
	}
}

// cleanDefinition removes what only old definitions carry and the API server refuses in a new one.
func cleanDefinition(obj, _ *unstructured.Unstructured) {
	if preserve, _, _ := unstructured.NestedBool(obj.Object, "spec", "preserveUnknownFields"); !preserve {
		drop(obj, "spec", "preserveUnknownFields")
	}
	if injected(obj) {
		drop(obj, "spec", "conversion", "webhook", "clientConfig", "caBundle")
	}
}

// cleanWebhooks removes certificates that something in the new cluster injects; the old ones would make it refuse
// everything.
func cleanWebhooks(obj, _ *unstructured.Unstructured) {
	webhooks, _, _ := unstructured.NestedSlice(obj.Object, "webhooks")
	if !injected(obj) || len(webhooks) == 0 {
		return
	}
	for _, w := range webhooks {
		delete(asMap(asMap(w)["clientConfig"]), "caBundle")
	}
	_ = unstructured.SetNestedSlice(obj.Object, webhooks, "webhooks")
}

func cleanAPIService(obj, _ *unstructured.Unstructured) {
	if injected(obj) {
		drop(obj, "spec", "caBundle")
	}
}

// injected reports whether an injector fills in the certificates of an object (cert-manager, OpenShift).
func injected(obj *unstructured.Unstructured) bool {
	for name := range obj.GetAnnotations() {
		if strings.HasPrefix(name, "cert-manager.io/inject-") || strings.HasSuffix(name, "/inject-cabundle") {
			return true
		}
	}
	return false
}

// chosen reports whether somebody other than the cluster's components wrote the field.
func chosen(obj *unstructured.Unstructured, fields ...string) bool {
	for _, set := range userFields(obj) {
		parent := child(set, fields[:len(fields)-1]...)
		if _, ok := parent[fields[len(fields)-1]]; ok {
			return true
		}
	}
	return false
}

// userFields are the fields (FieldsV1) that each manager other than the cluster's components has written.
func userFields(obj *unstructured.Unstructured) []map[string]any {
	var all []map[string]any
	for _, entry := range obj.GetManagedFields() {
		var fields map[string]any
		if kube.IsMachine(entry.Manager) || entry.Subresource != "" || entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		all = append(all, fields)
	}
	return all
}

func drop(obj *unstructured.Unstructured, fields ...string) {
	unstructured.RemoveNestedField(obj.Object, fields...)
}

// dropPrefixed removes the keys of a map that begin with one of the prefixes, and the map when nothing is left of it.
func dropPrefixed(obj *unstructured.Unstructured, prefixes []string, fields ...string) {
	entries, found, _ := unstructured.NestedMap(obj.Object, fields...)
	if !found {
		return
	}
	for key := range entries {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			drop(obj, append(slices.Clone(fields), key)...)
			delete(entries, key)
		}
	}
	if len(entries) == 0 {
		drop(obj, fields...)
	}
}

func nestedString(obj *unstructured.Unstructured, fields ...string) string {
	text, _, _ := unstructured.NestedString(obj.Object, fields...)
	return text
}

func asMap(value any) map[string]any {
	m, _ := value.(map[string]any)
	return m
}

// child walks down nested maps; nil when there is none.
func child(fields map[string]any, path ...string) map[string]any {
	for _, step := range path {
		fields = asMap(fields[step])
	}
	return fields
}
