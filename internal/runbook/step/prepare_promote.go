package step

import (
	"context"

	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/promotion"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// PreparePromotion plans to bring what is good in the stage before into a stage, at exactly that digest: everything else is the configuration of the
// environment. It may be called any number of times.
func (t *Toolbox) PreparePromotion(ctx context.Context, cfg *spec.Config, wish promotion.Wish) (*plan.Plan, error) {
	services, err := wish.Services(cfg)
	if err != nil {
		return nil, err
	}
	env, _, seen, err := t.deployable(ctx, cfg, wish.Into, services[0])
	if err != nil {
		return nil, err
	}
	found, err := promotion.Find(ctx, t.Records, wish, services)
	if err != nil {
		return nil, err
	}
	wanted, versions := map[string]plan.Wanted{}, map[string]string{}
	var manifests []spec.Manifests
	var stands []string
	for _, name := range services {
		_, s, err := plan.Deployable(cfg, wish.Into, name)
		if err != nil {
			return nil, err
		}
		r := found.Of[name]
		if wanted[name], err = t.wanted(ctx, env, seen.Live, s, plan.Wanted{Version: r.Version, Tag: r.Tag, Promoted: true}); err != nil {
			return nil, err
		}
		versions[name] = r.Version
		there, err := promotion.StandsAt(ctx, t.Records, wish.Into, name, r.Version, wanted[name].Manifests)
		if err != nil {
			return nil, err
		}
		if there {
			stands = append(stands, name)
		}
		manifests = append(manifests, s.Spec.Manifests)
	}
	way := promotion.Passage{Into: wish.Into, From: wish.From, Versions: versions, Reason: wish.Reason}
	through, err := promotion.Through(ctx, t.Records, cfg, way)
	if err != nil {
		return nil, err
	}
	seen.Sources = promotion.Sources(cfg.Dir, manifests...)
	if wish.Set != "" {
		return plan.MakeSet(cfg, wish.Into, plan.Set{Name: wish.Set, Proved: found.Run, Left: found.Left, Stands: stands}, wanted, through, seen)
	}
	w := wanted[wish.Service]
	w.Promotion = through
	return plan.MakeDeploy(cfg, wish.Into, wish.Service, w, seen)
}

// sourcesOf says from which commits the plan of a run was read.
func (t *Toolbox) sourcesOf(ctx context.Context, run string) ([]plan.Source, error) {
	_, p, err := t.load(ctx, run)
	if err != nil {
		return nil, err
	}
	return p.Premises.Sources, nil
}
