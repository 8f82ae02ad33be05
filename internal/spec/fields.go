package spec

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// choices lists, for each type of which exactly one of several fields is set, those fields. The loader and the schema both
// follow it.
var choices = map[string][]string{
	"Router":      {"caddy"},
	"Unit":        {"files", "kustomize", "helm"},
	"ServiceSpec": {"files", "kustomize", "helm"},
	"Route":       {"service", "backend"},
	"Check":       {"http", "command", "job"},
	"HTTPCheck":   {"url", "route"},
}

// field is one field of a type of the configuration, as its tags describe it.
type field struct {
	name     string
	index    []int
	required bool
	bare     bool // an integer is taken for a text too
	enum     []string
	min, max int // of an integer; no bounds when both are 0
}

// fieldsOf returns the fields of a type, those of embedded types among them.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		result := field{name: name, index: f.Index, required: options != "omitempty" && options != "omitzero"}
		for option := range strings.SplitSeq(f.Tag.Get("jsonschema"), ",") {
			result.read(option)
		}
		fields = append(fields, result)
	}
	return fields
}

func (f *field) read(option string) {
	key, value, _ := strings.Cut(option, "=")
	switch key {
	case "enum":
		f.enum = append(f.enum, value)
	case "oneof_type":
		f.bare = value == "string;integer"
	case "minimum":
		f.min, _ = strconv.Atoi(value)
	case "maximum":
		f.max, _ = strconv.Atoi(value)
	}
}

func names(fields []field) []string {
	var result []string
	for _, f := range fields {
		result = append(result, f.name)
	}
	return result
}

func find(fields []field, name string) (field, bool) {
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return field{}, false
	}
	return fields[i], true
}
