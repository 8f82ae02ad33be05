package definition_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/definition"
)

func TestDefinition(t *testing.T) {
	tests := map[string]struct {
		reason   string
		obj      string
		is       bool
		resource schema.GroupResource
		served   []schema.GroupVersionKind
	}{
		"two versions": {
			"one that is not served cannot be waited for", `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: shops.example.com},
			  spec: {group: example.com, names: {plural: shops, kind: Shop}, versions: [{name: v1, served: true}, {name: v1beta1, served: false}, {name: v2, served: true}]}}`,
			true,
			schema.GroupResource{Group: "example.com", Resource: "shops"},
			[]schema.GroupVersionKind{{Group: "example.com", Version: "v1", Kind: "Shop"}, {Group: "example.com", Version: "v2", Kind: "Shop"}},
		},
		"of its name alone": {
			"a kind is told by its group too", `{apiVersion: example.com/v1, kind: CustomResourceDefinition, metadata: {name: a}}`,
			false,
			schema.GroupResource{},
			nil,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			obj := kubetest.Objects(t, test.obj)[0]
			if definition.Is(obj) != test.is {
				t.Errorf("%s: want %t", test.reason, test.is)
			}
			if diff := cmp.Diff(test.resource, definition.Resource(obj)); diff != "" {
				t.Errorf("resource (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.served, definition.Served(obj)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}
