// Package promotion decides what may go from stage to stage: which versions were good where, which were verified together, and what stands before
// them. It reads the configuration and the record, and changes nothing.
package promotion

import (
	"cmp"
	"context"
	"maps"
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

// Wish is what is to be promoted: a service or a set of them, into a stage.
type Wish struct {
	Service string // or
	Set     string // the name of a stack
	Into    string // the environment
	From    string // the stage whose versions are taken; the one before unless set
	Reason  string // why stages are skipped
}

// Services lists what is to be promoted, once it fits the configuration, and finds out from which stage unless that was said. What does not fit is an
// error of code fault.Invalid.
func (w *Wish) Services(cfg *spec.Config) ([]string, error) {
	services := []string{w.Service}
	if w.Set != "" {
		stack, err := cfg.Stack(w.Set)
		if err != nil {
			return nil, err
		}
		if services = stack.Spec.Services; len(services) == 0 {
			return nil, fault.New(fault.Invalid, "the set %s has no services", w.Set).WithHint("list them in spec.services of the Stack")
		}
	}
	if err := w.aim(cfg, services); err != nil {
		return nil, err
	}
	for _, name := range services {
		if s, err := cfg.Service(name); err == nil && s.Spec.Image == "" {
			return nil, WithoutVersions(name)
		}
	}
	return services, nil
}

// aim finds out which stage is promoted from.
func (w *Wish) aim(cfg *spec.Config, services []string) error {
	for _, name := range services {
		if _, _, err := plan.Deployable(cfg, w.Into, name); err != nil {
			return err
		}
	}
	all, staged := cfg.Platform.StagesBefore(w.Into)
	before := stagesOf(cfg, all, services)
	switch {
	case len(cfg.Platform.Spec.Stages) == 0:
		return fault.New(fault.Invalid, "the platform has no stages, so there is nothing to promote from").
			WithHint("list its environments in spec.stages of the Platform, production last; or deploy: crossfade deploy SERVICE@VERSION %s", w.Into)
	case !staged:
		return fault.New(fault.Invalid, "environment %s is not a stage", w.Into).WithHint("the stages are %s", strings.Join(cfg.Platform.Spec.Stages, ", "))
	case len(all) == 0:
		return fault.New(fault.Invalid, "%s is the first stage: there is none to promote from", w.Into).WithHint("crossfade deploy SERVICE@VERSION %s", w.Into)
	case len(before) == 0:
		return fault.New(fault.Invalid, "no stage before %s has %s", w.Into, strings.Join(services, " and ")).
			WithHint("add it to spec.services of %s, or deploy: crossfade deploy SERVICE@VERSION %s", strings.Join(all, " or "), w.Into)
	case w.From == "":
		w.From = before[len(before)-1]
	case !slices.Contains(before, w.From):
		return fault.New(fault.Invalid, "%s is not a stage before %s", w.From, w.Into).WithHint("those are %s", strings.Join(before, ", "))
	}
	return nil
}

// Proved is what is good in a stage: one service, or what a run has verified together of a set.
type Proved struct {
	Run  string                    // of a set
	Of   map[string]record.Release // by service
	Left []string                  // services that are at another version by now
}

// Find finds what is good in the stage that is promoted from. Nothing that could be promoted is an error of code fault.Failed.
func Find(ctx context.Context, store *record.Store, w Wish, services []string) (Proved, error) {
	if w.Set != "" {
		return together(ctx, store, w.From, w.Set, services)
	}
	past, err := history.ReadLive(ctx, store, w.From, w.Service)
	if err != nil {
		return Proved{}, err
	}
	r, ok := past.Stands()
	if !ok {
		return Proved{}, fault.New(fault.Failed, "no version of %s is good in %s", w.Service, w.From).
			WithHint("crossfade deploy %s@VERSION %s; crossfade history %[1]s %[2]s lists what was there", w.Service, w.From)
	}
	if !strings.HasPrefix(r.Version, "sha256:") { // a roll-over deployed it by the tag of the configuration: which digest that was, nobody knows
		return Proved{}, fault.New(fault.Failed, "%s was deployed to %s as %s, and not by a digest that could be promoted",
			w.Service, w.From, cmp.Or(r.Version, "what its manifests say")).WithHint("crossfade deploy %s@VERSION %s", w.Service, w.From)
	}
	return Proved{Of: map[string]record.Release{w.Service: r}}, nil
}

// provedBefore is how many sets are looked through, the latest first, for one with every service in it.
const provedBefore = 1000

// together finds the latest versions of services that were verified together in a stage and are good, each.
func together(ctx context.Context, store *record.Store, stage, set string, services []string) (found Proved, err error) {
	pasts := map[string]history.Past{}
	for _, name := range services {
		if pasts[name], err = history.Read(ctx, store, stage, name); err != nil {
			return found, err
		}
	}
	sets, err := store.Sets(ctx, stage, provedBefore)
	if err != nil {
		return found, err
	}
	for _, s := range sets {
		found = Proved{Run: s.Run, Of: map[string]record.Release{}}
		for _, name := range services {
			if r, ok := pasts[name].WasGood(s.Versions[name]); ok && strings.HasPrefix(r.Version, "sha256:") {
				found.Of[name] = r
			}
		}
		if len(found.Of) < len(services) {
			continue
		}
		for _, name := range services {
			if r, ok := pasts[name].Stands(); !ok || r.Version != found.Of[name].Version {
				found.Left = append(found.Left, name)
			}
		}
		return found, nil
	}
	return Proved{}, fault.New(fault.Failed, "the services of the set %s were never verified together in %s", set, stage).
		WithHint("that is recorded when the last of %s, each deployed there by its version, is good: crossfade history SERVICE %s", strings.Join(services, ", "), stage)
}

// stagesOf lists those of some stages that have all of some services: where a service does not run, it cannot be proved.
func stagesOf(cfg *spec.Config, stages, services []string) []string {
	return slices.DeleteFunc(slices.Clone(stages), func(stage string) bool {
		return slices.ContainsFunc(services, func(service string) bool {
			_, _, err := plan.Deployable(cfg, stage, service)
			return err != nil
		})
	})
}

// Passage is the way of versions into an environment.
type Passage struct {
	Into     string
	From     string            // the stage that they are taken from; the nearest one in which all were good unless set
	Versions map[string]string // by service
	Reason   string            // why stages are skipped
}

// Through finds out in which stages before an environment versions were good, and what they must pass to get into it: nil for an environment that
// versions do not come into from another one. To skip a stage without a reason is an error of code fault.Invalid.
func Through(ctx context.Context, store *record.Store, cfg *spec.Config, w Passage) (*plan.Promotion, error) {
	before, _ := cfg.Platform.StagesBefore(w.Into)
	if len(before) == 0 {
		return nil, nil //nolint:nilnil // that is what there is
	}
	before = stagesOf(cfg, before, slices.Sorted(maps.Keys(w.Versions)))
	env, err := cfg.Environment(w.Into)
	if err != nil {
		return nil, err
	}
	p := &plan.Promotion{Gate: plan.GateOf(env)}
	var in origin
	for _, stage := range slices.Backward(before) {
		if in, err = originOf(ctx, store, stage, w.Versions); err != nil {
			return nil, err
		}
		if in.good && (w.From == "" || w.From == stage) {
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
		if p.Reason = strings.TrimSpace(w.Reason); p.Reason == "" {
			return nil, fault.New(fault.Invalid, "this version of %s was never good in %s", strings.Join(slices.Sorted(maps.Keys(w.Versions)), ", "), strings.Join(p.Skips, ", ")).
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

func originOf(ctx context.Context, store *record.Store, stage string, versions map[string]string) (origin, error) {
	o := origin{good: true, stands: true}
	for _, service := range slices.Sorted(maps.Keys(versions)) {
		past, err := history.ReadLive(ctx, store, stage, service)
		if err != nil {
			return o, err
		}
		now, ok := past.Stands()
		o.stands = o.stands && ok && now.Version == versions[service]
		all, err := history.Read(ctx, store, stage, service)
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
		run, err := store.Run(ctx, r.Run)
		if err != nil {
			return o, err
		}
		if !slices.Contains(o.authors, run.By) {
			o.authors = append(o.authors, run.By)
		}
	}
	return o, nil
}

// Stands reports whether what a plan deploys runs in its environment already, and is good there.
func Stands(ctx context.Context, store *record.Store, p *plan.Plan) (bool, error) {
	for _, u := range p.Services {
		if stands, err := StandsAt(ctx, store, p.Environment, u.Name, u.Version, u.Manifests); !stands {
			return false, err
		}
	}
	return true, nil
}

// StandsAt is Stands, of one service.
func StandsAt(ctx context.Context, store *record.Store, environment, service, version, manifests string) (bool, error) {
	past, err := history.ReadLive(ctx, store, environment, service)
	r, ok := past.Stands()
	return err == nil && ok && r.Version == version && r.Manifests == manifests, err
}

// Sources says from which commits a configuration and some manifests are read.
func Sources(dir string, manifests ...spec.Manifests) []plan.Source {
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

// WithoutVersions is the error of a service without an image.
func WithoutVersions(service string) error {
	return fault.New(fault.Invalid, "service %s has no versions: it names no image", service).
		WithHint("set spec.image of the service to the repository whose tags and digests are its versions")
}
