package part

import (
	"context"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
)

// Count returns how many objects in a cluster have all of the labels.
func Count(ctx context.Context, access cluster.Access, all map[string]string) (count int, err error) {
	c, err := kube.Connect(access)
	if err != nil {
		return 0, err
	}
	resources, _, err := c.Resources(ctx)
	if err != nil {
		return 0, err
	}
	for _, r := range resources {
		for _, err := range c.List(ctx, r.GroupVersionResource, kube.Query{Labels: labels.Set(all).String()}) {
			if err != nil {
				return count, err
			}
			count++
		}
	}
	return count, nil
}
