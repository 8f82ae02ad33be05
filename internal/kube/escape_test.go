package kube

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

// TestApplyBody: whatever text an object holds, a reader of YAML gets it as it is.
func TestApplyBody(t *testing.T) {
	for _, text := range []string{"a\x7fb", "\u0080\u0085\u009f", "\ufeff", "\uffff", "a\u2028b\u2029c", "😀\t\n\"\\", "<&>", strings.Repeat("é\x7f", 1000)} {
		checkBody(t, text)
	}
	rapid.Check(t, func(r *rapid.T) { checkBody(r, rapid.String().Draw(r, "text")) })
}

func checkBody(t interface{ Fatalf(string, ...any) }, text string) {
	raw, err := applyBody(&unstructured.Unstructured{Object: map[string]any{"data": map[string]any{"key": text}}})
	if err != nil {
		t.Fatalf("%v", err)
	}
	var got map[string]map[string]string
	if err := yaml.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if diff := cmp.Diff(text, got["data"]["key"]); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}
