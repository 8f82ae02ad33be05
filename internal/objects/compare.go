package objects

import (
	"encoding/json"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
)

// same reports whether writing want over existing would change nothing: Crossfade has applied existing, every field of
// want is in it with the same value, and no field that Crossfade has applied is missing in want. When in doubt it is false.
func same(want, existing *unstructured.Unstructured) bool {
	applied := kube.AppliedFields(existing)
	var fields map[string]any
	if applied == nil || json.Unmarshal(applied.GetRawBytes(), &fields) != nil {
		return false
	}
	return within(want.Object, existing.Object) && covers(want.Object, fields)
}

// within reports whether want is contained in got: maps by their keys, everything else equal. Values that the API server
// fills in are only in got.
func within(want, got any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return false
		}
		for key, value := range w {
			if theirs, there := g[key]; !there || !within(value, theirs) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !within(w[i], g[i]) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(want, got)
	}
}

// covers reports whether every field of a FieldsV1 set is in value (KEP-555: "f:" a field, "k:" an item of a list by its
// keys, "v:" an item by its value).
func covers(value any, fields map[string]any) bool {
	for key, below := range fields {
		item, ok := step(value, key)
		if !ok || !covers(item, asMap(below)) {
			return false
		}
	}
	return true
}

// step goes from a value to the field or item that one key of a FieldsV1 set names.
func step(value any, key string) (any, bool) {
	if key == "." {
		return nil, true
	}
	name, text, _ := strings.Cut(key, ":")
	switch name {
	case "f":
		item, ok := asMap(value)[text]
		return item, ok
	case "k":
		list, _ := value.([]any)
		for _, item := range list {
			if itemMatches(key, asMap(item)) {
				return item, true
			}
		}
	case "v":
		var wanted any
		if json.Unmarshal([]byte(text), &wanted) != nil {
			return nil, false
		}
		list, _ := value.([]any)
		for _, item := range list {
			if equalJSON(item, wanted) {
				return item, true
			}
		}
	}
	return nil, false
}

// itemMatches reports whether an item of a list has the keys of `k:{"name":"web"}`. A key that the item leaves out is the
// API's default for it, which is not known here: only protocols have one.
func itemMatches(key string, item map[string]any) bool {
	var keys map[string]any
	if item == nil || json.Unmarshal([]byte(strings.TrimPrefix(key, "k:")), &keys) != nil {
		return false
	}
	for name, value := range keys {
		got, ok := item[name]
		if !ok && name == "protocol" {
			got = "TCP"
		}
		if !equalJSON(got, value) {
			return false
		}
	}
	return true
}

// equalJSON compares values of which one may have its numbers as int64 and the other as float64.
func equalJSON(a, b any) bool {
	if n, ok := a.(int64); ok {
		a = float64(n)
	}
	if n, ok := b.(int64); ok {
		b = float64(n)
	}
	return reflect.DeepEqual(a, b)
}
