// Package manager tells who has written an object: people and their programs, the cluster's own components, or Crossfade, which marks what
// it writes.
package manager

import (
	"iter"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Crossfade is the name under which Crossfade owns fields of objects (KEP-555).
const Crossfade = "crossfade"

// machines are the field managers of a cluster's own components, by prefix. What only they have written was made by the
// cluster, and will be made by the next one too.
var machines = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "cloud-controller-manager", "api-priority-and-fairness-config"}

// IsMachine reports whether a field manager is a component of the cluster itself.
func IsMachine(manager string) bool {
	return slices.ContainsFunc(machines, func(prefix string) bool { return strings.HasPrefix(manager, prefix) })
}

// Manager is who has written fields of an object, by one operation (KEP-555).
type Manager struct {
	Name        string
	Operation   string         // "Apply" or "Update"
	Subresource string         // "" for the object itself
	Fields      map[string]any // FieldsV1; nil for none
}

// Of yields the managers of an object's fields, straight from the object as the API has given it.
func Of(obj *unstructured.Unstructured) iter.Seq[Manager] {
	return func(yield func(Manager) bool) {
		metadata, _ := obj.Object["metadata"].(map[string]any)
		entries, _ := metadata["managedFields"].([]any)
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			var m Manager
			m.Name, _ = entry["manager"].(string)
			m.Operation, _ = entry["operation"].(string)
			m.Subresource, _ = entry["subresource"].(string)
			m.Fields, _ = entry["fieldsV1"].(map[string]any)
			if !yield(m) {
				return
			}
		}
	}
}

// MadeByCluster reports whether only components of the cluster have written an object, status aside. An object that does
// not tell who wrote it is taken to be somebody's.
func MadeByCluster(obj *unstructured.Unstructured) bool {
	told := false
	for m := range Of(obj) {
		switch {
		case m.Subresource == "status":
		case !IsMachine(m.Name):
			return false
		default:
			told = true
		}
	}
	return told
}

// HasOthers reports whether somebody else than Crossfade has written fields of an object, status aside.
func HasOthers(obj *unstructured.Unstructured) bool {
	for m := range Of(obj) {
		if m.Name != Crossfade && m.Subresource != "status" {
			return true
		}
	}
	return false
}

// OriginLabel is on every object that Crossfade has applied, and says whether it was there before. Field managers cannot
// tell: the API server keeps none for an object without fields, such as a plain namespace.
const OriginLabel = Crossfade + ".dev/origin"

// The values of OriginLabel.
const (
	OriginCreated = "created" // Crossfade made the object
	OriginTaken   = "taken"   // somebody else made it, and Crossfade has applied it since
)

// CopiedLabel is on every object that was copied from another cluster. Its value begins with the mark of that cluster, so that
// only what came from it is ever pruned when it is gone there, and ends with a digest of what was written.
const CopiedLabel = Crossfade + ".dev/copied"

// Origin is the OriginLabel of an object, "" for one that Crossfade has not applied. Controllers hand labels down to what they make, as
// that of EndpointSlices does: such a label is not Crossfade's, and does not count.
func Origin(obj *unstructured.Unstructured) string { return ownLabel(obj, OriginLabel) }

// Copied is the CopiedLabel of an object, "" for one that was not copied.
func Copied(obj *unstructured.Unstructured) string { return ownLabel(obj, CopiedLabel) }

// ownLabel is a label that Crossfade itself has put on an object.
func ownLabel(obj *unstructured.Unstructured, key string) string {
	value := obj.GetLabels()[key]
	if value == "" {
		return ""
	}
	entries, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "metadata", "managedFields")
	list, _ := entries.([]any)
	for _, e := range list { // without converting them: this is asked of every object
		entry, _ := e.(map[string]any)
		_, written, _ := unstructured.NestedFieldNoCopy(entry, "fieldsV1", "f:metadata", "f:labels", "f:"+key)
		if written && entry["manager"] == Crossfade {
			return value
		}
	}
	return ""
}

// Stamp labels an object that is about to be applied, given what is there now (nil for nothing). It modifies obj.
func Stamp(obj, existing *unstructured.Unstructured) {
	origin := OriginCreated
	if existing != nil {
		if origin = Origin(existing); origin == "" {
			origin = OriginTaken
		}
	}
	labels := obj.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[OriginLabel] = origin
	obj.SetLabels(labels)
}

// AppliedFields returns the fields that Crossfade has applied to an object, as the API stores them (FieldsV1); nil for none.
func AppliedFields(obj *unstructured.Unstructured) *metav1.FieldsV1 {
	for _, entry := range obj.GetManagedFields() {
		if isOurs(entry) {
			return entry.FieldsV1
		}
	}
	return nil
}

func isOurs(entry metav1.ManagedFieldsEntry) bool {
	return entry.Manager == Crossfade && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == ""
}
