package field

import "reflect"

// Equal compares values of which one may have its numbers as int64 and the other as float64.
func Equal(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for key, value := range x {
			if theirs, there := y[key]; !there || !Equal(value, theirs) {
				return false
			}
		}
		return true
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !Equal(x[i], y[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a, b) || mixed(a, b) && reflect.DeepEqual(number(a), number(b))
}

// mixed reports whether two values are of different types. Numbers of one type are compared as they are: a float64 does not
// tell large int64 apart.
func mixed(a, b any) bool { return reflect.TypeOf(a) != reflect.TypeOf(b) }

// Within reports whether want is contained in got: maps by their keys, everything else equal. Values that the API server
// fills in are only in got. An empty map or list is contained in nothing at all, as API servers drop those.
func Within(want, got any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return len(w) == 0 && got == nil
		}
		for key, value := range w {
			theirs, there := g[key]
			if !there && !Empty(value) || there && !Within(value, theirs) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return len(w) == 0 && got == nil
		}
		for i := range w {
			if !Within(w[i], g[i]) {
				return false
			}
		}
		return true
	default:
		return Equal(want, got)
	}
}

// Empty reports whether a value is null, or a map or list with nothing in it.
func Empty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

func number(value any) any {
	switch n := value.(type) {
	case int64:
		return float64(n)
	case int:
		return float64(n)
	}
	return value
}
