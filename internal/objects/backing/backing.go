// Package backing waits for what stands behind an object: the services of webhooks and of aggregated APIs.
package backing

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// within bounds how long the service behind a webhook or an aggregated API may take to become ready.
const within = 60 * time.Second

var slicesOfEndpoints = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}

// service is what answers for a webhook or an aggregated API.
type service struct {
	namespace, name string
	must            bool // without it the API refuses what is asked of it
}

// Await waits until the services that an object needs to work have endpoints in the cluster that it goes to, as far as they have in the
// one that it comes from: a webhook without one refuses everything. An error is one of reading, or of code fault.Failed when they have
// none after a minute and the API would refuse what is asked of it.
func Await(ctx context.Context, from, to *kube.Cluster, want *unstructured.Unstructured, progress cluster.Progress) error {
	for _, s := range services(want) {
		up, err := answers(ctx, from, s)
		if err != nil || !up {
			continue // it does not work there either, or nobody may know
		}
		if err := s.await(ctx, to, progress); err != nil {
			return err
		}
	}
	return nil
}

func (s service) await(ctx context.Context, to *kube.Cluster, progress cluster.Progress) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	told := false
	for {
		up, err := answers(ctx, to, s)
		if err != nil || up {
			return err
		}
		if !told {
			told = true
			progress("waiting for an endpoint of service %s/%s", s.namespace, s.name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			if !s.must {
				return nil
			}
			return fault.New(fault.Failed, "service %s/%s, which answers for it, has no ready endpoint within %s: it would refuse everything", s.namespace, s.name, within).
				WithHint("see why its pods are not ready, and copy again")
		case <-again.C:
		}
	}
}

// services lists the services behind an object.
func services(obj *unstructured.Unstructured) []service {
	var found []service
	add := func(config map[string]any, must bool) {
		namespace, _ := config["namespace"].(string)
		name, _ := config["name"].(string)
		if s := (service{namespace, name, must}); name != "" && !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	switch obj.GroupVersionKind().GroupKind().String() {
	case "MutatingWebhookConfiguration.admissionregistration.k8s.io", "ValidatingWebhookConfiguration.admissionregistration.k8s.io":
		for _, w := range field.List(obj, "webhooks") {
			hook := field.AsMap(w)
			add(field.Child(hook, "clientConfig", "service"), hook["failurePolicy"] != "Ignore")
		}
	case "APIService.apiregistration.k8s.io":
		add(field.Map(obj, "spec", "service"), false)
	}
	return found
}

// answers reports whether a service has a ready endpoint.
func answers(ctx context.Context, c *kube.Cluster, s service) (bool, error) {
	query := kube.Query{Namespace: s.namespace, Labels: "kubernetes.io/service-name=" + s.name}
	for slice, err := range c.List(ctx, slicesOfEndpoints, query) {
		if err != nil {
			return false, err
		}
		for _, e := range field.List(slice, "endpoints") {
			if ready, set := field.Child(field.AsMap(e), "conditions")["ready"].(bool); !set || ready {
				return true, nil
			}
		}
	}
	return false, nil
}
