package kube

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/crossfade-dev/crossfade/internal/kube/apierror"
)

// Resource is a kind of object that an API server stores.
type Resource struct {
	schema.GroupVersionResource
	Kind       string
	Namespaced bool
	Versions   []string // every version served, the preferred one first

	others []string // its singular and short names
}

// Named reports whether kubectl would take name for this resource: its kind, its plural, singular or a short name, in any case, with
// or without its group.
func (r Resource) Named(name string) bool {
	name, group, grouped := strings.Cut(name, ".")
	if grouped && !strings.EqualFold(group, r.Group) {
		return false
	}
	return slices.ContainsFunc(append([]string{r.Kind, r.Resource}, r.others...), func(known string) bool { return strings.EqualFold(name, known) })
}

// GroupKind returns the kind with its group.
func (r Resource) GroupKind() schema.GroupKind { return schema.GroupKind{Group: r.Group, Kind: r.Kind} }

// Resources lists every resource that the API server serves and that can be listed and written, each in its preferred
// version. Groups whose own API server does not answer are returned as missing, not as an error.
func (c *Cluster) Resources(ctx context.Context) (served []Resource, missing []string, err error) {
	groups, lists, err := c.found.ServerGroupsAndResourcesWithContext(ctx)
	if partial, ok := errors.AsType[*discovery.ErrGroupDiscoveryFailed](err); ok && len(lists) > 0 {
		for gv, cause := range partial.Groups {
			if apierror.IsNetwork(cause) { // the API server itself went away, not one behind it
				return nil, nil, c.Fault(cause, "cannot ask the cluster %s what it serves", c.access.Context)
			}
			missing = append(missing, gv.String())
		}
		slices.Sort(missing)
	} else if err != nil {
		return nil, nil, c.Fault(err, "cannot ask the cluster %s what it serves", c.access.Context)
	}
	byKind := map[schema.GroupResource]Resource{}
	preference := preferences(groups)
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue // not a version that objects can name
		}
		for _, found := range list.APIResources {
			if stored(found) {
				addResource(byKind, gv, found, preference)
			}
		}
	}
	resources := make([]Resource, 0, len(byKind))
	for _, r := range byKind {
		resources = append(resources, r)
	}
	slices.SortFunc(resources, func(a, b Resource) int {
		return cmp.Or(strings.Compare(a.Group, b.Group), strings.Compare(a.Resource, b.Resource))
	})
	return resources, missing, nil
}

// OpenAPI returns what the API server publishes about the kinds of a group and version: an OpenAPI v3 document, as JSON.
func (c *Cluster) OpenAPI(ctx context.Context, gv schema.GroupVersion) ([]byte, error) {
	path := "/openapi/v3/apis/" + gv.String()
	if gv.Group == "" {
		path = "/openapi/v3/api/" + gv.Version
	}
	raw, err := c.found.RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json").DoRaw(ctx)
	if err != nil {
		return nil, c.Fault(err, "cannot ask the cluster %s which fields %s has", c.access.Context, gv)
	}
	return raw, nil
}

// stored reports whether objects of the resource can be listed and written: not a subresource, not a review.
func stored(r metav1.APIResource) bool {
	verbs := []string(r.Verbs)
	return !strings.Contains(r.Name, "/") && slices.Contains(verbs, "list") && slices.Contains(verbs, "create") && slices.Contains(verbs, "patch")
}

// preferences ranks the versions of each group; the preferred one has the lowest rank.
func preferences(groups []*metav1.APIGroup) map[schema.GroupVersion]int {
	ranks := map[schema.GroupVersion]int{}
	for _, group := range groups {
		for i, version := range group.Versions {
			rank := i + 1
			if version.Version == group.PreferredVersion.Version {
				rank = 0
			}
			ranks[schema.GroupVersion{Group: group.Name, Version: version.Version}] = rank
		}
	}
	return ranks
}

func addResource(all map[schema.GroupResource]Resource, gv schema.GroupVersion, found metav1.APIResource, ranks map[schema.GroupVersion]int) {
	gvr := gv.WithResource(found.Name)
	r, known := all[gvr.GroupResource()]
	if !known {
		r = Resource{GroupVersionResource: gvr, Kind: found.Kind, Namespaced: found.Namespaced}
		r.others = append(slices.Clone(found.ShortNames), found.SingularName)
	}
	r.Versions = append(r.Versions, gv.Version)
	slices.SortFunc(r.Versions, func(a, b string) int {
		return cmp.Compare(ranks[schema.GroupVersion{Group: gv.Group, Version: a}], ranks[schema.GroupVersion{Group: gv.Group, Version: b}])
	})
	r.Version = r.Versions[0]
	all[gvr.GroupResource()] = r
}
