package kube

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
)

// RemoveCreated deletes every object that Crossfade has made in the cluster, in an order in which nothing is held up by what
// went before it, and returns when all of them are gone: what guards the API first (webhooks would refuse the deletions),
// then namespaces and everything else, and definitions of kinds last. Objects that were there before Crossfade applied them
// stay. It may be called again after it was interrupted. Objects that are not gone when ctx ends are an error of code
// fault.Failed that names one.
func (c *Cluster) RemoveCreated(ctx context.Context, progress cluster.Progress) error {
	resources, _, err := c.Resources(ctx)
	if err != nil {
		return err
	}
	phases := make([][]Resource, 3)
	for _, r := range resources {
		phases[removalPhase(r)] = append(phases[removalPhase(r)], r)
	}
	for _, phase := range phases {
		if err := c.removePhase(ctx, phase, progress); err != nil {
			return err
		}
	}
	return nil
}

func removalPhase(r Resource) int {
	switch r.GroupKind().String() {
	case "ValidatingWebhookConfiguration.admissionregistration.k8s.io", "MutatingWebhookConfiguration.admissionregistration.k8s.io",
		"ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io", "APIService.apiregistration.k8s.io":
		return 0
	case "CustomResourceDefinition.apiextensions.k8s.io":
		return 2
	default:
		return 1
	}
}

// removePhase deletes what Crossfade has made of some kinds and observes until none of it is there.
func (c *Cluster) removePhase(ctx context.Context, resources []Resource, progress cluster.Progress) error {
	told, left := "", ""
	err := poll(ctx, readyInterval, func(ctx context.Context) (bool, error) {
		count, asked, err := 0, 0, error(nil)
		count, asked, left, err = c.removeOnce(ctx, resources)
		if err != nil || count == 0 {
			return count == 0, err
		}
		if text := fmt.Sprintf("waiting for %d objects to be gone: %s", count, left); text != told && asked == 0 {
			told = text
			progress("%s", text)
		}
		return false, nil
	})
	if ctx.Err() == nil || err == nil {
		return err
	}
	return fault.New(fault.Failed, "cannot empty the cluster %s in time: %s is still there", c.access.Context, left).
		WithHint("see what holds it: its finalizers name the controller that must let it go")
}

// removeOnce asks for the deletion of everything created that is not being deleted, and counts what is still there.
func (c *Cluster) removeOnce(ctx context.Context, resources []Resource) (count, asked int, left string, err error) {
	created := Query{Labels: manager.OriginLabel + "=" + manager.OriginCreated}
	for _, resource := range resources {
		for obj, err := range c.List(ctx, resource.GroupVersionResource, created) {
			if err != nil {
				return count, asked, left, err
			}
			if manager.Origin(obj) != manager.OriginCreated {
				continue // it goes with what it has the label from
			}
			count, left = count+1, ident.Of(obj)
			if obj.GetDeletionTimestamp() != nil {
				left += since(obj)
				continue
			}
			if err := c.Delete(ctx, obj); err != nil {
				return count, asked, left, err
			}
			asked++
		}
	}
	return count, asked, left, nil
}

func since(obj *unstructured.Unstructured) string {
	return fmt.Sprintf(" (being deleted since %s, finalizers %v)", obj.GetDeletionTimestamp().UTC().Format(time.TimeOnly), obj.GetFinalizers())
}
