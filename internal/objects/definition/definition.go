// Package definition reads from a CustomResourceDefinition what it defines.
package definition

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// Kind is the kind of definitions.
var Kind = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}

// Is reports whether an object is a definition.
func Is(obj *unstructured.Unstructured) bool { return obj.GroupVersionKind().GroupKind() == Kind }

// Resource is the resource that a definition defines.
func Resource(definition *unstructured.Unstructured) schema.GroupResource {
	return schema.GroupResource{Group: field.String(definition, "spec", "group"), Resource: field.String(definition, "spec", "names", "plural")}
}

// Served are the kinds that are served when a definition is there: one, in each version that is not switched off.
func Served(definition *unstructured.Unstructured) []schema.GroupVersionKind {
	kind := schema.GroupKind{Group: field.String(definition, "spec", "group"), Kind: field.String(definition, "spec", "names", "kind")}
	var served []schema.GroupVersionKind
	for _, v := range field.List(definition, "spec", "versions") {
		if version := field.AsMap(v); version["served"] == true {
			name, _ := version["name"].(string)
			served = append(served, kind.WithVersion(name))
		}
	}
	return served
}
