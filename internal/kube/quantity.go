package kube

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
)

// noQuantity finds a value among limits and requests that is no quantity, and says where it is; empty without one. The API server, which
// cannot read such an object, says neither.
func noQuantity(at string, value any) string {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if name == "limits" || name == "requests" {
				if found := badAmount(at+"."+name, v[name]); found != "" {
					return found
				}
			}
			if found := noQuantity(at+"."+name, v[name]); found != "" {
				return found
			}
		}
	case []any:
		for i, item := range v {
			if found := noQuantity(fmt.Sprintf("%s[%d]", at, i), item); found != "" {
				return found
			}
		}
	}
	return ""
}

// badAmount finds the first amount of a list of resources that is no quantity.
func badAmount(at string, amounts any) string {
	list, _ := amounts.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if _, err := resource.ParseQuantity(fmt.Sprint(list[name])); err != nil {
			return fmt.Sprintf("%s.%s: %q is no quantity", at[1:], name, fmt.Sprint(list[name]))
		}
	}
	return ""
}
