package order

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
)

func TestLevels(t *testing.T) {
	resource := func(group, kind string) kube.Resource {
		return kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: group, Resource: kind}, Kind: kind}
	}
	all := []kube.Resource{
		resource("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"), resource("apps", "Deployment"), resource("", "Service"),
		resource("", "Secret"), resource("", "ServiceAccount"), resource("", "Namespace"), resource("apiextensions.k8s.io", "CustomResourceDefinition"),
		resource("", "ResourceQuota"), resource("example.com", "Service"), resource("autoscaling", "HorizontalPodAutoscaler"), resource("example.com", "Coupon"),
	}
	position := map[string]int{}
	for i, level := range Levels(all) {
		for _, r := range level {
			position[r.GroupKind().String()] = i
		}
	}
	for _, pair := range [][2]string{
		{"CustomResourceDefinition.apiextensions.k8s.io", "Coupon.example.com"},
		{"Namespace", "ServiceAccount"},
		{"ServiceAccount", "Secret"},
		{"Secret", "Coupon.example.com"},
		{"Secret", "Deployment.apps"},
		{"Service", "ResourceQuota"},
		{"ResourceQuota", "Deployment.apps"},
		{"Deployment.apps", "HorizontalPodAutoscaler.autoscaling"},
		{"HorizontalPodAutoscaler.autoscaling", "ValidatingWebhookConfiguration.admissionregistration.k8s.io"},
		{"CustomResourceDefinition.apiextensions.k8s.io", "Service.example.com"},
	} {
		if position[pair[0]] >= position[pair[1]] {
			t.Errorf("%s is at level %d, %s at %d", pair[0], position[pair[0]], pair[1], position[pair[1]])
		}
	}
}
