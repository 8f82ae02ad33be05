package step

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/render"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// PrepareDeploy plans to bring a service of an environment to a version: a tag, which is resolved to its digest here and never again, or a
// digest. What does not fit is found out now, before anything is touched. It may be called any number of times.
func (t *Toolbox) PrepareDeploy(ctx context.Context, cfg *spec.Config, environment, service, version string) (*plan.Plan, error) {
	if _, s, err := plan.Deployable(cfg, environment, service); err == nil && s.Spec.Image == "" {
		return nil, fault.New(fault.Invalid, "service %s has no versions: it names no image", service).
			WithHint("set spec.image of the service to the repository whose tags and digests are its versions")
	}
	s, seen, err := t.deployable(ctx, cfg, environment, service)
	if err != nil {
		return nil, err
	}
	found, err := t.images().Resolve(ctx, s.Spec.Image, version)
	if err != nil {
		return nil, err
	}
	objs, err := render.Objects(s.Spec.Manifests, render.Options{Name: service, Namespace: s.Spec.Namespace, Image: s.Spec.Image, Version: found.Digest})
	if err != nil {
		return nil, fault.New(fault.CodeOf(err), "service %s: %w", service, err)
	}
	return t.planDeploy(ctx, cfg, environment, s, objs, plan.Wanted{Version: found.Digest, Tag: found.Tag}, seen)
}

// PrepareAgain plans to deploy what a service was deployed as before: the latest good release that is not the one that runs, or the one of a
// version, exactly as it was. With restart it is the one that runs, whose pods are replaced.
func (t *Toolbox) PrepareAgain(ctx context.Context, cfg *spec.Config, environment, service, version string, restart bool) (*plan.Plan, error) {
	s, seen, err := t.deployable(ctx, cfg, environment, service)
	if err != nil {
		return nil, err
	}
	past, err := t.past(ctx, environment, service)
	if err != nil {
		return nil, err
	}
	r, err := past.choose(version, restart)
	if err != nil {
		return nil, err
	}
	objs, err := t.objects(ctx, r.Manifests)
	if err != nil {
		return nil, err
	}
	w := plan.Wanted{Version: r.Version, Tag: r.Tag, Restart: restart, Back: version == "" && !restart}
	return t.planDeploy(ctx, cfg, environment, s, objs, w, seen)
}

// deployable returns the service of an environment, and looks at what the environment is now: first of all there must be a place to deploy into.
func (t *Toolbox) deployable(ctx context.Context, cfg *spec.Config, environment, service string) (*spec.Service, plan.Observed, error) {
	env, s, err := plan.Deployable(cfg, environment, service)
	if err != nil {
		return nil, plan.Observed{}, err
	}
	routes, err := plan.Routes(cfg, env)
	if err != nil {
		return nil, plan.Observed{}, err
	}
	seen, err := t.observe(ctx, scope{Environment: environment, Prefix: env.GenerationPrefix(), Cluster: env.Spec.Cluster, Routes: routes})
	if err != nil {
		return nil, seen, err
	}
	return s, seen, plan.HasLive(environment, seen)
}

// past is what was released of a service.
type past struct {
	environment, service string
	all                  []record.Release // the latest first
	left                 bool             // the latest one failed and was left in its place, or some of it
}

func (t *Toolbox) past(ctx context.Context, environment, service string) (past, error) {
	all, err := t.Records.Releases(ctx, environment, service)
	p := past{environment: environment, service: service, all: all}
	if err != nil || len(all) == 0 || all[0].Good {
		return p, err
	}
	events, err := t.Records.Events(ctx, all[0].Run, 0)
	for _, e := range events {
		switch {
		case e.Kind == record.StepStarted && (e.Step == "roll" || e.Step == "switch" || strings.HasPrefix(e.Step, "share/")):
			p.left = true
		case e.Kind == record.StepDone && (e.Step == "roll-back" || e.Step == "switch-back"):
			p.left = false
		}
	}
	return p, err
}

// choose finds the release to be deployed again.
func (p past) choose(version string, current bool) (record.Release, error) {
	good := slices.DeleteFunc(slices.Clone(p.all), func(r record.Release) bool { return !r.Good })
	if version != "" {
		return p.named(slices.Concat(good, p.all), version)
	}
	runs := good
	if p.left {
		runs = p.all
	}
	if current && len(runs) > 0 {
		return runs[0], nil
	}
	for _, r := range good {
		if p.left || r.Version != runs[0].Version || r.Manifests != runs[0].Manifests {
			return r, nil
		}
	}
	if current {
		return record.Release{}, fault.New(fault.Failed, "no release of %s in %s is good", p.service, p.environment).WithHint("deploy a version first")
	}
	return record.Release{}, fault.New(fault.Failed, "there is no good release of %s in %s before the one that runs", p.service, p.environment).
		WithHint("crossfade history %s %s lists its releases; --to names one", p.service, p.environment)
}

// named is the first of some releases that is of a version: a digest, or the tag by which it was asked for.
func (p past) named(releases []record.Release, version string) (record.Release, error) {
	i := slices.IndexFunc(releases, func(r record.Release) bool { return r.Version == version || r.Tag == version })
	if i < 0 {
		return record.Release{}, fault.New(fault.Invalid, "%s was never at %s in %s", p.service, version, p.environment).
			WithHint("crossfade history %s %s lists its releases", p.service, p.environment)
	}
	return releases[i], nil
}

// planDeploy keeps the objects of a deployment, and plans it.
func (t *Toolbox) planDeploy(
	ctx context.Context, cfg *spec.Config, environment string, s *spec.Service, objs []*unstructured.Unstructured, w plan.Wanted, seen plan.Observed,
) (*plan.Plan, error) {
	service := s.Metadata.Name
	var p painted
	trial := objs
	if s.Spec.Strategy.BlueGreen != nil {
		var err error
		if p, err = split(service, s.Spec.Strategy.BlueGreen.Front, objs); err != nil {
			return nil, err
		}
		if trial, err = p.trial(); err != nil {
			return nil, err
		}
	}
	env, err := cfg.Environment(environment)
	if err != nil {
		return nil, err
	}
	c, err := t.live(ctx, env, seen.Live)
	if err != nil {
		return nil, err
	}
	if err := p.fits(ctx, service, c); err != nil {
		return nil, err
	}
	if err := c.Try(ctx, trial); err != nil {
		return nil, fault.New(fault.CodeOf(err), "cannot deploy %s: %w", service, err)
	}
	if w.Rendered, err = t.keep(ctx, objs); err != nil {
		return nil, err
	}
	return plan.MakeDeploy(cfg, environment, service, w, seen)
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
