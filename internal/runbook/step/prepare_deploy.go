package step

import (
	"context"
	"slices"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
	"github.com/crossfade-dev/crossfade/internal/render"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// PrepareDeploy plans to bring a service of an environment to a version: a tag, which is resolved to its digest here and never again, or a
// digest. What does not fit is found out now, before anything is touched. It may be called any number of times.
func (t *Toolbox) PrepareDeploy(ctx context.Context, cfg *spec.Config, environment, service, version string) (*plan.Plan, error) {
	s, err := cfg.Service(service)
	if err != nil {
		return nil, err
	}
	if s.Spec.Image == "" {
		return nil, fault.New(fault.Invalid, "service %s has no versions: it names no image", service).
			WithHint("set spec.image of the service to the repository whose tags and digests are its versions")
	}
	found, err := t.images().Resolve(ctx, s.Spec.Image, version)
	if err != nil {
		return nil, err
	}
	objs, err := render.Objects(s.Spec.Manifests, render.Options{Name: service, Namespace: s.Spec.Namespace, Image: s.Spec.Image, Version: found.Digest})
	if err != nil {
		return nil, fault.New(fault.CodeOf(err), "service %s: %w", service, err)
	}
	if s.Spec.Strategy.BlueGreen != nil {
		if _, err := colour.Split(service, objs); err != nil {
			return nil, err
		}
	}
	rendered, err := t.keep(ctx, objs)
	if err != nil {
		return nil, err
	}
	return t.planDeploy(ctx, cfg, environment, service, plan.Wanted{Rendered: rendered, Version: found.Digest, Tag: found.Tag})
}

// PrepareAgain plans to deploy what a service was deployed as before: the latest good release that is not the one that runs, or the one of a
// version, exactly as it was. With restart it is the one that runs, whose pods are replaced.
func (t *Toolbox) PrepareAgain(ctx context.Context, cfg *spec.Config, environment, service, version string, restart bool) (*plan.Plan, error) {
	if _, err := cfg.Service(service); err != nil {
		return nil, err
	}
	all, err := t.Records.Releases(ctx, environment, service)
	if err != nil {
		return nil, err
	}
	r, err := chooseRelease(all, environment, service, version, restart)
	if err != nil {
		return nil, err
	}
	raw, err := t.Records.Blob(ctx, r.Manifests)
	if err != nil {
		return nil, err
	}
	objs, err := render.Decode(raw)
	if err != nil {
		return nil, err
	}
	rendered, err := t.keep(ctx, objs)
	if err != nil {
		return nil, err
	}
	return t.planDeploy(ctx, cfg, environment, service, plan.Wanted{Rendered: rendered, Version: r.Version, Tag: r.Tag, Restart: restart})
}

// chooseRelease finds the release to be deployed again among those of a service, the latest first.
func chooseRelease(all []record.Release, environment, service, version string, current bool) (record.Release, error) {
	good := slices.DeleteFunc(slices.Clone(all), func(r record.Release) bool { return !r.Good })
	if version != "" {
		i := slices.IndexFunc(all, func(r record.Release) bool { return r.Version == version || r.Tag == version })
		if i < 0 {
			return record.Release{}, fault.New(fault.Invalid, "%s was never at %s in %s", service, version, environment).
				WithHint("crossfade history %s %s lists its releases", service, environment)
		}
		return all[i], nil
	}
	if current && len(good) > 0 {
		return good[0], nil
	}
	for _, r := range good {
		if r.Version != good[0].Version || r.Manifests != good[0].Manifests {
			return r, nil
		}
	}
	if current {
		return record.Release{}, fault.New(fault.Failed, "no release of %s in %s is good", service, environment).WithHint("deploy a version first")
	}
	return record.Release{}, fault.New(fault.Failed, "there is no good release of %s in %s before the one that runs", service, environment).
		WithHint("crossfade history %s %s lists its releases; --to names one", service, environment)
}

// planDeploy looks at what the environment is now and plans a deployment.
func (t *Toolbox) planDeploy(ctx context.Context, cfg *spec.Config, environment, service string, w plan.Wanted) (*plan.Plan, error) {
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
	good, err := t.Records.Good(ctx, environment)
	if err != nil {
		return nil, err
	}
	w.Before = good[service].Manifests
	return plan.MakeDeploy(cfg, environment, service, w, seen)
}
