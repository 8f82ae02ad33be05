package survey

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
)

func TestWhyUnserved(t *testing.T) {
	resource := func(versions ...string) kube.Resource {
		return kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: "example.com", Resource: "shops"}, Kind: "Shop", Versions: versions}
	}
	other := kube.Resource{GroupVersionResource: schema.GroupVersionResource{Resource: "shops"}, Versions: []string{"v1"}}
	for want, theirs := range map[string][]kube.Resource{
		"the other cluster does not serve its kind: install there what defines it, or leave it out with copy.exclude":                                {other},
		"the other cluster serves its kind in v3 only, and this one in v2, v1 and v1beta1: convert the objects, or serve one version in both":        {other, resource("v3")},
		"the other cluster serves its kind in v4 and v3 only, and this one in v2, v1 and v1beta1: convert the objects, or serve one version in both": {resource("v4", "v3")},
	} {
		if got := WhyUnserved(resource("v2", "v1", "v1beta1"), theirs); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
