package strict

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSyntax pins the lines that problems of syntax are reported at, which the YAML library counts in several ways.
func TestSyntax(t *testing.T) {
	tests := map[string]struct {
		raw  string
		line int
		want string
	}{
		"flow mapping":    {"a: 1\nb: 2\nc: {x: y\nd: 1\n", 3, "did not find expected ',' or '}'"},
		"flow sequence":   {"a:\n  b: [1, 2\n", 2, "did not find expected ',' or ']'"},
		"first line":      {"{a", 1, "did not find expected ',' or '}'"},
		"indentation":     {"a: 1\n b: 2\n", 2, "mapping values are not allowed in this context"},
		"block mapping":   {"x: 1\ny:\n  a: 1\n c: 2\n", 4, "did not find expected key"},
		"anchor":          {"a: 1\nb: 2\nc: *none\n", 3, "unknown anchor 'none' referenced"},
		"quote":           {"a: 1\nb: \"x\nc: 2\n", 2, "found unexpected end of stream"},
		"tab":             {"a:\n\tb: 1\n", 2, "a tab in the indentation; indent with spaces"},
		"second document": {"a: 1\n---\nb: [\n", 3, "did not find expected node content"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, got := Parse("f.yaml", []byte(tc.raw))
			want := &Problem{File: "f.yaml", Line: tc.line, Message: "is not YAML: " + tc.want}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestProblemsError(t *testing.T) {
	one := Problem{File: "a.yaml", Line: 3, Field: "spec.x", Message: "is missing"}
	tests := map[string]struct {
		problems Problems
		want     string
	}{
		"none":  {nil, "no problems"},
		"one":   {Problems{one}, "a.yaml:3: spec.x: is missing"},
		"two":   {Problems{one, one}, "2 problems, the first: a.yaml:3: spec.x: is missing"},
		"whole": {Problems{{File: "a", Message: "is empty"}}, "a: is empty"},
	}
	for name, tc := range tests {
		if diff := cmp.Diff(tc.want, tc.problems.Error()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"services", "service", "routes", "a"}
	tests := map[string]struct{ name, want string }{
		"missing letter": {"servces", "; did you mean services?"},
		"case":           {"Routes", "; did you mean routes?"},
		"swapped":        {"ruotes", "; did you mean routes?"},
		"far":            {"checks", ""},
		"one letter":     {"b", ""},
		"long":           {strings.Repeat("services", 1000), ""},
	}
	for name, tc := range tests {
		if diff := cmp.Diff(tc.want, Suggest(tc.name, known)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestShow(t *testing.T) {
	tests := map[string]struct{ name, want string }{
		"plain":   {"spec.routes-1", "spec.routes-1"},
		"spaces":  {"a b", `"a b"`},
		"control": {"a\nb\x1b[31m", `"a\nb\x1b[31m"`},
		"long":    {strings.Repeat("ä", 80), `"` + strings.Repeat("ä", 60) + `..."`},
		"empty":   {"", `""`},
	}
	for name, tc := range tests {
		if diff := cmp.Diff(tc.want, Show(tc.name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestPlace pins the paths and lines that problems are reported at.
func TestPlace(t *testing.T) {
	roots, problem := Parse("f.yaml", []byte("a:\n  b:\n    - c: 1\n    - c: [x]\n  \"d e\": {}\n"))
	if problem != nil {
		t.Fatal(problem)
	}
	var out struct {
		A struct {
			B []struct {
				C int `json:"c"`
			} `json:"b"`
			D map[string]int `json:"d e"`
		} `json:"a"`
	}
	doc := NewDocument("f.yaml", roots[0])
	doc.Decode(roots[0], &out, Shape{})
	root := Place{Doc: doc}
	type seen struct {
		Path, Where string
		Readable    bool
	}
	tests := map[string]struct {
		place Place
		want  seen
	}{
		"written":     {root.To("a", "b", 0, "c"), seen{"a.b[0].c", "f.yaml:3", true}},
		"broken":      {root.To("a", "b", 1, "c"), seen{"a.b[1].c", "f.yaml:4", false}},
		"above":       {root.To("a", "b"), seen{"a.b", "f.yaml:2", false}},
		"beside":      {root.To("a", "bb"), seen{"a.bb", "f.yaml:1", true}},
		"odd name":    {root.To("a", "d e"), seen{`a["d e"]`, "f.yaml:5", true}},
		"not written": {root.To("x", "y"), seen{"x.y", "f.yaml:1", true}},
	}
	for name, tc := range tests {
		got := seen{tc.place.Path, tc.place.Where(), tc.place.Readable()}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
