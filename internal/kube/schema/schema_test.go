package schema

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// published is what an API server publishes, in all the forms in which it refers from one schema to another.
const published = `{"components": {"schemas": {
	"io.example.Coupon": {
		"type": "object", "x-kubernetes-group-version-kind": [{"group": "shop.io", "version": "v1", "kind": "Coupon"}],
		"properties": {
			"metadata": {"allOf": [{"$ref": "#/components/schemas/io.k8s.Meta"}], "default": {}},
			"spec": {"type": "object", "properties": {
				"percent": {"type": "integer", "default": 10},
				"free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"size": {"type": "string"}}},
				"any": {"type": "object"},
				"steps": {"type": "array", "items": {"type": "object", "properties": {"mode": {"type": "string", "default": "slow"}}}}}}}},
	"io.k8s.Meta": {"type": "object", "properties": {
		"labels": {"type": "object", "additionalProperties": {"type": "string"}},
		"owners": {"type": "array", "items": {"$ref": "#/components/schemas/io.k8s.Owner"}}}},
	"io.k8s.Owner": {"type": "object", "properties": {"uid": {"type": "string"}}}}}}`

var coupon = schema.GroupVersionKind{Group: "shop.io", Version: "v1", Kind: "Coupon"}

func TestField(t *testing.T) {
	fetched := 0
	s := New(func(context.Context, schema.GroupVersion) ([]byte, error) {
		fetched++
		return []byte(published), nil
	})
	tests := map[string]struct {
		reason string
		kind   schema.GroupVersionKind
		path   string
		want   Field
	}{
		"default":        {reason: "numbers are as JSON has them", path: "spec.percent", want: Field{Known: true, Default: 10.0}},
		"unknown":        {reason: "the API drops such a field", path: "spec.amount"},
		"below unknown":  {reason: "and what is in it", path: "spec.amount.value"},
		"free":           {reason: "the kind takes what it does not name", path: "spec.free.colour.deep", want: Field{Known: true}},
		"named in free":  {reason: "and what it names", path: "spec.free.size", want: Field{Known: true}},
		"any":            {reason: "an object without properties takes all", path: "spec.any.thing", want: Field{Known: true}},
		"item":           {reason: "each item has its default", path: "spec.steps.[].mode", want: Field{Known: true, Default: "slow"}},
		"unknown item":   {reason: "in items too", path: "spec.steps.[].speed"},
		"label":          {reason: "any key of a map", path: "metadata.labels.team", want: Field{Known: true}},
		"reference":      {reason: "by $ref", path: "metadata.owners.[].uid", want: Field{Known: true}},
		"not referenced": {reason: "by $ref", path: "metadata.owners.[].gid"},
		"whole":          {reason: "the default beside a reference", path: "metadata", want: Field{Known: true, Default: map[string]any{}}},
		"other kind":     {reason: "of a kind without a schema nothing is known", kind: coupon.GroupVersion().WithKind("Sale"), path: "spec.x", want: Field{Known: true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.kind.Empty() {
				test.kind = coupon
			}
			got, err := s.Field(t.Context(), test.kind, strings.Split(test.path, "."))
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", test.reason, err, diff)
			}
		})
	}
	if fetched != 1 {
		t.Errorf("fetched %d times, want once", fetched)
	}
}

func TestFieldOfBrokenDocument(t *testing.T) {
	broken := errors.New("no")
	for text, want := range map[string]error{"": broken, "{": nil} {
		s := New(func(context.Context, schema.GroupVersion) ([]byte, error) { return []byte(text), want })
		if _, err := s.Field(t.Context(), coupon, []string{"spec"}); want != nil && !errors.Is(err, want) || fault.CodeOf(err) != fault.Failed {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
