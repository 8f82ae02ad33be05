// Package decide says of each object whether it is copied to another cluster, or why not. What wrote an object is read from its
// owners and its field managers first; lists of kinds and names are the second choice.
package decide

import (
	"context"
	"path"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Reason is why an object is not copied, as the report says it.
type Reason string

// The reasons.
const (
	None       Reason = "" // it is copied
	Deleting   Reason = "is being deleted"
	Cluster    Reason = "made by the cluster itself"
	System     Reason = "in a system namespace"
	Owned      Reason = "made by a controller for another object"
	Pipeline   Reason = "belongs to a pipeline"
	Backup     Reason = "restored from a backup"
	Target     Reason = "left to the other cluster"
	Excluded   Reason = "excluded by the configuration"
	Unselected Reason = "not selected"
	Token      Reason = "a token of the old cluster"
	Helm       Reason = "the record of a Helm release"
	Election   Reason = "a leader election of the old cluster"
	Volume     Reason = "a volume made for a claim"
	Ended      Reason = "has ended"
	Aggregated Reason = "served by the API server itself"
	Theirs     Reason = "the other cluster has its own"
	Changed    Reason = "left as it was changed in the other cluster"
)

// Rules say what is copied.
type Rules struct {
	spec.Copy
	// Owned names the objects (ident.Of) that belong to a service or to priming.
	Owned []string
	// Only narrows what is copied further; everything unless set. Like Include, it takes a namespace with the objects in it.
	Only []spec.Selector
}

// Policy says who wins where somebody has changed a copied object of a kind: source, target, or nobody unless it is set.
func (r Rules) Policy(obj *unstructured.Unstructured) string {
	if policy := r.Conflicts[obj.GroupVersionKind().GroupKind().String()]; policy != "" {
		return policy
	}
	return r.Conflicts[obj.GetKind()]
}

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
	"cilium.io":                 {"CiliumEndpoint", "CiliumEndpointSlice", "CiliumIdentity", "CiliumNode"},
	"karpenter.sh":              {"NodeClaim"}, // each is a machine of the old cluster
	"machine.openshift.io":      {"Machine"},
	"crd.projectcalico.org":     {"IPAMBlock", "IPAMHandle", "BlockAffinity", "ClusterInformation"},
	"snapshot.storage.k8s.io":   {"VolumeSnapshot", "VolumeSnapshotContent"}, // snapshots restore these
	"elbv2.k8s.aws":             {"TargetGroupBinding"},
}

// platformKinds usually come with a cluster; one that the other cluster has already is left as it is.
var platformKinds = []string{
	"StorageClass.storage.k8s.io", "CSIDriver.storage.k8s.io", "IngressClass.networking.k8s.io", "RuntimeClass.node.k8s.io",
	"CustomResourceDefinition.apiextensions.k8s.io",
}

// Lookup reads the owner that an object names; nil when there is none.
type Lookup func(ctx context.Context, owner metav1.OwnerReference, namespace string) (*unstructured.Unstructured, error)

// Decider decides what is copied. It is made once for a copy and may be used by many goroutines.
type Decider struct {
	rules  Rules
	owned  map[string]bool
	owners *owners
	added  *added
}

// added are objects that are selected in addition, by name.
type added struct {
	lock  sync.RWMutex
	names map[string]bool
}

// New makes a decider. It looks owners up to find out whether a controller makes an object.
func New(rules Rules, lookup Lookup) *Decider {
	owned := make(map[string]bool, len(rules.Owned))
	for _, name := range rules.Owned {
		owned[name] = true
	}
	return &Decider{rules: rules, owned: owned, owners: newOwners(lookup), added: &added{names: map[string]bool{}}}
}

// In decides by the same rules about the objects of another cluster, in which lookup looks owners up. What is added to one is
// added to both.
func (d *Decider) In(lookup Lookup) *Decider {
	return &Decider{rules: d.rules, owned: d.owned, owners: newOwners(lookup), added: d.added}
}

// Kind says why no object of a kind is copied; None when some may be.
func (d *Decider) Kind(resource kube.Resource) Reason {
	if slices.Contains(neverKinds[resource.Group], resource.Kind) {
		return Cluster
	}
	return None
}

// Object says why an object is not copied; None when it is. An error is one of the lookup.
func (d *Decider) Object(ctx context.Context, resource kube.Resource, obj *unstructured.Unstructured) (Reason, error) {
	if reason := d.byItself(resource, obj); reason != None {
		return reason, nil
	}
	made, err := d.owners.controllerMade(ctx, obj, 0)
	if err != nil {
		return None, err
	}
	if d.owners.note(obj, made); made {
		return Owned, nil
	}
	switch {
	case d.owned[ident.Of(obj)] && resource.GroupKind().String() != "Namespace": // see Keep
		return Pipeline, nil
	case d.owner(resource) != None:
		return d.owner(resource), nil
	case MatchesAny(d.rules.Exclude, resource, obj):
		return Excluded, nil
	case !d.included(resource, obj):
		return Unselected, nil
	}
	return None, nil
}

// byItself is what an object shows without a look at others.
func (d *Decider) byItself(resource kube.Resource, obj *unstructured.Unstructured) Reason {
	switch {
	case d.Kind(resource) != None:
		return Cluster
	case kube.IsSystemNamespace(namespaceOf(resource, obj)) && !d.reachesSystem(resource, obj):
		return System
	case obj.GetDeletionTimestamp() != nil:
		return Deleting
	case manager.MadeByCluster(obj) || systemNamed(resource, obj):
		if metav1.GetControllerOf(obj) != nil {
			return Owned
		}
		return Cluster
	}
	return byKind(resource, obj)
}

// reachesSystem reports whether an object of a system namespace is of users all the same: permissions that they have given there, and
// what the rules include by the namespace's own name. Everything else there belongs to how a cluster was built.
func (d *Decider) reachesSystem(resource kube.Resource, obj *unstructured.Unstructured) bool {
	namespace := namespaceOf(resource, obj)
	if namespace == kube.SystemNamespace {
		return false
	}
	return resource.Group == "rbac.authorization.k8s.io" || slices.ContainsFunc(slices.Concat(d.rules.Include, d.rules.Only), func(s spec.Selector) bool {
		return slices.Contains(s.Namespaces, namespace) && matches(s, resource, obj)
	})
}

// Keep says why an object that is there already in the other cluster stays as it is; None when it is written.
func (d *Decider) Keep(resource kube.Resource, obj, existing *unstructured.Unstructured) Reason {
	switch {
	case existing == nil:
		return None
	case resource.GroupKind().String() == "Namespace" && d.owned[ident.Of(obj)]:
		return Pipeline // a pipeline's namespace is made for the objects in it, and then left to the pipeline
	case manager.Origin(existing) != "":
		return None
	case strings.HasPrefix(obj.GetName(), "system:") && resource.Group == "rbac.authorization.k8s.io":
		return Theirs // an addon's, by its name
	case slices.Contains(platformKinds, resource.GroupKind().String()) || kube.IsSystemNamespace(namespaceOf(resource, obj)):
		return Theirs
	}
	return None
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
	case "ServiceAccount":
		return name == "default" && asMade(obj)
	case "ClusterRole.rbac.authorization.k8s.io", "ClusterRoleBinding.rbac.authorization.k8s.io", "Role.rbac.authorization.k8s.io", "RoleBinding.rbac.authorization.k8s.io":
		return obj.GetLabels()["kubernetes.io/bootstrapping"] != "" || strings.HasPrefix(name, "kubeadm:")
	case "PriorityClass.scheduling.k8s.io":
		return strings.HasPrefix(name, "system-")
	}
	return false
}

// asMade reports whether the account that every namespace gets is as it was made: then it has no field that could tell who made it.
func asMade(account *unstructured.Unstructured) bool {
	_, pulls := account.Object["imagePullSecrets"]
	return !pulls && len(account.GetLabels())+len(account.GetAnnotations())+len(field.Users(account)) == 0
}

// byKind are the exceptions of single kinds.
func byKind(resource kube.Resource, obj *unstructured.Unstructured) Reason {
	switch resource.GroupKind().String() {
	case "Secret":
		return secret(obj)
	case "ConfigMap", "Endpoints":
		if _, elects := obj.GetAnnotations()["control-plane.alpha.kubernetes.io/leader"]; elects {
			return Election
		}
	case "EndpointSlice.discovery.k8s.io":
		if strings.HasSuffix(obj.GetLabels()["endpointslice.kubernetes.io/managed-by"], ".k8s.io") {
			return Owned
		}
	case "Pod":
		if _, mirror := obj.GetAnnotations()["kubernetes.io/config.mirror"]; mirror {
			return Cluster
		}
		if phase := field.String(obj, "status", "phase"); phase == "Succeeded" || phase == "Failed" {
			return Ended
		}
	case "PersistentVolume":
		if obj.GetAnnotations()["pv.kubernetes.io/provisioned-by"] != "" {
			return Volume
		}
	case "Job.batch":
		if finished(obj) {
			return Ended
		}
	case "APIService.apiregistration.k8s.io":
		if field.Map(obj, "spec", "service") == nil {
			return Aggregated
		}
	}
	return None
}

// secret recognises Secrets that mean something only in the old cluster. A token that somebody asked for with a Secret
// of his own, whatever its name, is copied without the token, and issued anew.
func secret(obj *unstructured.Unstructured) Reason {
	kind := field.String(obj, "type")
	account := obj.GetAnnotations()["kubernetes.io/service-account.name"]
	switch {
	case isWebhookAuthority(obj):
		return Owned
	case kind == "helm.sh/release.v1":
		return Helm
	case kind == "bootstrap.kubernetes.io/token":
		return Token
	case kind == "kubernetes.io/service-account-token" && strings.HasPrefix(obj.GetName(), account+"-token-") && !field.Chosen(obj, "f:type"):
		return Token
	case kind == "kubernetes.io/dockercfg" && account != "":
		return Token
	}
	return None
}

func finished(job *unstructured.Unstructured) bool {
	return slices.ContainsFunc(field.List(job, "status", "conditions"), func(c any) bool {
		condition, ok := c.(map[string]any)
		return ok && condition["status"] == "True" && (condition["type"] == "Complete" || condition["type"] == "Failed")
	})
}

// byOwner are the reasons not to copy a kind, by who owns it; sync has none.
var byOwner = map[string]Reason{"git": Pipeline, "backup": Backup, "target": Target}

// owner is who owns a kind according to the configuration; None when it is left to the copy. A kind named with its group goes before
// the bare one.
func (d *Decider) owner(resource kube.Resource) Reason {
	if owner, named := d.rules.Owners[resource.GroupKind().String()]; named {
		return byOwner[owner]
	}
	return byOwner[d.rules.Owners[resource.Kind]]
}

// Asked reports whether the rules ask for an object, whatever else may speak against copying it.
func (d *Decider) Asked(resource kube.Resource, obj *unstructured.Unstructured) bool {
	return d.included(resource, obj) && !MatchesAny(d.rules.Exclude, resource, obj)
}

// included reports whether the configuration, and what narrows it, ask for the object.
func (d *Decider) included(resource kube.Resource, obj *unstructured.Unstructured) bool {
	return asked(d.rules.Include, resource, obj) && asked(d.rules.Only, resource, obj) || d.isAdded(obj)
}

// asked reports whether selectors ask for the object; none ask for everything. A namespace is asked for with the objects in it.
func asked(selectors []spec.Selector, resource kube.Resource, obj *unstructured.Unstructured) bool {
	if len(selectors) == 0 {
		return true
	}
	if resource.GroupKind().String() != "Namespace" {
		return MatchesAny(selectors, resource, obj)
	}
	return slices.ContainsFunc(selectors, func(s spec.Selector) bool {
		return len(s.Namespaces) > 0 && matchName(s.Namespaces, obj.GetName()) || matches(s, resource, obj) && len(s.Kinds)+len(s.Labels) > 0
	})
}

// Add selects one more object, because selected ones refer to it. What is left out for another reason stays so.
func (d *Decider) Add(obj *unstructured.Unstructured) {
	d.added.lock.Lock()
	defer d.added.lock.Unlock()
	d.added.names[ident.Of(obj)] = true
}

func (d *Decider) isAdded(obj *unstructured.Unstructured) bool {
	d.added.lock.RLock()
	defer d.added.lock.RUnlock()
	return len(d.added.names) > 0 && d.added.names[ident.Of(obj)]
}

// MatchesAny reports whether one of the selectors chooses the object.
func MatchesAny(selectors []spec.Selector, resource kube.Resource, obj *unstructured.Unstructured) bool {
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

// MadeBySomebody reports whether an object is of people or their programs, rather than of a cluster and its controllers. That it would not
// be copied, as the record of a Helm release or a Job that has ended, does not make it anybody else's.
func MadeBySomebody(resource kube.Resource, obj *unstructured.Unstructured) bool {
	switch (&Decider{}).byItself(resource, obj) {
	case None, Helm, Ended:
		return metav1.GetControllerOf(obj) == nil
	default:
		return false
	}
}
