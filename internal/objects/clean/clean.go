// Package clean takes from an object what belongs to the cluster it was read from: identities, times, addresses, bindings and
// certificates that another cluster gives by itself. What somebody chose stays; who chose it is read from the object's field
// managers and from what kubectl apply remembers.
package clean

import (
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
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
		"argocd.argoproj.io/tracking-id", "openshift.io/sa.scc.", "cni.projectcalico.org/", "k8s.v1.cni.cncf.io/network-status",
	}
	// An Argo CD that finds its label on an object it does not know deletes the object (velero#7848).
	machineLabels = []string{manager.OriginLabel, manager.CopiedLabel, "argocd.argoproj.io/instance", "controller-uid", "batch.kubernetes.io/controller-uid"}
)

// cleaners are what is special about single kinds, by group and kind.
var cleaners = map[string]func(obj, original *unstructured.Unstructured){
	"Namespace":                             func(obj, _ *unstructured.Unstructured) { field.Drop(obj, "spec") },
	"Pod":                                   cleanPod,
	"Service":                               cleanService,
	"Secret":                                cleanSecret,
	"ServiceAccount":                        cleanServiceAccount,
	"PersistentVolumeClaim":                 cleanClaim,
	"PersistentVolume":                      cleanVolume,
	"ClusterRole.rbac.authorization.k8s.io": cleanClusterRole,
	"Job.batch":                             cleanJob,
	"CustomResourceDefinition.apiextensions.k8s.io":               cleanDefinition,
	"MutatingWebhookConfiguration.admissionregistration.k8s.io":   cleanWebhooks,
	"ValidatingWebhookConfiguration.admissionregistration.k8s.io": cleanWebhooks,
	"APIService.apiregistration.k8s.io":                           cleanAPIService,
}

// Object returns a copy of an object without what belongs to the old cluster.
func Object(original *unstructured.Unstructured) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: make(map[string]any, len(original.Object))}
	for name, value := range original.Object {
		switch name {
		case "metadata":
			obj.Object[name] = written(field.AsMap(value))
		case "status":
		default:
			obj.Object[name] = runtime.DeepCopyJSONValue(value)
		}
	}
	field.DropPrefixed(obj, machineAnnotations, "metadata", "annotations")
	field.DropPrefixed(obj, machineLabels, "metadata", "labels")
	field.Drop(obj, "spec", "template", "metadata", "creationTimestamp")
	if special := cleaners[obj.GroupVersionKind().GroupKind().String()]; special != nil {
		special(obj, original)
	}
	return obj
}

// written is a copy of what its users wrote of an object's metadata.
func written(metadata map[string]any) map[string]any {
	kept := make(map[string]any, len(keptMetadata))
	for _, name := range keptMetadata {
		if value, ok := metadata[name]; ok {
			kept[name] = runtime.DeepCopyJSONValue(value)
		}
	}
	return kept
}

// cleanService lets the new cluster give addresses and ports, and keeps what somebody chose.
func cleanService(obj, original *unstructured.Unstructured) {
	if field.String(obj, "spec", "clusterIP") != "None" {
		field.Drop(obj, "spec", "clusterIP")
		field.Drop(obj, "spec", "clusterIPs")
	}
	for _, name := range []string{"healthCheckNodePort", "ipFamilies", "ipFamilyPolicy"} {
		if !field.Chosen(original, "f:spec", "f:"+name) {
			field.Drop(obj, "spec", name)
		}
	}
	for _, p := range field.List(obj, "spec", "ports") {
		if port := field.AsMap(p); port != nil && !nodePortChosen(original, port) {
			delete(port, "nodePort")
		}
	}
}

// cleanPod removes what the API server and the scheduler put into a pod: its node, its priority, the volume with its token.
func cleanPod(obj, _ *unstructured.Unstructured) {
	for _, name := range []string{"nodeName", "priority", "preemptionPolicy", "overhead", "ephemeralContainers"} {
		field.Drop(obj, "spec", name)
	}
	tokens := tokenVolumes(obj)
	injected := func(item any) bool {
		name, _ := field.AsMap(item)["name"].(string)
		return tokens[name]
	}
	keep(field.Map(obj, "spec"), "volumes", injected)
	for _, kind := range []string{"containers", "initContainers"} {
		for _, c := range field.List(obj, "spec", kind) {
			keep(field.AsMap(c), "volumeMounts", injected)
		}
	}
}

// tokenVolumes are the names of the volumes that the API server gave a pod for its token: kube-api-access-..., and before
// Kubernetes 1.22 one called after the account, ...-token-.... Somebody's own volume of such a name is mounted elsewhere.
func tokenVolumes(pod *unstructured.Unstructured) map[string]bool {
	found := map[string]bool{}
	for _, kind := range []string{"containers", "initContainers"} {
		for _, c := range field.List(pod, "spec", kind) {
			mounts, _ := field.AsMap(c)["volumeMounts"].([]any)
			for _, m := range mounts {
				name, _ := field.AsMap(m)["name"].(string)
				given := strings.HasPrefix(name, "kube-api-access-") || strings.Contains(name, "-token-")
				if given && field.AsMap(m)["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount" {
					found[name] = true
				}
			}
		}
	}
	return found
}

// keep removes the items of a list in a map that are unwanted, and the list when none is left.
func keep(in map[string]any, name string, unwanted func(any) bool) {
	list, _ := in[name].([]any)
	if list = slices.DeleteFunc(list, unwanted); len(list) == 0 {
		delete(in, name)
		return
	}
	in[name] = list
}

// nodePortChosen reports whether somebody named the node port, as opposed to the API server having given it.
func nodePortChosen(original *unstructured.Unstructured, port map[string]any) bool {
	if lastAppliedNodePort(original, port["nodePort"]) {
		return true
	}
	for _, fields := range field.Users(original) {
		for key, item := range field.Child(fields, "f:spec", "f:ports") {
			if _, named := field.AsMap(item)["f:nodePort"]; named && field.ItemMatches(key, port) {
				return true
			}
		}
	}
	return false
}

// itemChosen reports whether somebody put an item into the list at a path of FieldsV1 keys, as opposed to the cluster's components.
func itemChosen(original *unstructured.Unstructured, item map[string]any, path ...string) bool {
	for _, fields := range field.Users(original) {
		for key := range field.Child(fields, path...) {
			if field.ItemMatches(key, item) {
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
	if field.String(obj, "type") == "kubernetes.io/service-account-token" {
		for _, key := range []string{"token", "ca.crt", "namespace"} {
			field.Drop(obj, "data", key)
		}
		if len(field.Map(obj, "data")) == 0 {
			field.Drop(obj, "data")
		}
	}
}

// cleanServiceAccount forgets the tokens that the old cluster made for the account, as opposed to those that somebody listed.
func cleanServiceAccount(obj, original *unstructured.Unstructured) {
	keep(obj.Object, "secrets", func(s any) bool {
		name, _ := field.AsMap(s)["name"].(string)
		made := strings.HasPrefix(name, obj.GetName()+"-token-") || strings.HasPrefix(name, obj.GetName()+"-dockercfg-")
		return made && !itemChosen(original, field.AsMap(s), "f:secrets")
	})
}

// cleanClaim lets the new cluster bind the claim to a volume of its own, unless somebody had named one.
func cleanClaim(obj, original *unstructured.Unstructured) {
	if !field.Chosen(original, "f:spec", "f:volumeName") {
		field.Drop(obj, "spec", "volumeName")
	}
	field.Drop(obj, "spec", "dataSource")
	field.Drop(obj, "spec", "dataSourceRef")
}

func cleanVolume(obj, _ *unstructured.Unstructured) {
	field.Drop(obj, "spec", "claimRef", "uid")
	field.Drop(obj, "spec", "claimRef", "resourceVersion")
}

// cleanClusterRole leaves the rules of an aggregated role to the controller that puts them together.
func cleanClusterRole(obj, _ *unstructured.Unstructured) {
	if _, aggregated := obj.Object["aggregationRule"]; aggregated {
		field.Drop(obj, "rules")
	}
}

// cleanJob removes the selector that the controller made, and the labels that go with it.
func cleanJob(obj, _ *unstructured.Unstructured) {
	if !field.Bool(obj, "spec", "manualSelector") {
		field.Drop(obj, "spec", "selector")
		for _, label := range []string{"controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name"} {
			field.Drop(obj, "spec", "template", "metadata", "labels", label)
			field.Drop(obj, "metadata", "labels", label)
		}
	}
}

// cleanDefinition removes what only old definitions carry and the API server refuses in a new one.
func cleanDefinition(obj, _ *unstructured.Unstructured) {
	if !field.Bool(obj, "spec", "preserveUnknownFields") {
		field.Drop(obj, "spec", "preserveUnknownFields")
	}
	if injected(obj) {
		field.Drop(obj, "spec", "conversion", "webhook", "clientConfig", "caBundle")
	}
}

// cleanWebhooks removes certificates that something in the new cluster injects; the old ones would make it refuse
// everything.
func cleanWebhooks(obj, _ *unstructured.Unstructured) {
	if !injected(obj) {
		return
	}
	for _, w := range field.List(obj, "webhooks") {
		delete(field.AsMap(field.AsMap(w)["clientConfig"]), "caBundle")
	}
}

func cleanAPIService(obj, _ *unstructured.Unstructured) {
	if injected(obj) {
		field.Drop(obj, "spec", "caBundle")
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
