package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

const page = "../../docs/configuration.md"

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestDocsExamplesLoad loads the examples of the page together, as one configuration, with the files they speak of.
func TestDocsExamplesLoad(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{
		"services/orders/kustomization.yaml", "services/web/web.yaml", "checks/smoke.yaml", "prime/ingress/Chart.yaml",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	schema := compile(t)
	examples := yamlBlock.FindAllStringSubmatch(readPage(t), -1)
	for i, m := range examples {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), []byte(m[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, doc := range jsonDocuments(t, []byte(m[1])) {
			if err := schema.Validate(doc); err != nil {
				t.Errorf("example %d: %v", i, err)
			}
		}
	}
	if len(examples) < 5 {
		t.Errorf("the page has only %d examples", len(examples))
	}
	if _, err := Load(dir); err != nil {
		t.Error(err)
	}
}

// TestDocsFields keeps the reference of strict.Fields on the page as the types say.
func TestDocsFields(t *testing.T) {
	const begin, end = "<!-- fields: begin -->\n", "<!-- fields: end -->"
	text := readPage(t)
	before, rest, ok := strings.Cut(text, begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the page has no place for the fields")
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+reference()+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(old, reference()); diff != "" {
		t.Errorf("the page does not list the fields of the types; run this test with -update:\n%s", diff)
	}
}

func readPage(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// reference writes a section with a table for every type of the configuration.
func reference() string {
	texts := comments()
	var out strings.Builder
	for _, s := range structs() {
		fmt.Fprintf(&out, "\n### %s\n\n%s\n\n| field | type | |\n|---|---|---|\n", s.Name(), texts[s.Name()])
		if s.Name() != "Metadata" && slices.ContainsFunc(kinds(), func(k reflect.Type) bool { return k == s }) {
			fmt.Fprintf(&out, "| `apiVersion` | text, required | `%s` |\n| `kind` | text, required | `%s` |\n", APIVersion, s.Name())
		}
		for _, f := range strict.Fields(s) {
			goField := s.FieldByIndex(f.Index)
			text := strings.ReplaceAll(texts[ownerOf(s, fieldAt(s, f.Index))+"."+goField.Name], "|", `\|`)
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", f.Name, typeName(f, s, goField.Type), text)
		}
	}
	return out.String() + "\n"
}

func fieldAt(t reflect.Type, index []int) reflect.StructField {
	f := t.FieldByIndex(index)
	f.Index = index
	return f
}

func typeName(f strict.Field, owner, t reflect.Type) string {
	text := typeWord(t)
	if len(f.Enum) > 0 {
		text = "`" + strings.Join(f.Enum, "` or `") + "`"
	}
	if f.Bare {
		text = "text or number"
	}
	switch {
	case slices.Contains(shape().Choices[owner.Name()], f.Name) && len(shape().Choices[owner.Name()]) > 1:
		text += ", exactly one of `" + strings.Join(shape().Choices[owner.Name()], "`, `") + "`"
	case f.Required || slices.Contains(shape().Choices[owner.Name()], f.Name):
		text += ", required"
	}
	return text
}

func typeWord(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration]():
		return "duration"
	case t.Kind() == reflect.Pointer:
		return typeWord(t.Elem())
	case t.Kind() == reflect.Slice:
		return "list of " + typeWord(t.Elem())
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Interface:
		return "any mapping"
	case t.Kind() == reflect.Map:
		return "mapping to " + typeWord(t.Elem())
	case t.Kind() == reflect.Struct:
		return "[" + t.Name() + "](#" + strings.ToLower(t.Name()) + ")"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "number"
	}
	return "text"
}
