// Package relate rewrites what an object says of others by their UIDs: its owners, and references in its spec. A UID is of one
// cluster; the object of the same kind and name in the other cluster has another.
package relate

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
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
		found, err := r.target(ctx, owner, original.GetNamespace(), ask)
		if err != nil {
			return nil, nil, err
		}
		if found.uid == "" {
			missing = append(missing, found.name)
			continue
		}
		moved := map[string]any{}
		for key, value := range owner {
			moved[key] = value
		}
		moved["uid"] = found.uid
		refs = append(refs, moved)
	}
	return refs, missing, nil
}

// Fields rewrites the references in the body of an object: every map with a kind that the other cluster serves, a name and a UID,
// and the fields that the rules name. A reference to an object that is not there loses its UID, as the old one would be wrong; the
// names (ident.Of) of such objects are returned. It modifies obj.
func (r *Relater) Fields(ctx context.Context, obj *unstructured.Unstructured) (missing []string, err error) {
	w := &walker{Relater: r, namespace: obj.GetNamespace()}
	for key, value := range obj.Object {
		if key == "metadata" || key == "status" {
			continue
		}
		if err := w.walk(ctx, value); err != nil {
			return nil, err
		}
	}
	for _, rule := range r.rules {
		if rule.Kind == obj.GetKind() || rule.Kind == obj.GroupVersionKind().GroupKind().String() {
			if err := w.rewrite(ctx, obj, rule); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(w.missing)
	return slices.Compact(w.missing), nil
}

// walker rewrites the references of one object.
type walker struct {
	*Relater
	namespace string   // of the object
	missing   []string // names of objects that are referred to and are not there
}

func (w *walker) walk(ctx context.Context, value any) error {
	switch v := value.(type) {
	case map[string]any:
		if isReference(v) {
			found, err := w.target(ctx, v, w.namespace, true)
			if err != nil {
				return err
			}
			if found.known {
				w.put(v, "uid", found)
				delete(v, "resourceVersion")
			}
		}
		for _, below := range v {
			if err := w.walk(ctx, below); err != nil {
				return err
			}
		}
	case []any:
		for _, below := range v {
			if err := w.walk(ctx, below); err != nil {
				return err
			}
		}
	}
	return nil
}

// put sets a field to the UID of an object, or removes it when the object is not there.
func (w *walker) put(m map[string]any, key string, found target) {
	if found.uid == "" {
		delete(m, key)
		w.missing = append(w.missing, found.name)
		return
	}
	m[key] = found.uid
}

// isReference reports whether a map is of the shape of the API's ObjectReference with a UID.
func isReference(m map[string]any) bool {
	for _, key := range []string{"kind", "name"} {
		if text, ok := m[key].(string); !ok || text == "" {
			return false
		}
	}
	uid, _ := m["uid"].(string)
	return uuid.MatchString(uid)
}

// uuid is what the UIDs of Kubernetes look like: numbers of users, say, are none of them.
var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// rewrite puts the UID of the object that a rule names into the rule's field.
func (w *walker) rewrite(ctx context.Context, obj *unstructured.Unstructured, rule spec.Reference) error {
	path := strings.Split(rule.Field, ".")
	if field.String(obj, path...) == "" {
		return nil
	}
	name := field.String(obj, strings.Split(rule.Name, ".")...)
	kind := schema.ParseGroupKind(rule.To)
	found, err := w.target(ctx, map[string]any{"group": kind.Group, "kind": kind.Kind, "name": name}, w.namespace, true)
	if err != nil {
		return err
	}
	w.put(field.Map(obj, path[:len(path)-1]...), path[len(path)-1], found)
	return nil
}

// target is what a reference means in the other cluster.
type target struct {
	name  string // ident.Of
	uid   string // "" when it is not there
	known bool   // whether the cluster serves its kind
}

// target finds what a reference of an object in a namespace names: among what is remembered, or, if ask is set, in the cluster, too.
func (r *Relater) target(ctx context.Context, ref map[string]any, namespace string, ask bool) (target, error) {
	kind, name := groupKind(ref), text(ref, "name")
	if other := text(ref, "namespace"); other != "" {
		namespace = other
	}
	namespaced, known, err := r.namespaced(kind)
	if err != nil {
		return target{}, err
	}
	if !namespaced {
		namespace = ""
	}
	t := target{name: ident.Name(kind, namespace, name), known: known}
	t.uid, _ = r.uids.Get(t.name)
	if t.uid != "" || !known || !ask {
		return t, nil
	}
	found, err := r.cluster.Find(ctx, kind, namespace, name)
	if err != nil || found == nil {
		return t, err
	}
	t.uid = string(found.GetUID())
	r.uids.Put(t.name, t.uid)
	return t, nil
}

// groupKind is the kind that a reference names: with an API version, or with a group.
func groupKind(ref map[string]any) schema.GroupKind {
	kind := schema.GroupKind{Group: cmp.Or(text(ref, "group"), text(ref, "apiGroup")), Kind: text(ref, "kind")}
	if group, _, ok := strings.Cut(text(ref, "apiVersion"), "/"); ok {
		kind.Group = group
	}
	return kind
}

func text(m map[string]any, key string) string {
	value, _ := m[key].(string)
	return value
}

// namespaced says whether the other cluster has the kind in namespaces; an unknown kind is taken to be.
func (r *Relater) namespaced(kind schema.GroupKind) (namespaced, known bool, err error) {
	namespaced, err = r.cluster.Namespaced(kind.WithVersion(""))
	if fault.Retryable(err) {
		return false, false, err
	}
	return namespaced || err != nil, err == nil, nil
}
