package step

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/release/scale"
)

// Scale gives the workloads of the new generation as many pods as load, or people, have given those of the live one.
func (t *Toolbox) Scale(ctx context.Context, id ID) error {
	return t.do(ctx, id, "scaling the new generation to the load of the live one", "", func(ctx context.Context, j *job) error {
		from, err := j.connect(ctx, j.plan.Previous)
		if err != nil {
			return err
		}
		to, err := j.connect(ctx, j.plan.Generation)
		if err != nil {
			return err
		}
		s := &scale.Services{From: from, To: to, List: scaled(j.plan), Progress: j.say}
		n, err := s.Up(ctx)
		j.done = count(n, "workload scaled", "workloads scaled") + " to the load of " + j.plan.Previous
		return err
	})
}

// unscale lets the autoscalers of the new generation have their own bounds: it has its users, or has none.
func (j *job) unscale(ctx context.Context) error {
	namespaces := scaledNamespaces(j.plan)
	if j.plan.Previous == "" || len(j.plan.Routes) == 0 || len(namespaces) == 0 {
		return nil
	}
	to, err := j.connect(ctx, j.plan.Generation)
	if err != nil {
		return err
	}
	return scale.Release(ctx, to, namespaces)
}

// scaled are the Deployments and StatefulSets that a plan applies, by unit.
func scaled(p *plan.Plan) []scale.Service {
	var all []scale.Service
	for _, u := range slices.Concat(p.Prime, p.Services) {
		s := scale.Service{Name: u.Name, Coloured: u.BlueGreen}
		for _, name := range u.Objects {
			kind, place, ok := strings.Cut(strings.TrimPrefix(name, "apps/"), " ")
			if ok && strings.HasPrefix(name, "apps/") && (kind == "Deployment" || kind == "StatefulSet") {
				s.Workloads = append(s.Workloads, scaledOne(kind, place))
			}
		}
		if len(s.Workloads) > 0 {
			all = append(all, s)
		}
	}
	return all
}

// scaledOne is the identity of one, at NAMESPACE/NAME.
func scaledOne(kind, place string) *unstructured.Unstructured {
	namespace, name, _ := strings.Cut(place, "/")
	ref := &unstructured.Unstructured{}
	ref.SetAPIVersion("apps/v1")
	ref.SetKind(kind)
	ref.SetNamespace(namespace)
	ref.SetName(name)
	return ref
}

// scaledNamespaces are those of what a plan scales.
func scaledNamespaces(p *plan.Plan) []string {
	var all []string
	for _, s := range scaled(p) {
		for _, w := range s.Workloads {
			if !slices.Contains(all, w.GetNamespace()) {
				all = append(all, w.GetNamespace())
			}
		}
	}
	return all
}
