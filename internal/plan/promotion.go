package plan

import (
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Promotion says from where a version comes into a stage, and what it must pass first.
type Promotion struct {
	From    *Stage         `json:"from,omitempty"`    // in which the version was good; nil when it was good in none
	Since   time.Time      `json:"since,omitzero"`    // when it became good there; of a set, when its last one did
	Skips   []string       `json:"skips,omitempty"`   // stages before this one in which it was never good
	Reason  string         `json:"reason,omitempty"`  // why these are skipped
	Authors []string       `json:"authors,omitempty"` // who brought it into From; who starts the run is one of them too
	Gate    spec.Promotion `json:"gate,omitzero"`
}

// Stage is an environment that a version is promoted from, as far as its checks are concerned.
type Stage struct {
	Environment string       `json:"environment"`
	Prefix      string       `json:"prefix"`
	Cluster     spec.Cluster `json:"cluster"`
	Routes      []Route      `json:"routes,omitempty"`
}

// Set is services that are deployed together: all of them, or none.
type Set struct {
	Name    string   `json:"name"`             // of the stack
	Deploys []Deploy `json:"deploys"`          // in an order in which each follows its needs
	Proved  string   `json:"proved"`           // the run that has verified these versions together in the stage before
	Left    []string `json:"left,omitempty"`   // services that are at another version there by now
	Stands  []string `json:"stands,omitempty"` // services that run at their version already, and are left as they are
}

// Source is a git repository that something was read from.
type Source struct {
	Repository string `json:"repository"`        // its origin without credentials, or else its directory
	Commit     string `json:"commit,omitempty"`  // empty before the first one
	Dirty      bool   `json:"dirty,omitempty"`   // something that was read was changed since the commit
	Trouble    string `json:"trouble,omitempty"` // why this could not be found out
}

// Pick has a plan that deploys several services speak of one of them, for a step that is about it; any other plan, and every service for a step that
// names none, stays as it is.
func (p *Plan) Pick(service string) error {
	if p.Set == nil || service == "" {
		return nil
	}
	for i := range p.Set.Deploys {
		if p.Set.Deploys[i].Unit.Name == service {
			p.Deploy = &p.Set.Deploys[i]
			return nil
		}
	}
	return fault.New(fault.Failed, "the set %s of the plan has no service %s", p.Set.Name, service)
}

// String is the commit, as short as people write it.
func (s Source) String() string {
	switch {
	case s.Trouble != "":
		return "unknown"
	case s.Commit == "":
		return "none"
	case s.Dirty:
		return s.Commit[:min(len(s.Commit), 8)] + "-dirty"
	}
	return s.Commit[:min(len(s.Commit), 8)]
}

// Commits are the commits that a plan was made from, for people; empty where there is no repository.
func Commits(sources []Source) string {
	var all []string
	for _, s := range sources {
		all = append(all, s.String())
	}
	return strings.Join(all, ", ")
}

// StageOf is an environment as a stage to be promoted from.
func StageOf(cfg *spec.Config, environment string) (*Stage, error) {
	env, err := cfg.Environment(environment)
	if err != nil {
		return nil, err
	}
	s := &Stage{Environment: environment, Prefix: env.GenerationPrefix(), Cluster: withClusterDefaults(env.Spec.Cluster)}
	s.Routes, err = Routes(cfg, env)
	return s, err
}

// GateOf is what stands before a promotion into an environment, with every default written out.
func GateOf(env *spec.Environment) spec.Promotion {
	gate := env.Spec.Promotion
	gate.Checks = withDefaults(gate.Checks)
	return gate
}

// MakeSet plans to deploy several services together into the generation that is live: those of a stack, each as it is wanted. It is pure, as
// Make is.
func MakeSet(cfg *spec.Config, environment string, set Set, wanted map[string]Wanted, promotion *Promotion, seen Observed) (*Plan, error) {
	stack, err := cfg.Stack(set.Name)
	if err != nil {
		return nil, err
	}
	deploys, needs := map[string]Deploy{}, map[string][]string{}
	services := slices.DeleteFunc(slices.Clone(stack.Spec.Services), func(name string) bool { return slices.Contains(set.Stands, name) })
	for _, name := range services {
		w, ok := wanted[name]
		if !ok {
			return nil, fault.New(fault.Failed, "cannot plan: %s of the set %s was not rendered", name, set.Name)
		}
		w.Needs = needsAmong(cfg, name, services)
		d, err := deployment(cfg, environment, name, w)
		if err != nil {
			return nil, err
		}
		deploys[name], needs[name] = *d, w.Needs
	}
	order, _ := spec.Order(services, needs) // a configuration has no cycle of needs
	var units []Unit
	for _, name := range order {
		set.Deploys = append(set.Deploys, deploys[name])
		units = append(units, deploys[name].Unit)
	}
	p, err := around(cfg, environment, units, seen)
	if err != nil {
		return nil, err
	}
	p.Set, p.Promotion = &set, promotion
	p.Hash, err = p.sum()
	return p, err
}

// needsAmong lists those of some services that a service needs, also by way of others.
func needsAmong(cfg *spec.Config, service string, some []string) []string {
	var found []string
	seen := map[string]bool{service: true}
	var visit func(string)
	visit = func(name string) {
		s, err := cfg.Service(name)
		if err != nil {
			return // of what does not exist nobody is deployed, either
		}
		for _, need := range s.Spec.Needs {
			if !seen[need] {
				seen[need] = true
				if slices.Contains(some, need) {
					found = append(found, need)
				}
				visit(need)
			}
		}
	}
	visit(service)
	return found
}
