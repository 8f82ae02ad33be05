// Package relate rewrites what an object says of others by their UIDs: its owners, and references in its spec. A UID is of one
// cluster; the object of the same kind and name in the other cluster has another.
package relate

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/objects/recent"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Remembered is how many UIDs a copy keeps. Who runs longer than nobody replaces objects keeps none: an object whose owner has a
// UID that is no more is deleted by the cluster.
const Remembered = 32768

// Relater knows the UIDs of one cluster. It may be used by many goroutines.
type Relater struct {
	cluster *kube.Cluster
	rules   []spec.Reference
	uids    *recent.Map[string, string] // by name of object
}

// New makes a relater for the cluster that objects go to, with the rules for fields that hold a bare UID. It keeps as many UIDs as
// it is told to, and asks the cluster for the others.
func New(to *kube.Cluster, rules []spec.Reference, remembered int) *Relater {
	return &Relater{cluster: to, rules: rules, uids: recent.New[string, string](remembered)}
}

// Learn remembers the UID of an object that was written, Forget that it is gone or was replaced.
func (r *Relater) Learn(obj *unstructured.Unstructured) {
	r.uids.Put(ident.Of(obj), string(obj.GetUID()))
}

// Forget is the reverse of Learn.
func (r *Relater) Forget(obj *unstructured.Unstructured) { r.uids.Forget(ident.Of(obj)) }

// Owners returns the owner references of an object as they are in the other cluster, and the names (ident.Of) of owners that
// are not there: as far as is remembered, or, if ask is set, in truth.
func (r *Relater) Owners(ctx context.Context, original *unstructured.Unstructured, ask bool) (refs []any, missing []string, err error) {
	for _, ref := range field.List(original, "metadata", "ownerReferences") {
		owner := field.AsMap(ref)
		uid, name, err := r.uid(ctx, owner, original.GetNamespace(), ask)
		if err != nil {
			return nil, nil, err
		}
		if uid == "" {
			missing = append(missing, name)
			continue
		}
		moved := map[string]any{}
		for key, value := range owner {
			moved[key] = value
		}
		moved["uid"] = uid
		refs = append(refs, moved)
	}
	return refs, missing, nil
}

// Fields rewrites the references in the body of an object: every map with a kind, a name and a uid, and the fields that the
// rules name. A reference to an object that is not there loses its UID, as the old one would be wrong. It modifies obj.
func (r *Relater) Fields(ctx context.Context, obj *unstructured.Unstructured) error {
	for key, value := range obj.Object {
		if key == "metadata" || key == "status" {
			continue
		}
		if err := r.walk(ctx, value, obj.GetNamespace()); err != nil {
			return err
		}
	}
	for _, rule := range r.rules {
		if rule.Kind == obj.GetKind() || rule.Kind == obj.GroupVersionKind().GroupKind().String() {
			if err := r.rewrite(ctx, obj, rule); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Relater) walk(ctx context.Context, value any, namespace string) error {
	switch v := value.(type) {
	case map[string]any:
		if isReference(v) {
			uid, _, err := r.uid(ctx, v, namespace, true)
			if err != nil {
				return err
			}
			setOrDrop(v, "uid", uid)
			delete(v, "resourceVersion")
		}
		for _, below := range v {
			if err := r.walk(ctx, below, namespace); err != nil {
				return err
			}
		}
	case []any:
		for _, below := range v {
			if err := r.walk(ctx, below, namespace); err != nil {
				return err
			}
		}
	}
	return nil
}

// isReference reports whether a map is of the shape of the API's ObjectReference with a UID.
func isReference(m map[string]any) bool {
	for _, key := range []string{"kind", "name", "uid"} {
		if text, ok := m[key].(string); !ok || text == "" {
			return false
		}
	}
	return true
}

// rewrite puts the UID of the object that a rule names into the rule's field.
func (r *Relater) rewrite(ctx context.Context, obj *unstructured.Unstructured, rule spec.Reference) error {
	path := strings.Split(rule.Field, ".")
	if field.String(obj, path...) == "" {
		return nil
	}
	name := field.String(obj, strings.Split(rule.Name, ".")...)
	kind := schema.ParseGroupKind(rule.To)
	uid, _, err := r.uid(ctx, map[string]any{"apiVersion": kind.Group + "/", "kind": kind.Kind, "name": name}, obj.GetNamespace(), true)
	if err != nil {
		return err
	}
	setOrDrop(field.Map(obj, path[:len(path)-1]...), path[len(path)-1], uid)
	return nil
}

// uid returns the UID of the object that a reference names, "" when it is not there (or, unless ask is set, not remembered), and
// its name.
func (r *Relater) uid(ctx context.Context, ref map[string]any, namespace string, ask bool) (uid, name string, err error) {
	text := func(key string) string { s, _ := ref[key].(string); return s }
	group, _, _ := strings.Cut(text("apiVersion"), "/")
	if !strings.Contains(text("apiVersion"), "/") {
		group = "" // "v1"
	}
	if other := text("namespace"); other != "" {
		namespace = other
	}
	kind := schema.GroupKind{Group: group, Kind: text("kind")}
	namespaced, known := r.namespaced(kind)
	if !namespaced {
		namespace = ""
	}
	name = ident.Name(kind, namespace, text("name"))
	uid, _ = r.uids.Get(name)
	if uid != "" || !known || !ask {
		return uid, name, nil
	}
	found, err := r.cluster.Find(ctx, kind, namespace, text("name"))
	if err != nil || found == nil {
		return "", name, err
	}
	r.uids.Put(name, string(found.GetUID()))
	return string(found.GetUID()), name, nil
}

// namespaced says whether the other cluster has the kind in namespaces; an unknown kind is taken to be.
func (r *Relater) namespaced(kind schema.GroupKind) (namespaced, known bool) {
	namespaced, err := r.cluster.Namespaced(kind.WithVersion(""))
	return namespaced || err != nil, err == nil
}

func setOrDrop(m map[string]any, key, text string) {
	if text == "" {
		delete(m, key)
		return
	}
	m[key] = text
}
