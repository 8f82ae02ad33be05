// Package httproute leads the users of a service who come in from outside to its versions, by the weights of backends in routes of the Gateway
// API (https://gateway-api.sigs.k8s.io/reference/spec/#backendref). Each version has Kubernetes Services of its own, with the colour behind
// their names, and the routes lead to those. What a controller makes of the weights, it says in the status of the route.
package httproute

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// Front is the routes of a service in a cluster, as release.Front wants them.
type Front struct {
	Cluster  *kube.Cluster
	Progress cluster.Progress // told what happens, for people
	Within   time.Duration    // how long endpoints and controllers may take to follow; 30 s when zero
	Standby  bool             // what acts on the world outside is withheld until it is the cluster's turn
	routes   Routes
	parts    colour.Parts
}

var (
	_ release.Front   = (*Front)(nil)
	_ release.Checker = (*Front)(nil)
)

// New makes the front of a service of some routes in a cluster, as Split has parted them.
func New(r Routes, p colour.Parts, in *kube.Cluster, progress cluster.Progress) *Front {
	return &Front{Cluster: in, Progress: progress, routes: r, parts: p}
}

// Led are the colours that the routes lead users to.
func (f *Front) Led(ctx context.Context) ([]colour.Colour, error) {
	var led []colour.Colour
	for _, route := range f.routes.objs {
		found, err := f.Cluster.Find(ctx, route.GroupVersionKind().GroupKind(), route.GetNamespace(), route.GetName())
		if err != nil {
			return nil, err
		}
		if found != nil {
			led = append(led, f.routes.led(found)...)
		}
	}
	slices.Sort(led)
	return slices.Compact(led), nil
}

// Prepare gives the version of a colour its Kubernetes Services, and has the routes know them with the weight 0. Routes that led to the live
// version by the Services that both have lead to its own ones afterwards. The routes are as the manifests have them otherwise.
func (f *Front) Prepare(ctx context.Context, c colour.Colour) error {
	live, err := f.live(ctx)
	if err != nil {
		return err
	}
	if err := f.provide(ctx, c, live); err != nil {
		return err
	}
	var before []*unstructured.Unstructured
	for _, route := range f.routes.objs {
		if err := f.change(ctx, route, func(found *unstructured.Unstructured) error {
			before = append(before, found)
			return f.prepare(ctx, route, found, c, live)
		}); err != nil {
			return err
		}
	}
	if err := f.awaitAccepted(ctx); err != nil {
		return errors.Join(err, f.restore(ctx, before))
	}
	return nil
}

// restore has routes lead users as they did before, where what the manifests ask for is not accepted.
func (f *Front) restore(ctx context.Context, before []*unstructured.Unstructured) error {
	for _, route := range before {
		if route == nil {
			continue
		}
		if err := f.change(ctx, route, func(found *unstructured.Unstructured) error {
			if found == nil {
				return nil
			}
			spec := maps.Clone(field.Map(route, "spec"))
			for key := range field.Map(found, "spec") {
				if _, had := spec[key]; !had {
					spec[key] = nil
				}
			}
			return f.patch(ctx, found, route.GetAnnotations()[SharesAnnotation], spec)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (f *Front) prepare(ctx context.Context, route, found *unstructured.Unstructured, c, live colour.Colour) error {
	if found == nil {
		return nil // there are no users to share out
	}
	s, err := f.routes.shared(found)
	if err != nil {
		return err
	}
	switch {
	case s == nil && live == colour.None:
		return nil // it leads nowhere yet
	case s == nil:
		s = shares{live: 100}
	default:
		s = maps.Clone(s)
		maps.DeleteFunc(s, func(_ colour.Colour, share int64) bool { return share == 0 })
	}
	if _, known := s[c]; !known {
		s[c] = 0
	}
	rendered := f.routes.render(route, s)
	rendered.SetResourceVersion(found.GetResourceVersion())
	return f.apply(ctx, rendered)
}

// apply applies objects.
func (f *Front) apply(ctx context.Context, objs ...*unstructured.Unstructured) error {
	if f.Standby {
		var err error
		if objs, err = withhold.Standby(ctx, f.Cluster, objs); err != nil {
			return err
		}
	}
	_, err := f.Cluster.Apply(ctx, objs, f.Progress)
	return err
}

// Lead gives the version of a colour its share of the weights, and the rest to the one before. It returns when every controller that reports
// about the routes has accepted that. Weights that somebody else has changed are an error of code fault.Refused, and stay.
func (f *Front) Lead(ctx context.Context, c, before colour.Colour, share int) error {
	for _, route := range f.routes.objs {
		if err := f.change(ctx, route, func(found *unstructured.Unstructured) error {
			return f.share(ctx, route, found, between(c, before, share))
		}); err != nil {
			return err
		}
	}
	return f.awaitAccepted(ctx)
}

// share gives one route its weights.
func (f *Front) share(ctx context.Context, route, found *unstructured.Unstructured, s shares) error {
	rendered := f.routes.render(route, s)
	if found == nil {
		return f.apply(ctx, rendered)
	}
	was, err := f.routes.shared(found)
	if err != nil {
		return err
	}
	if was == nil && found.GetAnnotations()[SharesAnnotation] == "" { // it led nowhere when it was prepared
		rendered.SetResourceVersion(found.GetResourceVersion())
		return f.apply(ctx, rendered)
	}
	if was == nil || !field.Within(field.List(f.routes.render(route, was), "spec", "rules"), field.List(found, "spec", "rules")) {
		return f.routes.changed(found, found.GetAnnotations()[SharesAnnotation])
	}
	if maps.Equal(was, s) {
		return nil
	}
	return f.patch(ctx, found, s.String(), map[string]any{"rules": field.List(rendered, "spec", "rules")})
}

// Remove takes the version of a colour out of the routes. It returns when every controller that reports has seen that. Its Kubernetes Services
// bear the colour, and go with what else does.
func (f *Front) Remove(ctx context.Context, c colour.Colour) error {
	for _, route := range f.routes.objs {
		if err := f.change(ctx, route, func(found *unstructured.Unstructured) error { return f.remove(ctx, found, c) }); err != nil {
			return err
		}
	}
	return f.awaitSeen(ctx)
}

func (f *Front) remove(ctx context.Context, found *unstructured.Unstructured, c colour.Colour) error {
	if found == nil {
		return nil
	}
	s, err := f.routes.shared(found)
	if err != nil {
		return err
	}
	share, known := s[c]
	if !known {
		return nil
	}
	if share > 0 {
		return fault.New(fault.Failed, "cannot take the %s version out of %s: %d %% of the users are led to it", c, ident.Of(found), share).
			WithHint("lead the users of %s to its other version first", f.routes.service)
	}
	s = maps.Clone(s)
	delete(s, c)
	left := found.DeepCopy()
	for _, rule := range field.List(left, "spec", "rules") {
		refs, _ := field.AsMap(rule)["backendRefs"].([]any)
		if refs == nil {
			continue
		}
		field.AsMap(rule)["backendRefs"] = slices.DeleteFunc(refs, func(ref any) bool {
			_, of := f.routes.parse(found, field.AsMap(ref))
			return of == c
		})
	}
	return f.patch(ctx, found, s.String(), map[string]any{"rules": field.List(left, "spec", "rules")})
}

// patch writes fields of a route, and how they share the users out, unless the route has changed since it was read.
func (f *Front) patch(ctx context.Context, found *unstructured.Unstructured, written string, spec any) error {
	annotations := map[string]any{SharesAnnotation: written}
	if written == "" {
		annotations[SharesAnnotation] = nil
	}
	raw, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": found.GetResourceVersion(), "annotations": annotations}, "spec": spec,
	})
	if err != nil {
		return err
	}
	if _, err := f.Cluster.Patch(ctx, found, raw); err != nil {
		return err
	}
	f.Progress("%s shares its users out: %s", ident.Of(found), cmp.Or(written, "as before"))
	return nil
}

// change reads a route, which is nil when it is not there, and changes it; again when somebody else has changed it meanwhile, as controllers
// do with its status.
func (f *Front) change(ctx context.Context, route *unstructured.Unstructured, do func(found *unstructured.Unstructured) error) error {
	for {
		found, err := f.Cluster.Get(ctx, route)
		if err != nil {
			return err
		}
		if err := do(found); !apierrors.IsConflict(err) || len(kube.Conflicts(err)) > 0 || ctx.Err() != nil {
			return err
		}
	}
}
