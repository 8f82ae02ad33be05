package strict

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Document is one YAML document: where its fields stand, and what is wrong with it.
type Document struct {
	File     string // as shown to people
	Problems Problems
	line     int             // of its first field
	lines    map[string]int  // by field
	broken   map[string]bool // fields that could not be read
}

// Shape is what the types of a document cannot say by themselves.
type Shape struct {
	Envelope []string            // fields of the document itself, read before and passed over here
	Choices  map[string][]string // by name of a type: the fields of which exactly one is set
}

// NewDocument returns the document with the given root, of which nothing has been read yet.
func NewDocument(file string, root *yaml.Node) *Document {
	return &Document{File: file, line: root.Line, lines: map[string]int{}, broken: map[string]bool{}}
}

// Decode reads a node of the document into what out points to. The types may be structs, pointers to structs, slices, maps
// from string, string, int, bool, any (in maps), and those that implement json.Unmarshaler and are written as a text, which
// must say what they want when given anything else. Fields are named by their json tags; "enum", "minimum", "maximum" and
// "oneof_type=string;integer" of their jsonschema tags are kept to.
func (d *Document) Decode(root *yaml.Node, out any, shape Shape) {
	(&decoder{Document: d, shape: shape}).value(root, "", Field{}, reflect.ValueOf(out).Elem())
}

// Mapping reports whether a node is a mapping, and a problem if it is not.
func (d *Document) Mapping(n *yaml.Node) bool {
	return (&decoder{Document: d}).want(n, "", yaml.MappingNode)
}

// Report adds a problem with a field. A field that could not be read has one already, and gets no other.
func (d *Document) Report(line int, field, format string, args ...any) {
	if d.broken[field] {
		return
	}
	d.Problems = append(d.Problems, Problem{File: d.File, Line: line, Field: field, Message: fmt.Sprintf(format, args...)})
}

// Place is a field of a document: what validation speaks about.
type Place struct {
	Doc  *Document
	Path string // for example spec.routes[0].host
}

// To returns the place of a field, an index or a key below.
func (p Place) To(next ...any) Place {
	for _, n := range next {
		p.Path = join(p.Path, n)
	}
	return p
}

// Line returns the line of the place or, when it is not written, of the nearest place above it that is.
func (p Place) Line() int {
	for path := p.Path; path != ""; {
		if line, ok := p.Doc.lines[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return p.Doc.line
}

// Problem reports a problem with the place.
func (p Place) Problem(format string, args ...any) { p.Doc.Report(p.Line(), p.Path, format, args...) }

// Readable reports whether what stands at the place could be read, all of it.
func (p Place) Readable() bool {
	for path := range p.Doc.broken {
		if path == p.Path || strings.HasPrefix(path, p.Path) && strings.ContainsAny(path[len(p.Path):][:1], ".[") {
			return false
		}
	}
	return true
}

// Where says where the place is: file:line.
func (p Place) Where() string { return p.Doc.File + ":" + strconv.Itoa(p.Line()) }

// join extends the path of a field by a name or an index.
func join(at string, next any) string {
	switch v := next.(type) {
	case int:
		return at + "[" + strconv.Itoa(v) + "]"
	case string:
		if !simpleName(v) {
			return at + "[" + Quote(v) + "]"
		}
		if at == "" {
			return v
		}
		return at + "." + v
	}
	panic("strict: a path is made of names and indexes")
}

func simpleName(name string) bool {
	return plain.MatchString(name) && !slices.Contains([]rune(name), '.')
}
