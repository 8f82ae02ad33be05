package diff

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// managed are the fields of one object that each field manager has written (KEP-555), status and other subresources aside.
type managed map[string][]map[string]any

func managersOf(obj *unstructured.Unstructured) managed {
	all := managed{}
	for _, entry := range obj.GetManagedFields() {
		var fields map[string]any
		if entry.Subresource != "" || entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		all[entry.Manager] = append(all[entry.Manager], fields)
	}
	return all
}

// of lists the managers that have written the field at a path, in order.
func (m managed) of(p path) []string {
	var names []string
	for _, manager := range slices.Sorted(maps.Keys(m)) {
		if slices.ContainsFunc(m[manager], func(fields map[string]any) bool { return holds(fields, p) }) {
			names = append(names, manager)
		}
	}
	return names
}

// others are the managers of the field at a path that are not Crossfade, and those of them that are no part of the cluster itself.
func (m managed) others(p path) (all, people []string) {
	all = slices.DeleteFunc(m.of(p), func(name string) bool { return name == manager.Crossfade })
	return all, slices.DeleteFunc(slices.Clone(all), manager.IsMachine)
}

// writers are all that have written something of the object.
func (m managed) writers() []string { return slices.Sorted(maps.Keys(m)) }

// holds reports whether a set of fields holds that at a path. A set without anything in it is of a field that is written as a whole.
func holds(fields map[string]any, p path) bool {
	for i, s := range p {
		if i > 0 && len(fields) == 0 {
			return true
		}
		below, ok := fields["f:"+s.key]
		if s.item != nil {
			below, ok = itemIn(fields, s)
		}
		if !ok {
			return false
		}
		fields = field.AsMap(below)
	}
	return true
}

// itemIn finds the entry of a list's item in a set of fields: that of its keys, or the item itself.
func itemIn(fields map[string]any, s step) (any, bool) {
	for key, below := range fields {
		if strings.HasPrefix(key, "k:") && field.ItemMatches(key, field.AsMap(s.item)) {
			return below, true
		}
	}
	return nil, false
}
