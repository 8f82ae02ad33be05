package httproute

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// await looks until there is nothing to be seen that is not as it should be.
func (f *Front) await(ctx context.Context, what string, look func(context.Context) (wrong string, err error)) error {
	return gatewayapi.Await(ctx, f.Within, what, look)
}

// awaitAccepted returns when every parent of every route has accepted it as it is now and knows all of its backends, as every controller says
// that reports.
func (f *Front) awaitAccepted(ctx context.Context) error {
	return f.await(ctx, "leading the users of "+f.routes.service, func(ctx context.Context) (string, error) {
		return f.each(ctx, func(found *unstructured.Unstructured) string {
			for _, p := range field.List(found, "spec", "parentRefs") {
				if why := gatewayapi.Unaccepted(found, field.AsMap(p)); why != "" {
					return why
				}
			}
			return ""
		})
	})
}

// awaitSeen returns when every controller that reports about a route has seen it as it is now.
func (f *Front) awaitSeen(ctx context.Context) error {
	return f.await(ctx, "taking a version out of the routes of "+f.routes.service, func(ctx context.Context) (string, error) {
		return f.each(ctx, func(found *unstructured.Unstructured) string {
			for _, p := range field.List(found, "status", "parents") {
				for _, c := range gatewayapi.Conditions(field.AsMap(p)) {
					if c["type"] == "Accepted" && !gatewayapi.Current(found, c) {
						return fmt.Sprintf("%v has not seen %s as it is now", field.AsMap(p)["controllerName"], ident.Of(found))
					}
				}
			}
			return ""
		})
	})
}

// each returns the first thing that is wrong with a route that is in the cluster.
func (f *Front) each(ctx context.Context, wrong func(*unstructured.Unstructured) string) (string, error) {
	for _, route := range f.routes.objs {
		found, err := f.Cluster.Get(ctx, route)
		if err != nil {
			return "", err
		}
		if found == nil {
			continue
		}
		if why := wrong(found); why != "" {
			return why, nil
		}
	}
	return "", nil
}
