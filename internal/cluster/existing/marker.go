package existing

import (
	"context"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
)

// marker says which generation is in a cluster.
type marker struct {
	Name        string
	Environment string
}

// read returns the marker of a cluster, or nil. A cluster in which a generation of another environment is cannot be used
// for this one: that is an error of code fault.Failed.
func (p *Provider) read(ctx context.Context, c *kube.Cluster) (*marker, error) {
	found, err := c.Get(ctx, markerObject(marker{}))
	if err != nil || found == nil {
		return nil, err
	}
	data, _, _ := unstructured.NestedStringMap(found.Object, "data")
	m := &marker{Name: data["name"], Environment: data["environment"]}
	if m.Environment != p.environment {
		return nil, fault.New(fault.Failed, "cannot use the cluster %s for %s: %s of the environment %s is in it",
			c.Access().Context, p.environment, m.Name, m.Environment).
			WithHint("give each environment clusters of its own")
	}
	return m, nil
}

// mark writes the marker, once: of two that mark at the same moment one fails.
func (p *Provider) mark(ctx context.Context, c *kube.Cluster, m marker) error {
	namespace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": kube.SystemNamespace},
	}}
	if _, err := c.Create(ctx, namespace); err != nil {
		return err
	}
	created, err := c.Create(ctx, markerObject(m))
	if err != nil || created != nil {
		return err
	}
	there, err := p.read(ctx, c)
	if err != nil {
		return err
	}
	if there == nil || there.Name != m.Name {
		return fault.New(fault.Failed, "cannot put %s into the cluster %s: another generation is in it", m.Name, c.Access().Context).
			WithHint("see which: crossfade status %s", p.environment)
	}
	return nil
}

func markerObject(m marker) *unstructured.Unstructured {
	data := map[string]any{"name": m.Name, "environment": m.Environment}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "generation", "namespace": kube.SystemNamespace},
		"data":     data,
	}}
}

// platformNamespaces come with clusters, with add-ons of the platform in them; shell patterns.
var platformNamespaces = []string{
	"default", "local-path-storage", "calico-*", "tigera-operator", "cilium*", "gke-*", "gmp-*", "amazon-*", "aks-*", "azure-*",
	"openshift*", "cattle-*", "fleet-*", "metallb-system",
}

// contentOf names one thing that users have in the cluster; "" for an empty one.
func contentOf(ctx context.Context, c *kube.Cluster) (string, error) {
	resources, _, err := c.Resources(ctx)
	if err != nil {
		return "", err
	}
	for _, resource := range resources {
		if !resource.Namespaced || resource.Kind == "Event" || resource.Kind == "Lease" {
			continue
		}
		for obj, err := range c.List(ctx, resource.GroupVersionResource, kube.Query{}) {
			if err != nil {
				return "", err
			}
			if !ofPlatform(obj.GetNamespace()) && !manager.MadeByCluster(obj) {
				return ident.Of(obj), nil
			}
		}
	}
	return "", nil
}

func ofPlatform(namespace string) bool {
	return kube.IsSystemNamespace(namespace) || slices.ContainsFunc(platformNamespaces, func(pattern string) bool {
		ok, err := path.Match(pattern, namespace)
		return ok && err == nil
	})
}
