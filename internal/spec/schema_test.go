package spec

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
	sigs "sigs.k8s.io/yaml"

	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

// published is where users' editors find the schema of a checkout.
const published = "../../docs/crossfade.schema.json"

func TestSchemaPublished(t *testing.T) {
	if *update {
		if err := os.WriteFile(published, Schema(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(published)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(Schema())); diff != "" {
		t.Errorf("the published schema is not that of the types; run this test with -update:\n%s", diff)
	}
}

// TestSchemaAcceptsGood holds the schema against everything that Load accepts.
func TestSchemaAcceptsGood(t *testing.T) {
	schema := compile(t)
	for name, archive := range archives(t, "testdata/good") {
		for _, f := range archive.Files {
			if !strings.Contains(string(f.Data), "apiVersion: crossfade.dev") {
				continue
			}
			for i, doc := range jsonDocuments(t, f.Data) {
				if err := schema.Validate(doc); err != nil {
					t.Errorf("%s, %s, document %d: %v", name, f.Name, i, err)
				}
			}
		}
	}
}

// TestSchemaRefusesBad holds the schema against mistakes of the sort that it can see: those in the shape of a document.
func TestSchemaRefusesBad(t *testing.T) {
	schema := compile(t)
	for _, name := range []string{"unknown-field", "unknown-kind", "wrong-type", "one-of", "missing", "empty-value", "bad-duration"} {
		refused := map[string]bool{}
		archive := parseArchive(t, filepath.Join("testdata/bad", name+".txtar"))
		for _, f := range archive.Files {
			if !strings.HasSuffix(f.Name, ".yaml") {
				continue
			}
			for _, doc := range jsonDocuments(t, f.Data) {
				if schema.Validate(doc) != nil {
					refused[f.Name] = true
				}
			}
		}
		for file := range filesWithProblems(archive.Files[len(archive.Files)-1].Data) {
			if !refused[file] {
				t.Errorf("%s: Load finds problems in %s, the schema none", name, file)
			}
		}
	}
}

// TestSchemaAndLoaderAgreeOnUnknownFields puts a field that nobody knows into every mapping of the good configuration, one
// at a time: the schema and the loader must both refuse it, or both let it pass (in maps of free keys).
func TestSchemaAndLoaderAgreeOnUnknownFields(t *testing.T) {
	schema := compile(t)
	places := 0
	for _, archive := range archives(t, "testdata/good") {
		for _, f := range archive.Files {
			if !strings.Contains(string(f.Data), "apiVersion: crossfade.dev") || strings.Contains(string(f.Data), "<<") {
				continue
			}
			for n := range len(mappings(parseYAML(t, f.Data))) {
				roots := parseYAML(t, f.Data)
				target := mappings(roots)[n]
				target.Content = append(target.Content, scalar("nobodyKnows"), scalar("x"))
				raw := write(t, roots)
				loaderRefuses := loaderSays(raw, "unknown field nobodyKnows")
				schemaRefuses := false
				for _, doc := range jsonDocuments(t, raw) {
					schemaRefuses = schemaRefuses || schema.Validate(doc) != nil
				}
				if loaderRefuses != schemaRefuses {
					t.Errorf("%s:%d: an unknown field: loader refuses %v, schema %v", f.Name, target.Line, loaderRefuses, schemaRefuses)
				}
				places++
			}
		}
	}
	if places < 50 {
		t.Errorf("only %d places were tried", places)
	}
}

// TestFieldsAreDescribed keeps the schema's descriptions, and so the reference, complete.
func TestFieldsAreDescribed(t *testing.T) {
	texts := comments()
	for _, s := range structs() {
		for _, f := range reflect.VisibleFields(s) {
			if owner := ownerOf(s, f); !f.Anonymous && texts[owner+"."+f.Name] == "" {
				t.Errorf("%s.%s has no comment", owner, f.Name)
			}
		}
	}
	for name := range shape().Choices {
		if !slices.ContainsFunc(structs(), func(s reflect.Type) bool { return s.Name() == name }) {
			t.Errorf("choices names the type %s, which no document has", name)
		}
	}
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(SchemaID, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// jsonDocuments reads YAML documents as a validator in an editor does.
func jsonDocuments(t *testing.T, raw []byte) []any {
	t.Helper()
	var docs []any
	for _, root := range parseYAML(t, raw) {
		text, err := sigs.YAMLToJSON(write(t, []*yaml.Node{root}))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
	return docs
}

func parseYAML(t *testing.T, raw []byte) []*yaml.Node {
	t.Helper()
	roots, problem := strict.Parse("f.yaml", raw)
	if problem != nil {
		t.Fatal(problem)
	}
	return roots
}

func mappings(nodes []*yaml.Node) []*yaml.Node {
	var found []*yaml.Node
	for _, n := range nodes {
		if n.Kind == yaml.MappingNode {
			found = append(found, n)
		}
		found = append(found, mappings(n.Content)...)
	}
	return found
}

func scalar(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

func write(t *testing.T, roots []*yaml.Node) []byte {
	t.Helper()
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	for _, root := range roots {
		if err := e.Encode(root); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func loaderSays(raw []byte, message string) bool {
	l := loader{dir: "/nowhere", complete: true}
	l.add("f.yaml", raw)
	l.config("f.yaml")
	return slices.ContainsFunc(l.problems, func(p Problem) bool { return strings.HasPrefix(p.Message, message) })
}

// filesWithProblems returns the files that the lines of a golden case speak of.
func filesWithProblems(want []byte) map[string]bool {
	files := map[string]bool{}
	for line := range strings.Lines(string(want)) {
		file, _, _ := strings.Cut(line, ":")
		files[file] = true
	}
	return files
}

// structs returns the types that documents are made of, in order of their first use.
func structs() []reflect.Type {
	var found []reflect.Type
	var visit func(reflect.Type)
	visit = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(t.Elem())
		case reflect.Struct:
			if slices.Contains(found, t) {
				return
			}
			found = append(found, t)
			for _, f := range reflect.VisibleFields(t) {
				if !f.Anonymous {
					visit(f.Type)
				}
			}
		}
	}
	for _, kind := range kinds() {
		visit(kind)
	}
	return found
}

// ownerOf names the type in which a field is written: the embedded one for a promoted field.
func ownerOf(t reflect.Type, f reflect.StructField) string {
	for _, i := range f.Index[:len(f.Index)-1] {
		t = t.Field(i).Type
	}
	return t.Name()
}
