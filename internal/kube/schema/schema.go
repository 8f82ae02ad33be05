// Package schema knows which fields the kinds of a cluster have, and their defaults, from the OpenAPI documents that its API server
// publishes. They say all that definitions of custom resources say; of Kubernetes' own kinds they give few defaults.
package schema

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Item is the step of a path from a list to its items.
const Item = "[]"

// Fetch reads the OpenAPI v3 document of a group and version, as JSON. kube.Cluster has one.
type Fetch func(ctx context.Context, gv schema.GroupVersion) ([]byte, error)

// Schemas is what is known of the kinds of one cluster. Each document is read once, when it is first asked about, and kept. It may be
// used by many goroutines.
type Schemas struct {
	fetch Fetch
	lock  sync.Mutex
	read  map[schema.GroupVersion]document
}

// document are the schemas of a group and version, by their names.
type document map[string]map[string]any

// New returns what is known of the cluster that fetch asks.
func New(fetch Fetch) *Schemas {
	return &Schemas{fetch: fetch, read: map[schema.GroupVersion]document{}}
}

// Field is what is known of a field.
type Field struct {
	Known   bool // the API has the field, or takes any
	Default any  // nil for none
}

// Field looks up the field at a path of keys and Items. The error is one of the fetch, or fault.Failed for a document that cannot be
// read. A kind that is not in its document takes any field.
func (s *Schemas) Field(ctx context.Context, kind schema.GroupVersionKind, path []string) (Field, error) {
	doc, err := s.document(ctx, kind.GroupVersion())
	if err != nil {
		return Field{}, err
	}
	at := doc.kind(kind)
	if at == nil {
		return Field{Known: true}, nil
	}
	for _, step := range path {
		below, open := child(doc.resolve(at), step)
		if below == nil {
			return Field{Known: open}, nil
		}
		at = below
	}
	return Field{Known: true, Default: at["default"]}, nil
}

func (s *Schemas) document(ctx context.Context, gv schema.GroupVersion) (document, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if doc, ok := s.read[gv]; ok {
		return doc, nil
	}
	raw, err := s.fetch(ctx, gv)
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Components struct {
			Schemas document `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(raw, &parsed); err != nil {
		return nil, fault.New(fault.Failed, "cannot read which fields %s has: %w", gv, err)
	}
	s.read[gv] = parsed.Components.Schemas
	return parsed.Components.Schemas, nil
}

// kind finds the schema of a kind; nil when there is none.
func (d document) kind(kind schema.GroupVersionKind) map[string]any {
	for _, s := range d {
		kinds, _ := s["x-kubernetes-group-version-kind"].([]any)
		for _, k := range kinds {
			if named, _ := k.(map[string]any); named["group"] == kind.Group && named["version"] == kind.Version && named["kind"] == kind.Kind {
				return s
			}
		}
	}
	return nil
}

// resolve follows a reference to a named schema, which Kubernetes writes by itself or as the only one of allOf.
func (d document) resolve(s map[string]any) map[string]any {
	if all, _ := s["allOf"].([]any); len(all) == 1 {
		s, _ = all[0].(map[string]any)
	}
	if ref, _ := s["$ref"].(string); ref != "" {
		return d[ref[strings.LastIndex(ref, "/")+1:]]
	}
	return s
}

// child is the schema of a step below s; nil when there is none, with whether s takes fields that it does not name.
func child(s map[string]any, step string) (below map[string]any, open bool) {
	if step == Item {
		below, _ = s["items"].(map[string]any)
		return below, true
	}
	properties, named := s["properties"].(map[string]any)
	if below, ok := properties[step].(map[string]any); ok {
		return below, true
	}
	if below, ok := s["additionalProperties"].(map[string]any); ok {
		return below, true
	}
	return nil, !named || s["x-kubernetes-preserve-unknown-fields"] == true || s["additionalProperties"] == true
}
