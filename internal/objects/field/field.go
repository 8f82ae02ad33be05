// Package field reads and changes fields of objects whose types are not known. Objects are not copied on reading: what is
// returned must not be changed, except by the functions that say so.
package field

import (
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/manager"
)

// String returns the text at a path, "" when there is none.
func String(obj *unstructured.Unstructured, path ...string) string {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
	text, _ := value.(string)
	return text
}

// Bool returns the truth value at a path, false when there is none.
func Bool(obj *unstructured.Unstructured, path ...string) bool {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
	truth, _ := value.(bool)
	return truth
}

// Map returns the map at a path, nil when there is none.
func Map(obj *unstructured.Unstructured, path ...string) map[string]any {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
	return AsMap(value)
}

// List returns the list at a path, nil when there is none.
func List(obj *unstructured.Unstructured, path ...string) []any {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
	list, _ := value.([]any)
	return list
}

// Drop removes the field at a path, if it is there.
func Drop(obj *unstructured.Unstructured, path ...string) {
	unstructured.RemoveNestedField(obj.Object, path...)
}

// DropPrefixed removes the keys of the map at a path that begin with one of the prefixes, and the map when nothing is left of it.
func DropPrefixed(obj *unstructured.Unstructured, prefixes []string, path ...string) {
	entries := Map(obj, path...)
	if entries == nil {
		return
	}
	for key := range entries {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			delete(entries, key)
		}
	}
	if len(entries) == 0 {
		Drop(obj, path...)
	}
}

// AsMap is value as a map; nil when it is none.
func AsMap(value any) map[string]any {
	m, _ := value.(map[string]any)
	return m
}

// Child walks down nested maps; nil when there is none.
func Child(fields map[string]any, path ...string) map[string]any {
	for _, step := range path {
		fields = AsMap(fields[step])
	}
	return fields
}

// Chosen reports whether somebody other than the cluster's components wrote the field, whose path is one of FieldsV1 keys
// ("f:spec", "f:volumeName").
func Chosen(obj *unstructured.Unstructured, path ...string) bool {
	for _, set := range Users(obj) {
		if _, ok := Child(set, path[:len(path)-1]...)[path[len(path)-1]]; ok {
			return true
		}
	}
	return false
}

// Users returns the fields (FieldsV1) that each manager other than the cluster's components has written, status and other
// subresources aside.
func Users(obj *unstructured.Unstructured) []map[string]any {
	var all []map[string]any
	for m := range manager.Of(obj) {
		if !manager.IsMachine(m.Name) && m.Subresource == "" && m.Fields != nil {
			all = append(all, m.Fields)
		}
	}
	return all
}

// ItemMatches reports whether an item of a list has the keys of `k:{"name":"web"}` (KEP-555). A key that the item leaves out
// is the API's default for it, which is not known here: only protocols have one.
func ItemMatches(key string, item map[string]any) bool {
	var keys map[string]any
	if item == nil || json.Unmarshal([]byte(strings.TrimPrefix(key, "k:")), &keys) != nil {
		return false
	}
	for name, value := range keys {
		got, ok := item[name]
		if !ok && name == "protocol" {
			got = "TCP"
		}
		if !Equal(got, value) {
			return false
		}
	}
	return true
}
