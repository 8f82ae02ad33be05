package decide

import (
	"context"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/recent"
)

// makers are the kinds of Kubernetes itself, with those of the objects that their controllers make for them. They run in every
// cluster.
var makers = map[string][]string{
	"Deployment.apps":       {"ReplicaSet.apps"},
	"ReplicaSet.apps":       {"Pod"},
	"ReplicationController": {"Pod"},
	"StatefulSet.apps":      {"Pod", "ControllerRevision.apps", "PersistentVolumeClaim"},
	"DaemonSet.apps":        {"Pod", "ControllerRevision.apps"},
	"CronJob.batch":         {"Job.batch"},
	"Job.batch":             {"Pod"},
	"Service":               {"EndpointSlice.discovery.k8s.io"},
	"Endpoints":             {"EndpointSlice.discovery.k8s.io"},
	"Node":                  {"Pod"},
	"Pod":                   {"PersistentVolumeClaim", "ResourceClaim.resource.k8s.io"},
}

// rememberedOwners bounds how many answers about owners are kept, and deepest how long a chain of owners is followed.
const (
	rememberedOwners = 16384
	deepest          = 16
)

// OwnersIn looks up the owners of objects of a cluster.
func OwnersIn(c *kube.Cluster) Lookup {
	return func(ctx context.Context, ref metav1.OwnerReference, namespace string) (*unstructured.Unstructured, error) {
		gv, err := schema.ParseGroupVersion(ref.APIVersion)
		if err != nil {
			return nil, nil //nolint:nilerr,nilnil // an owner that cannot exist is none
		}
		return c.Find(ctx, gv.WithKind(ref.Kind).GroupKind(), namespace, ref.Name)
	}
}

// owners finds out whether a controller makes an object. An owner of another kind than makers has a controller that makes the
// object when the two were written by different programs: people and pipelines write an owner and what they put beside it
// themselves, an operator writes only what follows from the owner.
type owners struct {
	lookup Lookup
	known  *recent.Map[types.UID, owner]
	kinds  sync.Map // of schema.GroupKind, that something has named as its controller
}

// owner is what must be known of an owner.
type owner struct {
	writers []string // who wrote its spec
	made    bool     // by a controller, for an owner of its own
	gone    bool
}

func newOwners(lookup Lookup) *owners {
	return &owners{lookup: lookup, known: recent.New[types.UID, owner](rememberedOwners)}
}

// note remembers an object that may own others, so that it need not be looked up for each of them.
func (o *owners) note(obj *unstructured.Unstructured, made bool) {
	if _, owns := o.kinds.Load(obj.GroupVersionKind().GroupKind()); owns {
		o.known.Put(obj.GetUID(), owner{writers: writers(obj), made: made})
	}
}

func (o *owners) controllerMade(ctx context.Context, obj *unstructured.Unstructured, depth int) (bool, error) {
	ref := metav1.GetControllerOf(obj)
	if ref == nil || depth > deepest || KeepsCertificate(obj) {
		return false, nil
	}
	group, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return false, nil //nolint:nilerr // an owner that cannot exist makes nothing
	}
	kind := schema.GroupKind{Group: group.Group, Kind: ref.Kind}
	if slices.Contains(makers[kind.String()], obj.GroupVersionKind().GroupKind().String()) {
		return true, nil
	}
	o.kinds.Store(kind, true)
	above, err := o.of(ctx, *ref, obj.GetNamespace(), depth)
	if err != nil || above.gone {
		return false, err
	}
	if above.made {
		return true, nil
	}
	return !slices.ContainsFunc(writers(obj), func(w string) bool { return byPeople(w) || slices.Contains(above.writers, w) }), nil
}

// tools are the field managers of people and pipelines, by prefix.
var tools = []string{"kubectl", "helm", "Helm", "kustomize", "argocd", "terraform", "Terraform", "pulumi", "before-first-apply", "Mozilla", "crossfade"}

func byPeople(manager string) bool {
	return slices.ContainsFunc(tools, func(prefix string) bool { return strings.HasPrefix(manager, prefix) })
}

// of asks for an owner, or remembers it.
func (o *owners) of(ctx context.Context, ref metav1.OwnerReference, namespace string, depth int) (owner, error) {
	known, ok := o.known.Get(ref.UID)
	if ok {
		return known, nil
	}
	found, err := o.lookup(ctx, ref, namespace)
	if err != nil {
		return owner{}, err
	}
	if found == nil || found.GetUID() != ref.UID {
		known = owner{gone: true}
	} else {
		known.writers = writers(found)
		if known.made, err = o.controllerMade(ctx, found, depth+1); err != nil {
			return owner{}, err
		}
	}
	o.known.Put(ref.UID, known)
	return known, nil
}

// writers are the field managers that wrote something of an object besides its metadata and status; those of its metadata
// when there is nothing else.
func writers(obj *unstructured.Unstructured) []string {
	var body, all []string
	eachWriter(obj, func(manager string, wroteBody bool) {
		all = append(all, manager)
		if wroteBody {
			body = append(body, manager)
		}
	})
	if len(body) == 0 {
		return all
	}
	return body
}

// eachWriter visits the field managers of an object, without the cluster's components and those that wrote a subresource, and says
// whether each wrote more than its metadata and status.
func eachWriter(obj *unstructured.Unstructured, visit func(name string, body bool)) {
	for m := range manager.Of(obj) {
		if m.Subresource != "" || manager.IsMachine(m.Name) || m.Fields == nil {
			continue
		}
		body := false
		for key := range m.Fields {
			body = body || key != "f:metadata" && key != "f:status"
		}
		visit(m.Name, body)
	}
}

// Edited reports whether somebody other than Crossfade has changed an object since it was written: people and pipelines anything of
// it, other programs more than their marks, such as the finalizer of an operator.
func Edited(obj *unstructured.Unstructured) bool {
	edited := false
	eachWriter(obj, func(name string, body bool) {
		edited = edited || name != manager.Crossfade && (body || byPeople(name))
	})
	return edited
}
