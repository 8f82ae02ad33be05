package spec

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Bounds of one document after its aliases are followed, in nodes and levels; they stop what would expand without end.
const (
	maxNodes = 200_000
	maxDepth = 100
)

// document is one YAML document: the value it describes, and where its fields stand.
type document struct {
	file     string         // as shown to people
	dir      string         // absolute directory of the file
	kind     string         // "" while unknown
	line     int            // of its first field
	value    any            // *Platform, *Foundation, *Environment, *Service or *Stack; nil when the kind is unknown
	lines    map[string]int // by field
	broken   map[string]bool
	problems Problems
}

// report adds a problem with a field. A field that could not be read has one already, and gets no other.
func (d *document) report(line int, field, format string, args ...any) {
	if d.broken[field] {
		return
	}
	d.problems = append(d.problems, Problem{File: d.file, Line: line, Field: field, Message: fmt.Sprintf(format, args...)})
}

// decoder reads the nodes of one document into Go values as strictly as the types allow: unknown and repeated fields, wrong
// types and empty values are problems, and reading goes on after each.
type decoder struct {
	*document
	nodes, depth int
}

// fail reports a field that could not be read, so that nothing else is said about it.
func (d *decoder) fail(n *yaml.Node, at, format string, args ...any) {
	d.report(n.Line, at, format, args...)
	d.broken[at] = true
}

// enter follows aliases and keeps within the bounds; it returns nil when the node is not to be read.
func (d *decoder) enter(n *yaml.Node, at string) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.depth++
	if !d.within(n, at, 1) {
		return nil
	}
	return n
}

// within counts nodes, and reports the first that is beyond the bounds.
func (d *decoder) within(n *yaml.Node, at string, nodes int) bool {
	d.nodes += nodes
	if d.depth <= maxDepth && d.nodes <= maxNodes {
		return true
	}
	if !d.broken[""] {
		d.fail(n, "", "is nested too deeply, or its aliases expand to too much, at %s", show(at))
	}
	return false
}

func (d *decoder) leave() { d.depth-- }

// value reads a node into out.
func (d *decoder) value(n *yaml.Node, at string, f field, out reflect.Value) {
	n = d.enter(n, at)
	defer d.leave()
	switch {
	case n == nil:
	case n.ShortTag() == "!!null":
		d.fail(n, at, "is empty; give it a value or leave it out")
	case out.Type() == reflect.TypeFor[Duration]():
		d.duration(n, at, out)
	case out.Kind() == reflect.Pointer:
		out.Set(reflect.New(out.Type().Elem()))
		d.object(n, at, out.Elem())
	case out.Kind() == reflect.Struct:
		d.object(n, at, out)
	case out.Kind() == reflect.Slice:
		d.list(n, at, out)
	case out.Kind() == reflect.Map:
		d.mapping(n, at, out)
	default:
		d.scalar(n, at, f, out)
	}
}

func (d *decoder) object(n *yaml.Node, at string, out reflect.Value) {
	if !d.want(n, at, yaml.MappingNode) {
		return
	}
	fields := fieldsOf(out.Type())
	var set []string
	for _, p := range d.pairs(n, at) {
		if at == "" && (p.name == "apiVersion" || p.name == "kind") {
			continue
		}
		f, known := find(fields, p.name)
		if !known {
			d.report(p.key.Line, join(at, p.name), "unknown field %s%s", show(p.name), suggest(p.name, names(fields)))
			continue
		}
		set = append(set, f.name)
		d.lines[join(at, f.name)] = p.key.Line
		d.value(p.value, join(at, f.name), f, out.FieldByIndex(f.index))
	}
	d.complete(n, at, fields, set)
	d.chosen(n, at, choices[out.Type().Name()], set)
}

// complete reports required fields that are not set.
func (d *decoder) complete(n *yaml.Node, at string, fields []field, set []string) {
	for _, f := range fields {
		if f.required && !slices.Contains(set, f.name) {
			d.fail(n, join(at, f.name), "is missing")
		}
	}
}

// chosen reports fields of which not exactly one is set.
func (d *decoder) chosen(n *yaml.Node, at string, of, set []string) {
	var found []string
	for _, name := range of {
		if slices.Contains(set, name) {
			found = append(found, name)
		}
	}
	switch {
	case len(of) == 0 || len(found) == 1:
	case len(of) == 1:
		d.report(n.Line, at, "%s is missing", of[0])
	case len(found) == 0:
		d.report(n.Line, at, "needs exactly one of %s", list(of))
	default:
		d.report(n.Line, at, "has %s, but exactly one of %s may be set", list(found), list(of))
	}
}

func (d *decoder) list(n *yaml.Node, at string, out reflect.Value) {
	if !d.want(n, at, yaml.SequenceNode) {
		return
	}
	out.Set(reflect.MakeSlice(out.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		place := join(at, i)
		d.lines[place] = item.Line
		d.value(item, place, field{required: true}, out.Index(i))
	}
}

func (d *decoder) mapping(n *yaml.Node, at string, out reflect.Value) {
	if !d.want(n, at, yaml.MappingNode) {
		return
	}
	out.Set(reflect.MakeMap(out.Type()))
	for _, p := range d.pairs(n, at) {
		place := join(at, p.name)
		d.lines[place] = p.key.Line
		element := reflect.New(out.Type().Elem()).Elem()
		if element.Kind() == reflect.Interface {
			if v := d.free(p.value, place); v != nil {
				element.Set(reflect.ValueOf(v))
			}
		} else {
			d.value(p.value, place, field{}, element)
		}
		out.SetMapIndex(reflect.ValueOf(p.name), element)
	}
}

func (d *decoder) duration(n *yaml.Node, at string, out reflect.Value) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		d.fail(n, at, `wants a duration such as "90s" or "72h", not %s`, describe(n))
		return
	}
	raw, err := json.Marshal(n.Value)
	if err == nil {
		err = out.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw)
	}
	if err != nil {
		d.fail(n, at, "%v", err)
	}
}

func (d *decoder) scalar(n *yaml.Node, at string, f field, out reflect.Value) {
	tag := n.ShortTag()
	switch out.Kind() {
	case reflect.Bool:
		if tag != "!!bool" || n.Decode(out.Addr().Interface()) != nil {
			d.fail(n, at, "wants true or false, not %s", describe(n))
		}
	case reflect.Int:
		d.integer(n, at, f, out)
	case reflect.String:
		if n.Kind != yaml.ScalarNode || tag != "!!str" && !(f.bare && tag == "!!int") {
			d.fail(n, at, "wants a text, not %s%s", describe(n), quoteHint(n))
			return
		}
		out.SetString(n.Value)
		if f.required && n.Value == "" {
			d.fail(n, at, "must not be empty")
		}
		if len(f.enum) > 0 && !slices.Contains(f.enum, n.Value) {
			d.fail(n, at, "must be one of %s, not %s%s", list(f.enum), show(n.Value), suggest(n.Value, f.enum))
		}
	default:
		panic("spec: no reader for fields of type " + out.Type().String())
	}
}

func (d *decoder) integer(n *yaml.Node, at string, f field, out reflect.Value) {
	if n.ShortTag() != "!!int" || n.Decode(out.Addr().Interface()) != nil {
		d.fail(n, at, "wants a whole number, not %s", describe(n))
		return
	}
	v := int(out.Int())
	switch {
	case f.max != 0 && (v < f.min || v > f.max):
		d.fail(n, at, "must be between %d and %d, not %d", f.min, f.max, v)
	case f.min != 0 && v < f.min:
		d.fail(n, at, "must be at least %d, not %d", f.min, v)
	}
}

// free reads a node of any shape into what JSON can hold, for values that are handed on as they are.
func (d *decoder) free(n *yaml.Node, at string) any {
	n = d.enter(n, at)
	defer d.leave()
	if n == nil {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		result := map[string]any{}
		for _, p := range d.pairs(n, at) {
			result[p.name] = d.free(p.value, join(at, p.name))
		}
		return result
	case yaml.SequenceNode:
		result := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			result = append(result, d.free(item, join(at, i)))
		}
		return result
	}
	return d.freeScalar(n, at)
}

func (d *decoder) freeScalar(n *yaml.Node, at string) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!str", "!!timestamp":
		return n.Value
	case "!!bool", "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			d.fail(n, at, "cannot be read: %s", show(n.Value))
		}
		if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			d.fail(n, at, "%s is not a number that JSON can hold", show(n.Value))
			return nil
		}
		return v
	}
	d.fail(n, at, "the tag %s is not supported", show(n.Tag))
	return nil
}

// want reports a node that is not of the given kind.
func (d *decoder) want(n *yaml.Node, at string, kind yaml.Kind) bool {
	if n.Kind == kind && (n.ShortTag() == "!!map" || n.ShortTag() == "!!seq") {
		return true
	}
	if n.Kind == kind {
		d.fail(n, at, "the tag %s is not supported", show(n.Tag))
		return false
	}
	wanted := "a mapping"
	if kind == yaml.SequenceNode {
		wanted = "a list"
	}
	d.fail(n, at, "wants %s, not %s", wanted, describe(n))
	return false
}

// pair is one entry of a mapping.
type pair struct {
	name       string
	key, value *yaml.Node
}

// pairs returns the entries of a mapping, those that a merge key (<<) brings in last. A name that is written twice is a
// problem; one that is merged in gives way to one that is written.
func (d *decoder) pairs(n *yaml.Node, at string) []pair {
	var written, merged []pair
	seen := map[string]bool{}
	if !d.within(n, at, len(n.Content)/2) {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.ShortTag() == "!!merge":
			merged = append(merged, d.merge(value, at)...)
		case key.Kind != yaml.ScalarNode:
			d.report(key.Line, at, "has %s for a field name", describe(key))
		case seen[key.Value]:
			d.report(key.Line, join(at, key.Value), "is set twice")
		default:
			seen[key.Value] = true
			written = append(written, pair{key.Value, key, value})
		}
	}
	for _, p := range merged {
		if !seen[p.name] {
			seen[p.name] = true
			written = append(written, p)
		}
	}
	return written
}

// merge returns the entries that the value of a merge key brings in: those of a mapping, or of a list of mappings of which
// earlier ones win.
func (d *decoder) merge(n *yaml.Node, at string) []pair {
	n = d.enter(n, at)
	defer d.leave()
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.MappingNode:
		return d.pairs(n, at)
	case n.Kind == yaml.SequenceNode:
		var result []pair
		for _, item := range n.Content {
			result = append(result, d.merge(item, at)...)
		}
		return result
	}
	d.report(n.Line, at, "a merge key (<<) wants a mapping, not %s", describe(n))
	return nil
}

// join extends the path of a field by a name or an index.
func join(at string, next any) string {
	switch v := next.(type) {
	case int:
		return at + "[" + strconv.Itoa(v) + "]"
	case string:
		if !simpleName(v) {
			return at + "[" + quote(v) + "]"
		}
		if at == "" {
			return v
		}
		return at + "." + v
	}
	panic("spec: a path is made of names and indexes")
}

func simpleName(name string) bool {
	return plain.MatchString(name) && !slices.Contains([]rune(name), '.')
}

// describe names what a node is, in words for people.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!str":
		return "the text " + quote(n.Value)
	case "!!int", "!!float":
		return "the number " + show(n.Value)
	case "!!bool":
		return "the truth value " + show(n.Value)
	case "!!null":
		return "nothing"
	}
	return show(n.Value)
}

// quoteHint advises quotes where YAML took a text for something else.
func quoteHint(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	return "; put it in quotes"
}
