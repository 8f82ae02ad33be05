package diff

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/kube/schema"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// step leads from a value to one below it: a key of a map, or an item of a list.
type step struct {
	key  string // of a map; of an item, what tells it from the others
	item any    // nil for a key of a map
}

// path leads from an object to one of its fields.
type path []step

// String writes a path as people name fields: spec.containers[web].image, metadata.labels[app.kubernetes.io/name], args[0].
func (p path) String() string {
	var text strings.Builder
	for i, s := range p {
		switch {
		case s.item != nil || s.key == "" || strings.ContainsAny(s.key, "./[] "):
			text.WriteString("[" + s.key + "]")
		case i == 0:
			text.WriteString(s.key)
		default:
			text.WriteString("." + s.key)
		}
	}
	return text.String()
}

// below is the path with one more step. Paths never share what they are made of.
func (p path) below(s step) path { return append(slices.Clip(p), s) }

// schema is the path as schemas have it.
func (p path) schema() []string {
	steps := make([]string, len(p))
	for i, s := range p {
		if steps[i] = s.key; s.item != nil {
			steps[i] = schema.Item
		}
	}
	return steps
}

// at looks a path up in an object; nil when there is nothing.
func (p path) at(value any) any {
	for _, s := range p {
		if s.item == nil {
			value = field.AsMap(value)[s.key]
			continue
		}
		list, _ := value.([]any)
		i := slices.IndexFunc(list, func(item any) bool { return sameItem(s, item) })
		if i < 0 {
			return nil
		}
		value = list[i]
	}
	return value
}

// sameItem reports whether an item is the one that a step leads to, in a list where it may be at another place.
func sameItem(s step, item any) bool {
	for _, keys := range itemKeys {
		if name := nameOf(item, keys); name != "" && name == s.key {
			return nameOf(s.item, keys) == name
		}
	}
	return field.Equal(s.item, item)
}

// change is a field that is different in two objects.
type change struct {
	path       path
	want, have any // nil for a field that is not there
}

// compare lists the fields in which have is different from want, in order. What is empty is taken not to be there: newer API servers
// leave out what older ones write as empty. Items of lists are told apart by what names them, where they all have a name.
func compare(want, have map[string]any) []change {
	return compareMaps(nil, want, have)
}

func compareMaps(at path, want, have map[string]any) []change {
	var all []change
	for _, key := range sortedKeys(want, have) {
		all = append(all, compareValues(at.below(step{key: key}), want[key], have[key])...)
	}
	return all
}

func sortedKeys(a, b map[string]any) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

func compareValues(at path, want, have any) []change {
	wanted, isMap := want.(map[string]any)
	had, hasMap := have.(map[string]any)
	wants, isList := want.([]any)
	haves, hasList := have.([]any)
	switch {
	case field.Empty(want) && field.Empty(have):
		return nil
	case isMap && (hasMap || field.Empty(have)), hasMap && field.Empty(want):
		return compareMaps(at, wanted, had)
	case isList && hasList:
		return compareLists(at, wants, haves)
	case field.Equal(want, have):
		return nil
	}
	return []change{{path: at, want: want, have: have}}
}

// compareLists compares lists item by item where it is clear which item is which, and as a whole otherwise.
func compareLists(at path, want, have []any) []change {
	if field.Equal(want, have) {
		return nil
	}
	keys := keysOf(want, have)
	switch {
	case keys != nil:
		return compareNamed(at, want, have, keys)
	case len(want) != len(have) || !allMaps(want) || !allMaps(have):
		return []change{{path: at, want: want, have: have}}
	}
	var all []change
	for i := range want {
		all = append(all, compareValues(at.below(step{key: fmt.Sprint(i), item: have[i]}), want[i], have[i])...)
	}
	return all
}

// compareNamed compares lists whose items have names, and then the order of those that are in both.
func compareNamed(at path, want, have []any, keys []string) []change {
	var all []change
	wants, haves := byName(want, keys), byName(have, keys)
	for _, item := range want {
		name := nameOf(item, keys)
		if there, ok := haves[name]; ok {
			all = append(all, compareValues(at.below(step{key: name, item: there}), item, there)...)
		} else {
			all = append(all, change{path: at.below(step{key: name, item: item}), want: item})
		}
	}
	for _, item := range have {
		if name := nameOf(item, keys); wants[name] == nil {
			all = append(all, change{path: at.below(step{key: name, item: item}), have: item})
		}
	}
	order, theirs := common(want, haves, keys), common(have, wants, keys)
	if !slices.Equal(order, theirs) {
		all = append(all, change{path: at, want: anyList(order), have: anyList(theirs)})
	}
	return all
}

func byName(list []any, keys []string) map[string]any {
	named := make(map[string]any, len(list))
	for _, item := range list {
		named[nameOf(item, keys)] = item
	}
	return named
}

// common are the names of the items of a list that are among others, in order.
func common(list []any, others map[string]any, keys []string) []string {
	var names []string
	for _, item := range list {
		if name := nameOf(item, keys); others[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

func anyList(texts []string) []any {
	list := make([]any, len(texts))
	for i, text := range texts {
		list[i] = text
	}
	return list
}

// itemKeys are what may name the items of a list, the likeliest first: the keys of the lists of Kubernetes' own kinds, and what
// custom resources use.
var itemKeys = [][]string{
	{"name"},
	{"port", "protocol"},
	{"containerPort", "protocol"},
	{"mountPath"},
	{"devicePath"},
	{"key", "operator", "effect"},
	{"key"},
	{"topologyKey", "whenUnsatisfiable"},
	{"type"},
	{"uid"},
	{"ip"},
	{"id"},
	{"host"},
	{"path"},
}

// keysOf are the keys by which each item of both lists has a name of its own; nil when there are none.
func keysOf(lists ...[]any) []string {
	for _, keys := range itemKeys {
		if !slices.ContainsFunc(lists, func(list []any) bool { return !named(list, keys) }) {
			return keys
		}
	}
	return nil
}

// named reports whether the keys give each item of a list a name of its own.
func named(list []any, keys []string) bool {
	seen := make(map[string]bool, len(list))
	for _, item := range list {
		name := nameOf(item, keys)
		if name == "" || seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}

// nameOf is what the keys name an item; "" when the first of them is not there.
func nameOf(item any, keys []string) string {
	fields := field.AsMap(item)
	var parts []string
	for i, key := range keys {
		switch value := fields[key].(type) {
		case nil:
			if i == 0 {
				return ""
			}
		case map[string]any, []any:
			return ""
		default:
			parts = append(parts, fmt.Sprint(value))
		}
	}
	return strings.Join(parts, "/")
}

func allMaps(list []any) bool {
	return !slices.ContainsFunc(list, func(item any) bool { return field.AsMap(item) == nil })
}
