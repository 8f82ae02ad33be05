package strict

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Field is one field of a type of the configuration, as its tags describe it.
type Field struct {
	Name     string
	Index    []int    // as reflect knows it
	Required bool     // its tag has neither omitempty nor omitzero
	Bare     bool     // an integer is taken for a text too
	Enum     []string // the only values that it may have; nil for any
	Min, Max int      // of an integer; no bounds when both are 0
}

// Fields returns the fields of a type, those of embedded types among them.
func Fields(t reflect.Type) []Field {
	var fields []Field
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		result := Field{Name: name, Index: f.Index, Required: options != "omitempty" && options != "omitzero"}
		for option := range strings.SplitSeq(f.Tag.Get("jsonschema"), ",") {
			result.read(option)
		}
		fields = append(fields, result)
	}
	return fields
}

func (f *Field) read(option string) {
	key, value, _ := strings.Cut(option, "=")
	switch key {
	case "enum":
		f.Enum = append(f.Enum, value)
	case "oneof_type":
		f.Bare = value == "string;integer"
	case "minimum":
		f.Min, _ = strconv.Atoi(value)
	case "maximum":
		f.Max, _ = strconv.Atoi(value)
	}
}

func names(fields []Field) []string {
	var result []string
	for _, f := range fields {
		result = append(result, f.Name)
	}
	return result
}

func find(fields []Field, name string) (Field, bool) {
	i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return Field{}, false
	}
	return fields[i], true
}
