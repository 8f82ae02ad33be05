package wire

import (
	"fmt"
	"iter"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// List is one page of a list of objects, which are read one at a time.
type List struct {
	Kind       string `json:"kind"` // of the list, as PodList
	APIVersion string `json:"apiVersion"`
	Metadata   struct {
		ResourceVersion string `json:"resourceVersion"`
		Continue        string `json:"continue"` // where the next page begins, "" on the last one
	} `json:"metadata"`
	Raw []jsontext.Value `json:"items"`
}

// DecodeList reads a page of a list, but not what is in its objects.
func DecodeList(raw []byte) (List, error) {
	var l List
	if err := json.Unmarshal(raw, &l, as); err != nil {
		return List{}, fmt.Errorf("cannot read a list: %w", err)
	}
	return l, nil
}

// Items yields the objects. Those of Kubernetes' own kinds leave out in a list what they are; it is put in.
func (l List) Items() iter.Seq2[map[string]any, error] {
	return func(yield func(map[string]any, error) bool) {
		for _, raw := range l.Raw {
			obj, err := Decode(raw)
			if err != nil {
				yield(nil, err)
				return
			}
			if _, there := obj["kind"]; !there {
				obj["kind"] = strings.TrimSuffix(l.Kind, "List")
			}
			if _, there := obj["apiVersion"]; !there {
				obj["apiVersion"] = l.APIVersion
			}
			if !yield(obj, nil) {
				return
			}
		}
	}
}
