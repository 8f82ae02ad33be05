package objects

import (
	"path"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Why an object is not copied, as the report says it.
const (
	skipDeleting   = "is being deleted"
	skipCluster    = "made by the cluster itself"
	skipSystem     = "in a system namespace"
	skipOwned      = "made by a controller for another object"
	skipPipeline   = "belongs to a pipeline"
	skipExcluded   = "excluded by the configuration"
	skipToken      = "a token of the old cluster"
	skipHelm       = "the record of a Helm release"
	skipElection   = "a leader election of the old cluster"
	skipVolume     = "a volume made for a claim"
	skipPod        = "a bare pod"
	skipJob        = "a Job that has finished or may not run twice"
	skipAggregated = "served by the API server itself"
	skipTheirs     = "the other cluster has its own"
)

// IdempotentAnnotation marks a Job that may be started once more in the next generation while it has not finished.
const IdempotentAnnotation = "crossfade.dev/idempotent"

// neverKinds say something about the machinery of one cluster, or are requests to it.
var neverKinds = map[string][]string{
	"":                          {"Node", "Event", "ComponentStatus", "Binding"},
	"events.k8s.io":             {"Event"},
	"coordination.k8s.io":       {"Lease", "LeaseCandidate"},
	"storage.k8s.io":            {"CSINode", "CSIStorageCapacity", "VolumeAttachment"},
	"certificates.k8s.io":       {"CertificateSigningRequest", "PodCertificateRequest"},
	"networking.k8s.io":         {"IPAddress", "ServiceCIDR"},
	"resource.k8s.io":           {"ResourceSlice"},
	"apps":                      {"ControllerRevision"},
	"internal.apiserver.k8s.io": {"StorageVersion"},
	"storagemigration.k8s.io":   {"StorageVersionMigration"},
	"metrics.k8s.io":            {"NodeMetrics", "PodMetrics"},
	"cert-manager.io":           {"CertificateRequest"},
	"acme.cert-manager.io":      {"Order", "Challenge"},
	"cilium.io":                 {"CiliumEndpoint", "CiliumIdentity", "CiliumNode"},
	"crd.projectcalico.org":     {"IPAMBlock", "IPAMHandle", "BlockAffinity", "ClusterInformation"},
	"snapshot.storage.k8s.io":   {"VolumeSnapshot", "VolumeSnapshotContent"}, // snapshots restore these
	"elbv2.k8s.aws":             {"TargetGroupBinding"},
}

// platformKinds usually come with a cluster; one that the other cluster has already is left as it is.
var platformKinds = []string{"StorageClass.storage.k8s.io", "CSIDriver.storage.k8s.io", "IngressClass.networking.k8s.io", "RuntimeClass.node.k8s.io"}

// decider decides what is copied. It is made once for a copy and may be used by many goroutines.
type decider struct {
	rules Rules
	owned map[string]bool
}

func newDecider(rules Rules) *decider {
	owned := make(map[string]bool, len(rules.Owned))
	for _, name := range rules.Owned {
		owned[name] = true
	}
	return &decider{rules: rules, owned: owned}
}

// skipKind says why no object of a kind is copied; empty when some may be.
func (d *decider) skipKind(resource kube.Resource) string {
	if slices.Contains(neverKinds[resource.Group], resource.Kind) {
		return skipCluster
	}
	return ""
}

// skip says why an object is not copied; empty when it is.
func (d *decider) skip(resource kube.Resource, obj *unstructured.Unstructured) string {
	switch {
	case d.skipKind(resource) != "":
		return skipCluster
	case kube.IsSystemNamespace(namespaceOf(resource, obj)):
		return skipSystem
	case obj.GetDeletionTimestamp() != nil:
		return skipDeleting
	case metav1.GetControllerOf(obj) != nil:
		return skipOwned
	case kube.MadeByCluster(obj) || systemNamed(resource, obj):
		return skipCluster
	}
	if reason := skipByKind(resource, obj); reason != "" {
		return reason
	}
	switch {
	case d.owned[ident.Of(obj)] && resource.GroupKind().String() != "Namespace": // see keep
		return skipPipeline
	case !d.ownedBySync(resource):
		return skipPipeline
	case !d.included(resource, obj) || matchesAny(d.rules.Exclude, resource, obj):
		return skipExcluded
	}
	return ""
}

// keep says why an object that is there already in the other cluster stays as it is; empty when it is written.
func (d *decider) keep(resource kube.Resource, obj, existing *unstructured.Unstructured) string {
	switch {
	case existing == nil:
		return ""
	case resource.GroupKind().String() == "Namespace" && d.owned[ident.Of(obj)]:
		return skipPipeline // a pipeline's namespace is made for the objects in it, and then left to the pipeline
	case slices.Contains(platformKinds, resource.GroupKind().String()) && existing.GetLabels()[kube.OriginLabel] == "":
		return skipTheirs
	}
	return ""
}

// namespaceOf is the namespace that an object is in, or is.
func namespaceOf(resource kube.Resource, obj *unstructured.Unstructured) string {
	if resource.GroupKind().String() == "Namespace" {
		return obj.GetName()
	}
	return obj.GetNamespace()
}

// systemNamed recognises the cluster's own objects by their names and labels, for those that somebody has edited.
func systemNamed(resource kube.Resource, obj *unstructured.Unstructured) bool {
	name := obj.GetName()
	switch resource.GroupKind().String() {
	case "Namespace":
		return name == metav1.NamespaceDefault
	case "Service", "Endpoints", "EndpointSlice.discovery.k8s.io":
		return obj.GetNamespace() == metav1.NamespaceDefault && name == "kubernetes"
	case "ConfigMap":
		return name == "kube-root-ca.crt" || name == "openshift-service-ca.crt"
	case "ClusterRole.rbac.authorization.k8s.io", "ClusterRoleBinding.rbac.authorization.k8s.io", "Role.rbac.authorization.k8s.io", "RoleBinding.rbac.authorization.k8s.io":
		return strings.HasPrefix(name, "system:") || obj.GetLabels()["kubernetes.io/bootstrapping"] != "" || strings.HasPrefix(name, "kubeadm:")
	case "PriorityClass.scheduling.k8s.io":
		return strings.HasPrefix(name, "system-")
	}
	return false
}

// skipByKind are the exceptions of single kinds.
func skipByKind(resource kube.Resource, obj *unstructured.Unstructured) string {
	switch resource.GroupKind().String() {
	case "Secret":
		return skipSecret(obj)
	case "ConfigMap", "Endpoints":
		if _, elects := obj.GetAnnotations()["control-plane.alpha.kubernetes.io/leader"]; elects {
			return skipElection
		}
	case "EndpointSlice.discovery.k8s.io":
		if strings.HasSuffix(obj.GetLabels()["endpointslice.kubernetes.io/managed-by"], ".k8s.io") {
			return skipOwned
		}
	case "Pod":
		return skipPod
	case "PersistentVolume":
		if obj.GetAnnotations()["pv.kubernetes.io/provisioned-by"] != "" {
			return skipVolume
		}
	case "Job.batch":
		if finished(obj) || obj.GetAnnotations()[IdempotentAnnotation] != "true" {
			return skipJob
		}
	case "APIService.apiregistration.k8s.io":
		if service, _, _ := unstructured.NestedMap(obj.Object, "spec", "service"); service == nil {
			return skipAggregated
		}
	}
	return ""
}

// skipSecret recognises Secrets that mean something only in the old cluster. A token that somebody asked for with a Secret
// of his own is copied without the token, and issued anew.
func skipSecret(obj *unstructured.Unstructured) string {
	kind, _, _ := unstructured.NestedString(obj.Object, "type")
	account := obj.GetAnnotations()["kubernetes.io/service-account.name"]
	switch {
	case kind == "helm.sh/release.v1":
		return skipHelm
	case kind == "bootstrap.kubernetes.io/token":
		return skipToken
	case kind == "kubernetes.io/service-account-token" && strings.HasPrefix(obj.GetName(), account+"-token-"):
		return skipToken
	case kind == "kubernetes.io/dockercfg" && account != "":
		return skipToken
	}
	return ""
}

func finished(job *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(job.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		condition, ok := c.(map[string]any)
		return ok && condition["status"] == "True" && (condition["type"] == "Complete" || condition["type"] == "Failed")
	})
}

// ownedBySync reports whether the configuration leaves the kind to the copy.
func (d *decider) ownedBySync(resource kube.Resource) bool {
	for kind, owner := range d.rules.Owners {
		if sameKind(kind, resource) && owner != "sync" {
			return false
		}
	}
	return true
}

// included reports whether the configuration asks for the object. A namespace is asked for with the objects in it.
func (d *decider) included(resource kube.Resource, obj *unstructured.Unstructured) bool {
	if len(d.rules.Include) == 0 || matchesAny(d.rules.Include, resource, obj) {
		return true
	}
	return resource.GroupKind().String() == "Namespace" && slices.ContainsFunc(d.rules.Include, func(s spec.Selector) bool {
		return matchName(s.Namespaces, obj.GetName())
	})
}

func matchesAny(selectors []spec.Selector, resource kube.Resource, obj *unstructured.Unstructured) bool {
	return slices.ContainsFunc(selectors, func(s spec.Selector) bool { return matches(s, resource, obj) })
}

// matches reports whether the object matches every field of the selector that is set.
func matches(s spec.Selector, resource kube.Resource, obj *unstructured.Unstructured) bool {
	if !matchName(s.Namespaces, namespaceOf(resource, obj)) || !matchName(s.Names, obj.GetName()) {
		return false
	}
	if len(s.Kinds) > 0 && !slices.ContainsFunc(s.Kinds, func(kind string) bool { return sameKind(kind, resource) }) {
		return false
	}
	for label, value := range s.Labels {
		if got, ok := obj.GetLabels()[label]; !ok || got != value {
			return false
		}
	}
	return true
}

// sameKind compares "Kind" or "Kind.group" with a resource.
func sameKind(kind string, resource kube.Resource) bool {
	return kind == resource.Kind || kind == resource.GroupKind().String()
}

// matchName reports whether one of the shell patterns matches; none matches everything.
func matchName(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}
