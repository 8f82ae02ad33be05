package waiting

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// What is held of objects that wait: the content of so many, of so many values each. Others are read again.
const (
	heldWhole  = 2048
	heldValues = 500
)

// light reports whether an object has few values.
func light(obj *unstructured.Unstructured) bool {
	left := heldValues
	return count(obj.Object, &left)
}

// count takes the number of values from what is left, and reports whether that was enough. A long text counts as many.
func count(value any, left *int) bool {
	*left--
	switch v := value.(type) {
	case string:
		*left -= len(v) / 64
	case map[string]any:
		for _, below := range v {
			if !count(below, left) {
				return false
			}
		}
	case []any:
		for _, below := range v {
			if !count(below, left) {
				return false
			}
		}
	}
	return *left >= 0
}
