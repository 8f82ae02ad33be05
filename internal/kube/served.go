package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/ssa/utils"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
)

// named is how many objects an error about many of them names.
const named = 20

// mustServe refuses objects of kinds, or versions of kinds, that the cluster does not serve and no definition among them brings. Its
// error names each with the version in which the cluster serves such a kind.
func (c *Cluster) mustServe(ctx context.Context, objs []*unstructured.Unstructured) error {
	unserved, err := c.unserved(objs)
	if err != nil || len(unserved) == 0 {
		return err
	}
	resources, _, err := c.Resources(ctx)
	if err != nil {
		return err
	}
	var texts []string
	for _, obj := range unserved[:min(named, len(unserved))] {
		text := fmt.Sprintf("%s in %s", ident.Of(obj), obj.GetAPIVersion())
		if now := servedAs(obj.GetKind(), resources); len(now) > 0 {
			text += " (write it in " + strings.Join(now, " or ") + ")"
		}
		texts = append(texts, text)
	}
	if more := len(unserved) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return fault.New(fault.Failed, "cannot apply %d of %d objects: the cluster %s does not serve their kinds: %s", len(unserved), len(objs), c.access.Context, strings.Join(texts, "; ")).
		WithHint("the fields of another version may differ: https://kubernetes.io/docs/reference/using-api/deprecation-guide; a custom kind needs its CustomResourceDefinition applied before")
}

// unserved are the objects that the API server would not know, in their order.
func (c *Cluster) unserved(objs []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	brought := map[schema.GroupKind]bool{}
	for _, obj := range objs {
		if utils.IsCRD(obj) {
			group, _, _ := unstructured.NestedString(obj.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "kind")
			brought[schema.GroupKind{Group: group, Kind: kind}] = true
		}
	}
	var unserved []*unstructured.Unstructured
	for _, obj := range objs {
		gvk := obj.GroupVersionKind()
		if brought[gvk.GroupKind()] {
			continue
		}
		_, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		switch {
		case meta.IsNoMatchError(err):
			unserved = append(unserved, obj)
		case err != nil:
			return nil, c.Fault(err, "cannot ask the cluster %s what it serves", c.access.Context)
		}
	}
	return unserved, nil
}

// servedAs lists the versions in which kinds of a name are served.
func servedAs(kind string, resources []Resource) []string {
	var versions []string
	for _, r := range resources {
		if r.Kind == kind {
			versions = append(versions, r.GroupVersionResource.GroupVersion().String())
		}
	}
	return slices.Compact(versions)
}
