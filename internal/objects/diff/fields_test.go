package diff

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

func read(t *testing.T, text string) map[string]any {
	t.Helper()
	var value map[string]any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestCompareFields(t *testing.T) {
	tests := map[string]struct {
		reason, want, have string
		changes            []string
	}{
		"same":           {reason: "nothing to say", want: "a: {b: [1, {c: d}]}", have: "a: {b: [1, {c: d}]}"},
		"value":          {reason: "with its path", want: "a: {b: 1}", have: "a: {b: 2}", changes: []string{"a.b: 1 2"}},
		"added":          {reason: "leaf by leaf, so that each can be judged", want: "a: {}", have: "a: {b: {c: 1, d: 2}}", changes: []string{"a.b.c: <nil> 1", "a.b.d: <nil> 2"}},
		"removed":        {reason: "leaf by leaf too", want: "a: {b: {c: 1}}", have: "{}", changes: []string{"a.b.c: 1 <nil>"}},
		"empty":          {reason: "older servers write what newer ones leave out", want: "{a: {}, b: [], c: null, d: {e: {}}}", have: "d: {}"},
		"empty text":     {reason: "a text without anything in it is a text", want: `a: ""`, have: "{}", changes: []string{"a:  <nil>"}},
		"other type":     {reason: "as they are", want: "a: {b: 1}", have: "a: [1]", changes: []string{"a: map[b:1] [1]"}},
		"text for map":   {reason: "as they are", want: "a: {b: 1}", have: "a: x", changes: []string{"a: map[b:1] x"}},
		"zero":           {reason: "false and 0 are values", want: "{a: false}", have: "{b: 0}", changes: []string{"a: false <nil>", "b: <nil> 0"}},
		"scalars":        {reason: "a list of them is one value", want: "a: [1, 2]", have: "a: [2, 1]", changes: []string{"a: [1 2] [2 1]"}},
		"named":          {reason: "the position does not matter to what is in an item", want: "a: [{name: x, v: 1}, {name: w, v: 2}]", have: "a: [{name: x, v: 1}, {name: z}, {name: w, v: 3}]", changes: []string{"a[w].v: 2 3", "a[z]: <nil> map[name:z]"}},
		"order":          {reason: "it may matter, and is told of as such", want: "a: [{name: x}, {name: w}]", have: "a: [{name: w}, {name: x}]", changes: []string{"a: [x w] [w x]"}},
		"two keys":       {reason: "one port for two protocols", want: "a: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]", have: "a: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP, x: 1}]", changes: []string{"a[53/TCP].x: <nil> 1"}},
		"names twice":    {reason: "then items are told apart by their positions", want: "a: [{name: x, v: 1}, {name: x, v: 2}]", have: "a: [{name: x, v: 1}, {name: x, v: 3}]", changes: []string{"a[1].v: 2 3"}},
		"without names":  {reason: "the same", want: "a: [{verbs: [get]}]", have: "a: [{verbs: [list]}]", changes: []string{"a[0].verbs: [get] [list]"}},
		"other length":   {reason: "which item is which is not known", want: "a: [{verbs: [get]}]", have: "a: []", changes: []string{"a: [map[verbs:[get]]] []"}},
		"lists in lists": {reason: "as one value", want: "a: [[1], [2]]", have: "a: [[1], [3]]", changes: []string{"a: [[1] [2]] [[1] [3]]"}},
		"keys with dots": {reason: "a key is told apart from a path", want: "a: {b.c/d: 1, e: {f: 1}}", have: "a: {b.c/d: 2, e: {f: 2}}", changes: []string{"a[b.c/d]: 1 2", "a.e.f: 1 2"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, c := range compare(read(t, test.want), read(t, test.have)) {
				got = append(got, fmt.Sprintf("%s: %v %v", c.path, c.want, c.have))
			}
			if diff := cmp.Diff(test.changes, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// TestCompareFieldsOfAnything: a value is the same as itself, an edit is named by the field that was edited and by no other, and its path
// leads to both values.
func TestCompareFieldsOfAnything(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		value := anyMap(4).Draw(r, "value")
		have := (&unstructured.Unstructured{Object: value}).DeepCopy().Object
		if changes := compare(value, have); len(changes) > 0 {
			r.Fatalf("a value and itself: %v", changes)
		}
		at, edited := edit(r, have, "")
		if !edited {
			return
		}
		changes := compare(value, have)
		if len(changes) != 1 || !strings.HasPrefix(at, changes[0].path.String()) {
			r.Fatalf("edited %s, named %v", at, changes)
		}
		c := changes[0]
		if got := c.path.at(have); !cmp.Equal(got, c.have) {
			r.Fatalf("%s leads to %v, want %v", c.path, got, c.have)
		}
	})
}

// anyMap draws maps of maps, lists and scalars.
func anyMap(depth int) *rapid.Generator[map[string]any] {
	return rapid.MapOfN(rapid.StringMatching(`[a-z]{1,3}`), anyValue(depth-1), 1, 4)
}

func anyValue(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{rapid.Int64().AsAny(), rapid.Bool().AsAny(), text().AsAny()}
	if depth <= 0 {
		return rapid.OneOf(scalars...)
	}
	named := rapid.Custom(func(r *rapid.T) any {
		var list []any
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{2}`), 1, 3, rapid.ID[string]).Draw(r, "names") {
			item := anyMap(depth-1).Draw(r, "item")
			item["name"] = name
			list = append(list, item)
		}
		return list
	})
	return rapid.OneOf(append(scalars, anyMap(depth).AsAny(), rapid.SliceOfN(anyValue(depth-1), 1, 3).AsAny(), named)...)
}

// edit changes one scalar of a value in place, and says where.
func edit(r *rapid.T, value any, at string) (string, bool) {
	switch v := value.(type) {
	case map[string]any:
		keys := slices.DeleteFunc(sortedKeys(v, nil), func(key string) bool { return key == "name" })
		if len(keys) == 0 {
			return "", false
		}
		key := rapid.SampledFrom(keys).Draw(r, "key")
		below := (path{step{key: key}}).String()
		if at != "" && !strings.HasPrefix(below, "[") {
			below = "." + below
		}
		if where, ok := edit(r, v[key], at+below); ok {
			return where, true
		}
		v[key] = fmt.Sprintf("edited %v", v[key])
		return at + below, true
	case []any:
		i := rapid.IntRange(0, len(v)-1).Draw(r, "item")
		item, _ := v[i].(map[string]any)
		name := fmt.Sprint(i)
		if keys := keysOf(v); keys != nil {
			name = nameOf(v[i], keys)
		}
		if item != nil && allMaps(v) {
			return edit(r, item, at+"["+name+"]")
		}
		v[i] = fmt.Sprintf("edited %v", v[i])
		return at, true
	}
	return "", false
}

// text draws texts that YAML can hold, too.
func text() *rapid.Generator[string] {
	return rapid.StringOf(rapid.RuneFrom([]rune("\n\t \"'{}[]:#"), unicode.Letter, unicode.Number, unicode.Punct))
}
