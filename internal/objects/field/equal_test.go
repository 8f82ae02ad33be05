package field

import "testing"

func TestEqual(t *testing.T) {
	tests := map[string]struct {
		reason string
		a, b   any
		want   bool
	}{
		"types":     {reason: "JSON and YAML read numbers differently", a: map[string]any{"n": int64(1)}, b: map[string]any{"n": 1.0}, want: true},
		"int":       {reason: "so do tests", a: 1, b: int64(1), want: true},
		"large":     {reason: "both would be the same float64", a: int64(1<<53 + 1), b: int64(1 << 53)},
		"text":      {reason: "a text is no number", a: "1", b: int64(1)},
		"lists":     {reason: "order counts", a: []any{"a", "b"}, b: []any{"b", "a"}},
		"keys":      {reason: "a null is not a key that is missing", a: map[string]any{"a": nil}, b: map[string]any{"b": nil}},
		"deep":      {reason: "at any depth", a: []any{map[string]any{"a": []any{int64(2)}}}, b: []any{map[string]any{"a": []any{2.0}}}, want: true},
		"fractions": {reason: "a fraction is not its whole", a: 1.5, b: int64(1)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if Equal(test.a, test.b) != test.want || Equal(test.b, test.a) != test.want {
				t.Errorf("%s: want %t", test.reason, test.want)
			}
		})
	}
}
