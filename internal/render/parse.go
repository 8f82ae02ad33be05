package render

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// document is one YAML document of a file.
type document struct {
	line int // of its first line in the file, from 1
	text []byte
}

// parse reads the documents of one file, JSON or YAML. Lists are taken apart, empty documents are skipped.
func parse(path string, raw []byte) ([]*unstructured.Unstructured, error) {
	var objs []*unstructured.Unstructured
	for _, doc := range split(raw) {
		content, err := decode(doc.text)
		if err != nil {
			return nil, invalid(path, doc.line+lineOf(err)-1, "%s", parseReason(err))
		}
		if len(content) == 0 {
			continue
		}
		more, err := expand(&unstructured.Unstructured{Object: content})
		if err != nil {
			return nil, invalid(path, doc.line, "%s", oneLine(err))
		}
		objs = append(objs, more...)
	}
	return objs, nil
}

// decode reads one document into a map; nil when there is nothing but comments in it.
func decode(text []byte) (map[string]any, error) {
	raw, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	var content any
	if err := utiljson.Unmarshal(raw, &content); err != nil {
		return nil, err
	}
	switch v := content.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return v, nil
	default:
		return nil, fmt.Errorf("want an object with apiVersion, kind and metadata")
	}
}

// expand takes a List apart, and refuses what the API server would not take for an object.
func expand(obj *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	if apiVersion, _, _ := unstructured.NestedString(obj.Object, "apiVersion"); apiVersion == "" {
		return nil, fmt.Errorf("apiVersion is missing")
	}
	if kind, _, _ := unstructured.NestedString(obj.Object, "kind"); kind == "" {
		return nil, fmt.Errorf("kind is missing")
	}
	items, isList := obj.Object["items"].([]any)
	if isList && strings.HasSuffix(obj.GetKind(), "List") {
		return expandList(items)
	}
	if _, ok := obj.Object["metadata"].(map[string]any); !ok || obj.GetName() == "" {
		return nil, fmt.Errorf("metadata.name of this %s is missing", obj.GetKind())
	}
	return []*unstructured.Unstructured{obj}, nil
}

func expandList(items []any) ([]*unstructured.Unstructured, error) {
	var objs []*unstructured.Unstructured
	for i, item := range items {
		content, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("items[%d] is not an object", i)
		}
		more, err := expand(&unstructured.Unstructured{Object: content})
		if err != nil {
			return nil, fmt.Errorf("items[%d]: %w", i, err)
		}
		objs = append(objs, more...)
	}
	return objs, nil
}

// split cuts a file at the lines that YAML takes for the start of a document (YAML 1.2 section 9.2), and keeps count of lines.
func split(raw []byte) []document {
	docs := []document{{line: 1}}
	for i, line := range bytes.SplitAfter(raw, []byte("\n")) {
		last := &docs[len(docs)-1]
		if rest, ok := bytes.CutPrefix(line, []byte("---")); ok && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")) {
			docs = append(docs, document{line: i + 1, text: rest})
			continue
		}
		last.text = append(last.text, line...)
	}
	return docs
}

var yamlLine = regexp.MustCompile(`line (\d+)(: )?`)

// lineOf returns the line that the YAML library names, relative to its document, or 1.
func lineOf(err error) int {
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return n
		}
	}
	return 1
}

// parseReason is the library's reason without its prefixes and without the line, which is relative to the document.
func parseReason(err error) string {
	text := oneLine(err)
	for _, prefix := range []string{"error converting YAML to JSON: ", "yaml: ", "unmarshal errors: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return yamlLine.ReplaceAllString(text, "")
}

func invalid(path string, line int, format string, args ...any) error {
	return fault.New(fault.Invalid, "cannot read the manifest %s:%d: %s", path, line, fmt.Sprintf(format, args...)).
		WithHint("correct the manifest; kubectl apply --dry-run=client -f %s shows the same problem", path)
}
