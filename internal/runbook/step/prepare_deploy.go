package step

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/history"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/promotion"
	"github.com/crossfade-dev/crossfade/internal/render"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// PrepareDeploy plans to bring a service of an environment to a version: a tag, which is resolved to its digest here and never again, or a
// digest. What does not fit is found out now, before anything is touched. A version that was not good in the stages before needs a reason. It may be
// called any number of times.
func (t *Toolbox) PrepareDeploy(ctx context.Context, cfg *spec.Config, environment, service, version, reason string) (*plan.Plan, error) {
	if _, s, err := plan.Deployable(cfg, environment, service); err == nil && s.Spec.Image == "" {
		return nil, promotion.WithoutVersions(service)
	}
	env, s, seen, err := t.deployable(ctx, cfg, environment, service)
	if err != nil {
		return nil, err
	}
	found, err := t.images().Resolve(ctx, s.Spec.Image, version)
	if err != nil {
		return nil, err
	}
	seen.Sources = promotion.Sources(cfg.Dir, s.Spec.Manifests)
	w, err := t.wanted(ctx, env, seen.Live, s, plan.Wanted{Version: found.Digest, Tag: found.Tag})
	if err != nil {
		return nil, err
	}
	w.Promotion, err = promotion.Through(ctx, t.Records, cfg, promotion.Passage{
		Into: environment, Versions: map[string]string{service: found.Digest}, Reason: reason,
	})
	if err != nil {
		return nil, err
	}
	return plan.MakeDeploy(cfg, environment, service, w, seen)
}

// PrepareAgain plans to deploy what a service was deployed as before: the latest good release that is not the one that runs, or the one of a
// version, exactly as it was. With restart it is the one that runs, whose pods are replaced. What was good here comes back as it is; a version that
// never was is one like any other.
func (t *Toolbox) PrepareAgain(ctx context.Context, cfg *spec.Config, environment, service, version string, restart bool) (*plan.Plan, error) {
	env, s, seen, err := t.deployable(ctx, cfg, environment, service)
	if err != nil {
		return nil, err
	}
	past, err := history.Read(ctx, t.Records, environment, service)
	if err != nil {
		return nil, err
	}
	r, err := past.Choose(version, restart)
	if err != nil {
		return nil, err
	}
	objs, err := t.objects(ctx, r.Manifests)
	if err != nil {
		return nil, err
	}
	w := plan.Wanted{Version: r.Version, Tag: r.Tag, Restart: restart, Back: version == "" && !restart}
	if w, err = t.kept(ctx, env, seen.Live, s, objs, w); err != nil {
		return nil, err
	}
	if seen.Sources, err = t.sourcesOf(ctx, r.Run); err != nil {
		return nil, err
	}
	if !r.Good && !restart {
		w.Promotion, err = promotion.Through(ctx, t.Records, cfg, promotion.Passage{Into: environment, Versions: map[string]string{service: r.Version}})
		if err != nil {
			return nil, err
		}
	}
	return plan.MakeDeploy(cfg, environment, service, w, seen)
}

// deployable returns an environment and a service of it, and looks at what the environment is now: first of all there must be a place to deploy into.
func (t *Toolbox) deployable(ctx context.Context, cfg *spec.Config, environment, service string) (*spec.Environment, *spec.Service, plan.Observed, error) {
	env, s, err := plan.Deployable(cfg, environment, service)
	if err != nil {
		return nil, nil, plan.Observed{}, err
	}
	routes, err := plan.Routes(cfg, env)
	if err != nil {
		return nil, nil, plan.Observed{}, err
	}
	seen, err := t.observe(ctx, scope{Environment: environment, Prefix: env.GenerationPrefix(), Cluster: env.Spec.Cluster, Routes: routes})
	if err != nil {
		return nil, nil, seen, err
	}
	return env, s, seen, plan.HasLive(environment, seen)
}

// wanted renders a service at the version that is wanted in the live generation of an environment.
func (t *Toolbox) wanted(ctx context.Context, env *spec.Environment, live string, s *spec.Service, w plan.Wanted) (plan.Wanted, error) {
	name := s.Metadata.Name
	objs, err := render.Objects(s.Spec.Manifests, render.Options{Name: name, Namespace: s.Spec.Namespace, Image: s.Spec.Image, Version: w.Version})
	if err != nil {
		return w, fault.New(fault.CodeOf(err), "service %s: %w", name, err)
	}
	return t.kept(ctx, env, live, s, objs, w)
}

// kept keeps the objects of a deployment, which the live generation must take, and says what they are.
func (t *Toolbox) kept(
	ctx context.Context, env *spec.Environment, live string, s *spec.Service, objs []*unstructured.Unstructured, w plan.Wanted,
) (plan.Wanted, error) {
	service := s.Metadata.Name
	var p painted
	trial := objs
	if s.Spec.Strategy.BlueGreen != nil {
		var err error
		if p, err = split(service, s.Spec.Strategy.BlueGreen.Front, objs); err != nil {
			return w, err
		}
		if trial, err = p.trial(); err != nil {
			return w, err
		}
	}
	c, err := t.live(ctx, env, live)
	if err != nil {
		return w, err
	}
	if err := p.fits(ctx, service, c); err != nil {
		return w, err
	}
	if err := c.Try(ctx, trial); err != nil {
		return w, fault.New(fault.CodeOf(err), "cannot deploy %s: %w", service, err)
	}
	w.Rendered, err = t.keep(ctx, objs)
	return w, err
}

// live is the cluster of the generation that serves the users of an environment.
func (t *Toolbox) live(ctx context.Context, env *spec.Environment, generation string) (*kube.Cluster, error) {
	provider, err := t.provider(env.Spec.Cluster, env.Metadata.Name)
	if err != nil {
		return nil, err
	}
	status, err := provider.Observe(ctx, generation)
	if err != nil {
		return nil, err
	}
	return kube.Connect(status.Access)
}
