package objects

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// backingWithin bounds how long the service behind a webhook or an aggregated API may take to become ready.
const backingWithin = 60 * time.Second

var slicesOfEndpoints = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}

// service is what answers for a webhook or an aggregated API.
type service struct {
	namespace, name string
	must            bool // without it the API refuses what is asked of it
}

// ready waits until the services that an object needs to work have endpoints, as far as they have in the first cluster: a
// webhook without one refuses everything.
func (w *writer) ready(ctx context.Context, want *unstructured.Unstructured) error {
	for _, s := range backing(want) {
		up, err := answers(ctx, w.copier.from, s)
		if err != nil || !up {
			continue // it does not work there either, or nobody may know
		}
		if err := w.awaitBacking(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) awaitBacking(ctx context.Context, s service) error {
	deadline := time.NewTimer(backingWithin)
	defer deadline.Stop()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	told := false
	for {
		up, err := answers(ctx, w.to, s)
		if err != nil || up {
			return err
		}
		if !told {
			told = true
			w.Progress("waiting for an endpoint of service %s/%s", s.namespace, s.name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			if !s.must {
				return nil
			}
			return fault.New(fault.Failed, "service %s/%s, which answers for it, has no ready endpoint within %s: it would refuse everything", s.namespace, s.name, backingWithin).
				WithHint("see why its pods are not ready, and copy again")
		case <-again.C:
		}
	}
}

// backing lists the services behind an object.
func backing(obj *unstructured.Unstructured) []service {
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
