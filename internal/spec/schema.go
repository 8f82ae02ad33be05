package spec

import (
	"embed"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
	orderedmap "github.com/pb33f/ordered-map/v2"
)

// SchemaID is the address by which documents may refer to the schema.
const SchemaID = "https://crossfade.dev/schema/v1alpha1.json"

//go:embed types*.go
var typesSource embed.FS

// Schema returns the JSON Schema (draft 2020-12) of one document of any kind, for editors. Its descriptions are the comments
// of the types. What it refuses, Load refuses; Load knows more, since it sees all documents and the files beside them.
func Schema() []byte {
	comments := comments()
	r := jsonschema.Reflector{
		LookupComment: func(t reflect.Type, field string) string {
			return comments[strings.TrimSuffix(t.Name()+"."+field, ".")]
		},
	}
	root := &jsonschema.Schema{
		Version:     jsonschema.Version,
		ID:          SchemaID,
		Title:       "Crossfade configuration",
		Definitions: jsonschema.Definitions{},
	}
	for _, kind := range kinds() {
		for name, definition := range r.ReflectFromType(kind).Definitions {
			root.Definitions[name] = definition
		}
		envelope(root.Definitions[kind.Name()], kind.Name())
		root.OneOf = append(root.OneOf, &jsonschema.Schema{Ref: "#/$defs/" + kind.Name()})
	}
	for name, fields := range shape().Choices {
		choose(root.Definitions[name], fields)
	}
	raw, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("spec: the schema cannot be written: " + err.Error())
	}
	return append(raw, '\n')
}

// envelope puts apiVersion and kind, by which a document says what it is, before the other properties of a kind.
func envelope(kind *jsonschema.Schema, name string) {
	properties := orderedmap.New[string, *jsonschema.Schema]()
	properties.Set("apiVersion", &jsonschema.Schema{Const: APIVersion, Description: "the version of the configuration"})
	properties.Set("kind", &jsonschema.Schema{Const: name, Description: "what the document describes"})
	for p := kind.Properties.Oldest(); p != nil; p = p.Next() {
		properties.Set(p.Key, p.Value)
	}
	kind.Properties = properties
	kind.Required = append([]string{"apiVersion", "kind"}, kind.Required...)
}

// choose asks for exactly one of several fields.
func choose(s *jsonschema.Schema, fields []string) {
	if len(fields) == 1 {
		s.Required = append(s.Required, fields...)
		return
	}
	for _, f := range fields {
		s.OneOf = append(s.OneOf, &jsonschema.Schema{Required: []string{f}})
	}
}

// comments returns the comments of the types in types*.go, by "Type" and "Type.Field".
func comments() map[string]string {
	files, err := typesSource.ReadDir(".")
	if err != nil {
		panic("spec: the types cannot be listed: " + err.Error())
	}
	result := map[string]string{}
	for _, f := range files {
		source, err := typesSource.ReadFile(f.Name())
		if err != nil {
			panic("spec: the types cannot be read: " + err.Error())
		}
		addComments(result, f.Name(), source)
	}
	return result
}

// addComments adds the comments of the types in one file.
func addComments(all map[string]string, name string, source []byte) {
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ParseComments)
	if err != nil {
		panic("spec: the types do not parse: " + err.Error())
	}
	for _, declaration := range file.Decls {
		types, ok := declaration.(*ast.GenDecl)
		if !ok || types.Tok != token.TYPE {
			continue
		}
		t := types.Specs[0].(*ast.TypeSpec)
		all[t.Name.Name] = oneLine(types.Doc)
		for _, f := range t.Type.(*ast.StructType).Fields.List {
			for _, name := range f.Names {
				all[t.Name.Name+"."+name.Name] = oneLine(f.Doc, f.Comment)
			}
		}
	}
}

// oneLine joins the text of the comments that there are.
func oneLine(groups ...*ast.CommentGroup) string {
	groups = slices.DeleteFunc(groups, func(g *ast.CommentGroup) bool { return g == nil })
	var words []string
	for _, g := range groups {
		words = append(words, strings.Fields(g.Text())...)
	}
	return strings.Join(words, " ")
}
