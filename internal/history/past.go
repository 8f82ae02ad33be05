// Package history reads in the record what became of a service: what was released of it, what of that stands, and how that came about.
package history

import (
	"context"
	"slices"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// Past is what was released of a service in an environment.
type Past struct {
	Environment, Service string

	All  []record.Release // the latest first
	Left bool             // the latest one failed and was left in its place, or some of it
}

// Read reads the past of a service, of all generations of an environment.
func Read(ctx context.Context, store *record.Store, environment, service string) (Past, error) {
	all, err := store.Releases(ctx, environment, service)
	if err != nil {
		return Past{}, err
	}
	return past(ctx, store, environment, service, all)
}

// ReadLive reads the past of a service in the generation of an environment that is live by the record; where the record knows of none, of all.
func ReadLive(ctx context.Context, store *record.Store, environment, service string) (Past, error) {
	all, err := store.Releases(ctx, environment, service)
	if err != nil {
		return Past{}, err
	}
	generations, err := store.Generations(ctx, environment)
	if err != nil {
		return Past{}, err
	}
	for _, g := range generations {
		if g.Phase == record.Live {
			all = slices.DeleteFunc(all, func(r record.Release) bool { return r.Generation != g.Name })
			break
		}
	}
	return past(ctx, store, environment, service, all)
}

// share is a step of one service, in which some of its users are led; what follows its name is how many.
const share = "share"

func past(ctx context.Context, store *record.Store, environment, service string, all []record.Release) (Past, error) {
	p := Past{Environment: environment, Service: service, All: all}
	if len(all) == 0 || all[0].Good {
		return p, nil
	}
	events, err := store.Events(ctx, all[0].Run, 0)
	for _, e := range events {
		step, of, several := strings.Cut(e.Step, "/")
		if several && step != share && of != service {
			continue
		}
		switch {
		case e.Kind == record.StepStarted && (step == "roll" || step == "switch" || step == share):
			p.Left = true
		case e.Kind == record.StepDone && (step == "roll-back" || step == "switch-back"):
			p.Left = false
		}
	}
	return p, err
}

// Good lists the releases that were good, the latest first.
func (p Past) Good() []record.Release {
	return slices.DeleteFunc(slices.Clone(p.All), func(r record.Release) bool { return !r.Good })
}

// Stands returns the good release that runs; false when none does.
func (p Past) Stands() (record.Release, bool) {
	good := p.Good()
	if len(good) == 0 || p.Left {
		return record.Release{}, false
	}
	return good[0], true
}

// WasGood returns the release by which a version became good for the first time; false when it never did.
func (p Past) WasGood(version string) (record.Release, bool) {
	good := p.Good()
	slices.Reverse(good)
	i := slices.IndexFunc(good, func(r record.Release) bool { return r.Version == version })
	if i < 0 {
		return record.Release{}, false
	}
	return good[i], true
}

// Choose finds the release to be deployed again: the one of a version, or the one that runs, or else the latest good one before that.
func (p Past) Choose(version string, current bool) (record.Release, error) {
	good := p.Good()
	if version != "" {
		return p.named(slices.Concat(good, p.All), version)
	}
	runs := good
	if p.Left {
		runs = p.All
	}
	if current && len(runs) > 0 {
		return runs[0], nil
	}
	for _, r := range good {
		if p.Left || r.Version != runs[0].Version || r.Manifests != runs[0].Manifests {
			return r, nil
		}
	}
	if current {
		return record.Release{}, fault.New(fault.Failed, "no release of %s in %s is good", p.Service, p.Environment).WithHint("deploy a version first")
	}
	return record.Release{}, fault.New(fault.Failed, "there is no good release of %s in %s before the one that runs", p.Service, p.Environment).
		WithHint("crossfade history %s %s lists its releases; --to names one", p.Service, p.Environment)
}

// named is the first of some releases that is of a version: a digest, or the tag by which it was asked for.
func (p Past) named(releases []record.Release, version string) (record.Release, error) {
	i := slices.IndexFunc(releases, func(r record.Release) bool { return r.Version == version || r.Tag == version })
	if i < 0 {
		return record.Release{}, fault.New(fault.Invalid, "%s was never at %s in %s", p.Service, version, p.Environment).
			WithHint("crossfade history %s %s lists its releases", p.Service, p.Environment)
	}
	return releases[i], nil
}
