package step

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/promotion"
	"github.com/crossfade-dev/crossfade/internal/render"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Prepare renders what an environment's next generation will run, looks at what it is now, and makes the plan. The rendered
// objects are kept in the record, so that what was shown is what runs. It may be called any number of times.
func (t *Toolbox) Prepare(ctx context.Context, cfg *spec.Config, environment string) (*plan.Plan, error) {
	env, err := cfg.Environment(environment)
	if err != nil {
		return nil, err
	}
	routes, err := plan.Routes(cfg, env)
	if err != nil {
		return nil, err
	}
	seen, err := t.observe(ctx, scope{Environment: environment, Prefix: env.GenerationPrefix(), Cluster: env.Spec.Cluster, Routes: routes})
	if err != nil {
		return nil, err
	}
	if seen.Certificates, err = t.inBackup(env); err != nil {
		return nil, err
	}
	rendered, err := t.render(ctx, cfg, env, seen.Good)
	if err != nil {
		return nil, err
	}
	if seen.Sources, err = sourcesIn(cfg, env); err != nil {
		return nil, err
	}
	return plan.Make(cfg, environment, rendered, seen)
}

// sourcesIn says from which commits an environment is read.
func sourcesIn(cfg *spec.Config, env *spec.Environment) ([]plan.Source, error) {
	var manifests []spec.Manifests
	for _, u := range env.Spec.Prime {
		manifests = append(manifests, u.Manifests)
	}
	for _, ref := range env.Spec.Services {
		s, err := cfg.ServiceIn(env, ref.Name)
		if err != nil {
			return nil, err
		}
		manifests = append(manifests, s.Spec.Manifests)
	}
	return promotion.Sources(cfg.Dir, manifests...), nil
}

// render renders every unit of priming and every service, and keeps the objects in the record by their digest.
func (t *Toolbox) render(ctx context.Context, cfg *spec.Config, env *spec.Environment, good map[string]string) (map[string]plan.Rendered, error) {
	all := map[string]plan.Rendered{}
	for _, u := range env.Spec.Prime {
		r, err := t.renderUnit(ctx, u.Manifests, render.Options{Name: u.Name, Namespace: u.Namespace})
		if err != nil {
			return nil, fault.New(fault.CodeOf(err), "environment %s, prime %s: %w", env.Metadata.Name, u.Name, err)
		}
		all["prime/"+u.Name] = r
	}
	for _, ref := range env.Spec.Services {
		s, err := cfg.ServiceIn(env, ref.Name)
		if err != nil {
			return nil, err
		}
		version := good[ref.Name]
		if version == "" {
			version = ref.Version
		}
		r, err := t.renderUnit(ctx, s.Spec.Manifests, render.Options{Name: ref.Name, Namespace: s.Spec.Namespace, Image: s.Spec.Image, Version: version})
		if err != nil {
			return nil, fault.New(fault.CodeOf(err), "service %s: %w", ref.Name, err)
		}
		if s.Spec.Strategy.BlueGreen != nil {
			if r.Owned, err = t.colours(ctx, s, r.Manifests); err != nil {
				return nil, err
			}
		}
		all["service/"+ref.Name] = r
	}
	return all, nil
}

// colours names what a service that is deployed as blueGreen may have in a cluster.
func (t *Toolbox) colours(ctx context.Context, s *spec.Service, manifests string) ([]string, error) {
	objs, err := t.objects(ctx, manifests)
	if err != nil {
		return nil, err
	}
	p, err := split(s.Metadata.Name, s.Spec.Strategy.BlueGreen.Front, objs)
	if err != nil {
		return nil, err
	}
	return p.names()
}

func (t *Toolbox) renderUnit(ctx context.Context, m spec.Manifests, o render.Options) (plan.Rendered, error) {
	objects, err := render.Objects(m, o)
	if err != nil {
		return plan.Rendered{}, err
	}
	return t.keep(ctx, objects)
}

// keep keeps rendered objects in the record by their digest.
func (t *Toolbox) keep(ctx context.Context, objects []*unstructured.Unstructured) (plan.Rendered, error) {
	raw, err := render.Encode(objects)
	if err != nil {
		return plan.Rendered{}, err
	}
	digest, err := t.Records.PutBlob(ctx, raw)
	if err != nil {
		return plan.Rendered{}, err
	}
	r := plan.Rendered{Manifests: digest, Images: render.Images(objects)}
	for _, o := range objects {
		r.Objects = append(r.Objects, render.Describe(o))
	}
	return r, nil
}
