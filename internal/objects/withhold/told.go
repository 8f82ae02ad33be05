package withhold

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// Name is that of the ConfigMap and of the Lease in crossfade-system by which each cluster is told which generation is the active one,
// and of the Role that lets every program in the cluster read them.
const Name = "active-generation"

// The keys of the ConfigMap. The holder of the Lease is the active generation too; it has none while there is none.
const (
	ownKey      = "generation" // the generation of this cluster
	activeKey   = "active"     // the generation that acts; empty during a hand-over
	isActiveKey = "isActive"   // whether it is this cluster's: "true" or "false"
	handOverKey = "handOver"   // which hand-over is under way; absent when none is
)

// told is what a cluster is told.
type told struct {
	own, active string
	isActive    bool
	handOver    string
}

// Active reports whether a cluster is told that its generation is the active one. One that nothing was told yet is not.
func Active(ctx context.Context, c *kube.Cluster) (bool, error) {
	t, _, err := read(ctx, c)
	return t.isActive, err
}

// Standby is objects as they are in a cluster now: with what would act on the world outside withheld, unless the cluster is active.
func Standby(ctx context.Context, c *kube.Cluster, objs []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	active, err := Active(ctx, c)
	if err != nil || active {
		return objs, err
	}
	return All(ctx, objs, c.Find)
}

// ActiveGeneration is the generation that a cluster is told is active; "" for none, or when nothing was told yet.
func ActiveGeneration(ctx context.Context, c *kube.Cluster) (string, error) {
	t, _, err := read(ctx, c)
	return t.active, err
}

// Announce tells the cluster of a new generation which one it is, and that another is active; "" for none. A cluster that knows already
// which generation it is hears nothing new. It may be called again.
func Announce(ctx context.Context, c *kube.Cluster, generation, active string) error {
	now, found, err := read(ctx, c)
	if err != nil || found && now.own == generation {
		return err
	}
	if err := furnish(ctx, c); err != nil {
		return err
	}
	return tell(ctx, c, told{own: generation, active: active, isActive: generation == active})
}

// read returns what a cluster was told, and whether it was told anything.
func read(ctx context.Context, c *kube.Cluster) (t told, found bool, err error) {
	obj, err := c.Get(ctx, object("v1", "ConfigMap", nil))
	if err != nil || obj == nil {
		return told{}, false, err
	}
	return told{
		own: field.String(obj, "data", ownKey), active: field.String(obj, "data", activeKey),
		isActive: field.String(obj, "data", isActiveKey) == "true", handOver: field.String(obj, "data", handOverKey),
	}, true, nil
}

// tell writes what a cluster shall know. It may be stopped anywhere and called again: the ConfigMap, which decides, comes first where
// the generation stops being active, and last where it begins to be.
func tell(ctx context.Context, c *kube.Cluster, t told) error {
	steps := []func() error{
		func() error { return tellMap(ctx, c, t) },
		func() error { return tellLease(ctx, c, t.active) },
	}
	if t.isActive {
		steps[0], steps[1] = steps[1], steps[0]
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func tellMap(ctx context.Context, c *kube.Cluster, t told) error {
	data := map[string]any{ownKey: t.own, activeKey: t.active, isActiveKey: strconv.FormatBool(t.isActive), handOverKey: nil}
	if t.handOver != "" {
		data[handOverKey] = t.handOver
	}
	return write(ctx, c, object("v1", "ConfigMap", map[string]any{"data": data}))
}

// tellLease makes a generation the holder of the Lease; nobody for "". The Lease has no duration: it is handed over, and never runs out.
func tellLease(ctx context.Context, c *kube.Cluster, active string) error {
	lease, err := c.Get(ctx, object("coordination.k8s.io/v1", "Lease", nil))
	if err != nil {
		return err
	}
	spec := map[string]any{"holderIdentity": nil, "acquireTime": nil, "renewTime": nil}
	if active != "" {
		now := time.Now().UTC().Format(metav1.RFC3339Micro)
		spec = map[string]any{"holderIdentity": active, "acquireTime": now, "renewTime": now}
	}
	if lease != nil {
		holder := field.String(lease, "spec", "holderIdentity")
		if holder == active {
			return nil
		}
		transitions, _, _ := unstructured.NestedInt64(lease.Object, "spec", "leaseTransitions")
		if active != "" {
			spec["leaseTransitions"] = transitions + 1
		}
	}
	return write(ctx, c, object("coordination.k8s.io/v1", "Lease", map[string]any{"spec": spec}))
}

// furnish makes what the ConfigMap and the Lease need: their namespace, and the right of every account of the cluster to read them.
func furnish(ctx context.Context, c *kube.Cluster) error {
	verbs := []any{"get", "list", "watch"}
	rule := func(group, resource string) any {
		return map[string]any{"apiGroups": []any{group}, "resources": []any{resource}, "resourceNames": []any{Name}, "verbs": verbs}
	}
	namespace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": kube.SystemNamespace},
	}}
	for _, obj := range []*unstructured.Unstructured{
		namespace,
		object("rbac.authorization.k8s.io/v1", "Role", map[string]any{
			"rules": []any{rule("", "configmaps"), rule("coordination.k8s.io", "leases")},
		}),
		object("rbac.authorization.k8s.io/v1", "RoleBinding", map[string]any{
			"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": Name},
			"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts"}},
		}),
	} {
		if _, err := c.Create(ctx, obj); err != nil {
			return err
		}
	}
	return nil
}

// object is one of the objects by which a cluster is told.
func object(apiVersion, kind string, content map[string]any) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": Name, "namespace": kube.SystemNamespace},
	}}
	for key, value := range content {
		obj.Object[key] = value
	}
	return obj
}

// write merges an object into the one that is there, or creates it.
func write(ctx context.Context, c *kube.Cluster, obj *unstructured.Unstructured) error {
	existing, err := c.Get(ctx, obj)
	if err != nil {
		return err
	}
	if existing == nil {
		created, err := c.Create(ctx, withoutNulls(obj))
		if err != nil || created != nil {
			return err
		}
	}
	patch, err := json.Marshal(obj.Object)
	if err != nil {
		return err
	}
	_, err = c.Patch(ctx, obj, patch)
	return err
}

// withoutNulls is an object without the fields by which a patch takes fields away.
func withoutNulls(obj *unstructured.Unstructured) *unstructured.Unstructured {
	full := obj.DeepCopy()
	for _, content := range full.Object {
		if fields, ok := content.(map[string]any); ok {
			for name, value := range fields {
				if value == nil {
					delete(fields, name)
				}
			}
		}
	}
	return full
}
