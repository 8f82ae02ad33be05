package strict

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Bounds of one document after its aliases are followed, in nodes and levels; they stop what would expand without end.
const (
	maxNodes = 200_000
	maxDepth = 100
)

// decoder reads the nodes of one document into Go values as strictly as the types allow: unknown and repeated fields, wrong
// types and empty values are problems, and reading goes on after each.
type decoder struct {
	*Document
	shape        Shape
	nodes, depth int
}

// fail reports a field that could not be read, so that nothing else is said about it.
func (d *decoder) fail(n *yaml.Node, at, format string, args ...any) {
	d.Report(n.Line, at, format, args...)
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
		d.fail(n, "", "is nested too deeply, or its aliases expand to too much, at %s", Show(at))
	}
	return false
}

func (d *decoder) leave() { d.depth-- }

// value reads a node into out.
func (d *decoder) value(n *yaml.Node, at string, f Field, out reflect.Value) {
	n = d.enter(n, at)
	defer d.leave()
	switch {
	case n == nil:
	case n.ShortTag() == "!!null":
		d.fail(n, at, "is empty; give it a value or leave it out")
	case reflect.PointerTo(out.Type()).Implements(reflect.TypeFor[json.Unmarshaler]()):
		d.text(n, at, out.Addr().Interface().(json.Unmarshaler))
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
	fields := Fields(out.Type())
	var set []string
	for _, p := range d.pairs(n, at) {
		if at == "" && slices.Contains(d.shape.Envelope, p.name) {
			continue
		}
		f, known := find(fields, p.name)
		if !known {
			d.Report(p.key.Line, join(at, p.name), "unknown field %s%s", Show(p.name), Suggest(p.name, names(fields)))
			continue
		}
		set = append(set, f.Name)
		d.lines[join(at, f.Name)] = p.key.Line
		d.value(p.value, join(at, f.Name), f, out.FieldByIndex(f.Index))
	}
	d.complete(n, at, fields, set)
	d.chosen(n, at, d.shape.Choices[out.Type().Name()], set)
}

// complete reports required fields that are not set.
func (d *decoder) complete(n *yaml.Node, at string, fields []Field, set []string) {
	for _, f := range fields {
		if f.Required && !slices.Contains(set, f.Name) {
			d.fail(n, join(at, f.Name), "is missing")
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
		d.Report(n.Line, at, "%s is missing", of[0])
	case len(found) == 0:
		d.Report(n.Line, at, "needs exactly one of %s", List(of))
	default:
		d.Report(n.Line, at, "has %s, but exactly one of %s may be set", List(found), List(of))
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
		d.value(item, place, Field{Required: true}, out.Index(i))
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
			d.value(p.value, place, Field{}, element)
		}
		out.SetMapIndex(reflect.ValueOf(p.name), element)
	}
}

// text reads a value that is written as a text and reads itself, such as a duration.
func (d *decoder) text(n *yaml.Node, at string, out json.Unmarshaler) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		d.fail(n, at, "%v, not %s", out.UnmarshalJSON([]byte("{}")), describe(n))
		return
	}
	raw, err := json.Marshal(n.Value)
	if err == nil {
		err = out.UnmarshalJSON(raw)
	}
	if err != nil {
		d.fail(n, at, "%v", err)
	}
}

func (d *decoder) scalar(n *yaml.Node, at string, f Field, out reflect.Value) {
	tag := n.ShortTag()
	switch out.Kind() {
	case reflect.Bool:
		if tag != "!!bool" || n.Decode(out.Addr().Interface()) != nil {
			d.fail(n, at, "wants true or false, not %s", describe(n))
		}
	case reflect.Int:
		d.integer(n, at, f, out)
	case reflect.Float64:
		d.number(n, at, f, out)
	case reflect.String:
		if n.Kind != yaml.ScalarNode || tag != "!!str" && !(f.Bare && tag == "!!int") {
			d.fail(n, at, "wants a text, not %s%s", describe(n), quoteHint(n))
			return
		}
		out.SetString(n.Value)
		if f.Required && n.Value == "" {
			d.fail(n, at, "must not be empty")
		}
		if len(f.Enum) > 0 && !slices.Contains(f.Enum, n.Value) {
			d.fail(n, at, "must be one of %s, not %s%s", List(f.Enum), Show(n.Value), Suggest(n.Value, f.Enum))
		}
	default:
		panic("strict: no reader for fields of type " + out.Type().String())
	}
}

func (d *decoder) integer(n *yaml.Node, at string, f Field, out reflect.Value) {
	if n.ShortTag() != "!!int" || n.Decode(out.Addr().Interface()) != nil {
		d.fail(n, at, "wants a whole number, not %s", describe(n))
		return
	}
	d.bounded(n, at, f, float64(out.Int()))
}

func (d *decoder) number(n *yaml.Node, at string, f Field, out reflect.Value) {
	if tag := n.ShortTag(); tag != "!!int" && tag != "!!float" || n.Decode(out.Addr().Interface()) != nil || math.IsNaN(out.Float()) || math.IsInf(out.Float(), 0) {
		d.fail(n, at, "wants a number, not %s", describe(n))
		return
	}
	d.bounded(n, at, f, out.Float())
}

// bounded reports a number that is not between the bounds of its field.
func (d *decoder) bounded(n *yaml.Node, at string, f Field, v float64) {
	switch {
	case f.Max != 0 && (v < float64(f.Min) || v > float64(f.Max)):
		d.fail(n, at, "must be between %d and %d, not %v", f.Min, f.Max, v)
	case f.Min != 0 && v < float64(f.Min):
		d.fail(n, at, "must be at least %d, not %v", f.Min, v)
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
			d.fail(n, at, "cannot be read: %s", Show(n.Value))
		}
		if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			d.fail(n, at, "%s is not a number that JSON can hold", Show(n.Value))
			return nil
		}
		return v
	}
	d.fail(n, at, "the tag %s is not supported", Show(n.Tag))
	return nil
}

// want reports a node that is not of the given kind.
func (d *decoder) want(n *yaml.Node, at string, kind yaml.Kind) bool {
	if n.Kind == kind && (n.ShortTag() == "!!map" || n.ShortTag() == "!!seq") {
		return true
	}
	if n.Kind == kind {
		d.fail(n, at, "the tag %s is not supported", Show(n.Tag))
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
			d.Report(key.Line, at, "has %s for a field name", describe(key))
		case seen[key.Value]:
			d.Report(key.Line, join(at, key.Value), "is set twice")
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
	d.Report(n.Line, at, "a merge key (<<) wants a mapping, not %s", describe(n))
	return nil
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
		return "the text " + Quote(n.Value)
	case "!!int", "!!float":
		return "the number " + Show(n.Value)
	case "!!bool":
		return "the truth value " + Show(n.Value)
	case "!!null":
		return "nothing"
	}
	return Show(n.Value)
}

// quoteHint advises quotes where YAML took a text for something else.
func quoteHint(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	return "; put it in quotes"
}
