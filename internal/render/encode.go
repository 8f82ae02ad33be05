package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Encode writes objects so that the same objects give the same bytes, whatever their order: a line of JSON an object, keys
// sorted, lines sorted. What it returns may hold the data of Secrets.
func Encode(objs []*unstructured.Unstructured) ([]byte, error) {
	lines := make([][]byte, 0, len(objs))
	for _, obj := range objs {
		line, err := json.Marshal(obj.Object)
		if err != nil {
			return nil, fault.New(fault.Invalid, "cannot encode %s: %w", Describe(obj), err)
		}
		lines = append(lines, line)
	}
	slices.SortFunc(lines, bytes.Compare)
	return bytes.Join(lines, []byte("\n")), nil
}

// Decode reads what Encode wrote.
func Decode(raw []byte) ([]*unstructured.Unstructured, error) {
	var objs []*unstructured.Unstructured
	for i, line := range bytes.Split(raw, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var content map[string]any
		if err := utiljson.Unmarshal(line, &content); err != nil {
			return nil, fault.New(fault.Invalid, "cannot decode recorded objects: line %d: %w", i+1, err)
		}
		more, err := expand(&unstructured.Unstructured{Object: content})
		if err != nil {
			return nil, fmt.Errorf("cannot decode recorded objects: %w", fault.New(fault.Invalid, "line %d: %w", i+1, err))
		}
		objs = append(objs, more...)
	}
	return objs, nil
}
