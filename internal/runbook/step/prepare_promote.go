package step

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/history"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/source"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Promotion is what is to be promoted: a service or a set of them, into a stage.
type Promotion struct {
	Service string // or
	Set     string // the name of a stack
	Into    string // the environment
	From    string // the stage whose versions are taken; the one before unless set
	Reason  string // why stages are skipped
}

// Check finds out whether a promotion fits the configuration, and from which stage it is unless that was said.
func (p *Promotion) Check(cfg *spec.Config) error {
	if err := p.aim(cfg); err != nil {
		return err
	}
	services := []string{p.Service}
	if p.Set != "" {
		stack, err := cfg.Stack(p.Set)
		if err != nil {
			return err
		}
		if services = stack.Spec.Services; len(services) == 0 {
			return fault.New(fault.Invalid, "the set %s has no services", p.Set).WithHint("list them in spec.services of the Stack")
		}
	}
	for _, name := range services {
		for _, environment := range []string{p.Into, p.From} {
			_, s, err := plan.Deployable(cfg, environment, name)
			if err != nil {
				return err
			}
			if s.Spec.Image == "" {
				return withoutVersions(name)
			}
		}
	}
	return nil
}

// PreparePromotion plans to bring what is good in the stage before into a stage, at exactly that digest: everything else is the configuration of the
// environment. It may be called any number of times.
func (t *Toolbox) PreparePromotion(ctx context.Context, cfg *spec.Config, p Promotion) (*plan.Plan, error) {
	if err := p.Check(cfg); err != nil {
		return nil, err
	}
	if p.Set != "" {
		return t.prepareSet(ctx, cfg, p)
	}
	s, seen, err := t.deployable(ctx, cfg, p.Into, p.Service)
	if err != nil {
		return nil, err
	}
	past, err := history.ReadLive(ctx, t.Records, p.From, p.Service)
	if err != nil {
		return nil, err
	}
	r, ok := past.Stands()
	if !ok {
		return nil, fault.New(fault.Failed, "no version of %s is good in %s", p.Service, p.From).
			WithHint("crossfade deploy %s@VERSION %s; crossfade history %[1]s %[2]s lists what was there", p.Service, p.From)
	}
	if !strings.HasPrefix(r.Version, "sha256:") {
		return nil, withoutDigest(p.Service, r.Version, p.From)
	}
	w, err := t.wanted(ctx, s, plan.Wanted{Version: r.Version, Tag: r.Tag, Promoted: true})
	if err != nil {
		return nil, err
	}
	seen.Sources = sources(cfg.Dir, s.Spec.Manifests)
	if w.Promotion, err = t.passage(ctx, cfg, p.passage(map[string]string{p.Service: r.Version})); err != nil {
		return nil, err
	}
	return plan.MakeDeploy(cfg, p.Into, p.Service, w, seen)
}

// withoutDigest is the error of a version that a roll-over deployed by the tag of the configuration, or by what the manifests say: which digest that
// was, nobody knows.
func withoutDigest(service, version, stage string) error {
	if version == "" {
		version = "what its manifests say"
	}
	return fault.New(fault.Failed, "%s was deployed to %s as %s, and not by a digest that could be promoted", service, stage, version).
		WithHint("crossfade deploy %s@VERSION %s", service, stage)
}

// aim finds out which stage is promoted from.
func (p *Promotion) aim(cfg *spec.Config) error {
	if _, err := cfg.Environment(p.Into); err != nil {
		return err
	}
	before, staged := cfg.Platform.StagesBefore(p.Into)
	switch {
	case len(cfg.Platform.Spec.Stages) == 0:
		return fault.New(fault.Invalid, "the platform has no stages, so there is nothing to promote from").
			WithHint("list its environments in spec.stages of the Platform, production last; or deploy: crossfade deploy SERVICE@VERSION %s", p.Into)
	case !staged:
		return fault.New(fault.Invalid, "environment %s is not a stage", p.Into).WithHint("the stages are %s", strings.Join(cfg.Platform.Spec.Stages, ", "))
	case len(before) == 0:
		return fault.New(fault.Invalid, "%s is the first stage: there is none to promote from", p.Into).WithHint("crossfade deploy SERVICE@VERSION %s", p.Into)
	case p.From == "":
		p.From = before[len(before)-1]
	case !slices.Contains(before, p.From):
		return fault.New(fault.Invalid, "%s is not a stage before %s", p.From, p.Into).WithHint("those are %s", strings.Join(before, ", "))
	}
	return nil
}

func (p *Promotion) passage(versions map[string]string) passage {
	return passage{into: p.Into, from: p.From, versions: versions, reason: p.Reason}
}

// prepareSet takes the versions of a stack's services that were verified together last, and nothing that has changed since.
func (t *Toolbox) prepareSet(ctx context.Context, cfg *spec.Config, p Promotion) (*plan.Plan, error) {
	stack, err := cfg.Stack(p.Set)
	if err != nil {
		return nil, err
	}
	together, left, err := t.together(ctx, p.From, p.Set, stack.Spec.Services)
	if err != nil {
		return nil, err
	}
	wanted, versions := map[string]plan.Wanted{}, map[string]string{}
	var seen plan.Observed
	var manifests []spec.Manifests
	for _, name := range stack.Spec.Services {
		s, now, err := t.deployable(ctx, cfg, p.Into, name)
		if err != nil {
			return nil, err
		}
		seen = now
		manifests = append(manifests, s.Spec.Manifests)
		r := together.of[name]
		if wanted[name], err = t.wanted(ctx, s, plan.Wanted{Version: r.Version, Tag: r.Tag, Promoted: true}); err != nil {
			return nil, err
		}
		versions[name] = r.Version
	}
	promotion, err := t.passage(ctx, cfg, p.passage(versions))
	if err != nil {
		return nil, err
	}
	seen.Sources = sources(cfg.Dir, manifests...)
	return plan.MakeSet(cfg, p.Into, plan.Set{Name: p.Set, Proved: together.run, Left: left}, wanted, promotion, seen)
}

// proved is what a run has verified together of a set.
type proved struct {
	run string
	of  map[string]record.Release // by service
}

// provedBefore is how many sets are looked through, the latest first, for one with every service in it.
const provedBefore = 1000

// together finds the latest versions of services that were verified together in a stage and are good, each; left are those that are at another version
// there by now.
func (t *Toolbox) together(ctx context.Context, stage, set string, services []string) (found proved, left []string, err error) {
	pasts := map[string]history.Past{}
	for _, name := range services {
		if pasts[name], err = history.Read(ctx, t.Records, stage, name); err != nil {
			return found, nil, err
		}
	}
	sets, err := t.Records.Sets(ctx, stage, provedBefore)
	if err != nil {
		return found, nil, err
	}
	for _, s := range sets {
		found = proved{run: s.Run, of: map[string]record.Release{}}
		for _, name := range services {
			if r, ok := pasts[name].WasGood(s.Versions[name]); ok && strings.HasPrefix(r.Version, "sha256:") {
				found.of[name] = r
			}
		}
		if len(found.of) < len(services) {
			continue
		}
		for _, name := range services {
			if r, ok := pasts[name].Stands(); !ok || r.Version != found.of[name].Version {
				left = append(left, name)
			}
		}
		return found, left, nil
	}
	return found, nil, fault.New(fault.Failed, "the services of the set %s were never verified together in %s", set, stage).
		WithHint("that is recorded when the last of %s, each deployed there by its version, is good: crossfade history SERVICE %s", strings.Join(services, ", "), stage)
}

// passage is the way of versions into an environment.
type passage struct {
	into     string
	from     string            // the stage that they are taken from; the nearest one in which all were good unless set
	versions map[string]string // by service
	reason   string            // why stages are skipped
}

// passage finds out in which stages before an environment versions were good, and what they must pass to get into it: nil for an environment that
// versions do not come into from another one. To skip a stage without a reason is an error of code fault.Invalid.
func (t *Toolbox) passage(ctx context.Context, cfg *spec.Config, w passage) (*plan.Promotion, error) {
	before, _ := cfg.Platform.StagesBefore(w.into)
	if len(before) == 0 {
		return nil, nil //nolint:nilnil // that is what there is
	}
	env, err := cfg.Environment(w.into)
	if err != nil {
		return nil, err
	}
	p := &plan.Promotion{Gate: plan.GateOf(env)}
	var in origin
	for _, stage := range slices.Backward(before) {
		if in, err = t.origin(ctx, stage, w.versions); err != nil {
			return nil, err
		}
		if in.good && (w.from == "" || w.from == stage) {
			if p.From, err = plan.StageOf(cfg, stage); err != nil {
				return nil, err
			}
			break
		}
		if !in.good {
			p.Skips = append(p.Skips, stage)
		}
	}
	slices.Reverse(p.Skips)
	if len(p.Skips) > 0 {
		if p.Reason = strings.TrimSpace(w.reason); p.Reason == "" {
			return nil, fault.New(fault.Invalid, "this version of %s was never good in %s", strings.Join(sorted(w.versions), ", "), strings.Join(p.Skips, ", ")).
				WithHint("promote it there first, or say why that is skipped: --reason TEXT")
		}
	}
	if p.From != nil {
		p.Since, p.Authors = in.since, in.authors
	}
	if p.From == nil || p.From.Environment != before[len(before)-1] { // there is no stage before that it was in
		p.Gate.Checks, p.Gate.Soak = nil, 0
	} else if !in.stands { // another version would be asked
		p.Gate.Checks = nil
	}
	return p, nil
}

// origin is what versions were in a stage.
type origin struct {
	good    bool      // all of them, at some time
	stands  bool      // all of them are what runs there
	since   time.Time // when the last one became good
	authors []string  // who brought them there
}

func (t *Toolbox) origin(ctx context.Context, stage string, versions map[string]string) (origin, error) {
	o := origin{good: true, stands: true}
	for _, service := range sorted(versions) {
		past, err := history.ReadLive(ctx, t.Records, stage, service)
		if err != nil {
			return o, err
		}
		now, ok := past.Stands()
		o.stands = o.stands && ok && now.Version == versions[service]
		all, err := history.Read(ctx, t.Records, stage, service)
		if err != nil {
			return o, err
		}
		r, ok := all.WasGood(versions[service])
		if !ok {
			return origin{}, nil
		}
		if r.Verified.After(o.since) {
			o.since = r.Verified
		}
		run, err := t.Records.Run(ctx, r.Run)
		if err != nil {
			return o, err
		}
		if !slices.Contains(o.authors, run.By) {
			o.authors = append(o.authors, run.By)
		}
	}
	return o, nil
}

// sorted lists the keys of a map in order.
func sorted[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Stands reports whether what a plan deploys runs in its environment already, and is good there.
func (t *Toolbox) Stands(ctx context.Context, p *plan.Plan) (bool, error) {
	for _, u := range p.Services {
		past, err := history.ReadLive(ctx, t.Records, p.Environment, u.Name)
		if err != nil {
			return false, err
		}
		if r, ok := past.Stands(); !ok || r.Version != u.Version || r.Manifests != u.Manifests {
			return false, nil
		}
	}
	return true, nil
}

// sources says from which commits a configuration and some manifests are read.
func sources(dir string, manifests ...spec.Manifests) []plan.Source {
	paths := []string{dir}
	for _, m := range manifests {
		paths = append(paths, m.Files...)
		if m.Kustomize != "" {
			paths = append(paths, m.Kustomize)
		}
		if m.Helm != nil {
			paths = append(append(paths, m.Helm.Chart), m.Helm.ValuesFiles...)
		}
	}
	var all []plan.Source
	for _, c := range source.Of(paths...) {
		s := plan.Source{Repository: c.Repository, Commit: c.Hash, Dirty: c.Dirty}
		if c.Trouble != nil {
			s.Trouble = c.Trouble.Error()
		}
		if filepath.IsAbs(s.Repository) {
			s.Repository = filepath.Base(s.Repository)
		}
		all = append(all, s)
	}
	return all
}

// sourcesOf says from which commits the plan of a run was read.
func (t *Toolbox) sourcesOf(ctx context.Context, run string) ([]plan.Source, error) {
	_, p, err := t.load(ctx, run)
	if err != nil {
		return nil, err
	}
	return p.Premises.Sources, nil
}
