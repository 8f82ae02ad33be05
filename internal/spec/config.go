package spec

import (
	"cmp"
	"slices"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec/strict"
)

// Environment returns the environment of the given name, or an error of code Invalid that says which there are.
func (c *Config) Environment(name string) (*Environment, error) {
	return named("environment", name, c.Environments, func(e *Environment) string { return e.Metadata.Name })
}

// Service returns the service of the given name, or an error of code Invalid that says which there are.
func (c *Config) Service(name string) (*Service, error) {
	return named("service", name, c.Services, func(s *Service) string { return s.Metadata.Name })
}

// Stack returns the stack of the given name, or an error of code Invalid that says which there are.
func (c *Config) Stack(name string) (*Stack, error) {
	return named("stack", name, c.Stacks, func(s *Stack) string { return s.Metadata.Name })
}

// Router returns the router of the given name, or an error of code Invalid that says which there are.
func (c *Config) Router(name string) (*Router, error) {
	return named("router", name, c.Platform.Spec.Routers, func(r *Router) string { return r.Name })
}

// ServiceIn returns a service as it is in an environment: what the environment says of it takes the place of what it says itself. One that is not
// in the environment is an error of code Invalid, which says what is.
func (c *Config) ServiceIn(env *Environment, name string) (*Service, error) {
	s, err := c.Service(name)
	if err != nil {
		return nil, err
	}
	for _, ref := range env.Spec.Services {
		if ref.Name == name {
			return ref.of(*s), nil
		}
	}
	return nil, fault.New(fault.Invalid, "environment %s has no service %s", env.Metadata.Name, name).WithHint("%s", env.hasServices())
}

// of is the service with what the reference says in place of what it says itself.
func (r ServiceRef) of(s Service) *Service {
	s.Spec.Namespace = cmp.Or(r.Namespace, s.Spec.Namespace)
	if len(r.Files) > 0 || r.Kustomize != "" || r.Helm != nil {
		s.Spec.Manifests = r.Manifests
	}
	if r.Checks != nil {
		s.Spec.Checks = r.Checks
	}
	return &s
}

func (e *Environment) hasServices() string {
	if len(e.Spec.Services) == 0 {
		return "add it to spec.services of the environment"
	}
	var names []string
	for _, ref := range e.Spec.Services {
		names = append(names, ref.Name)
	}
	return "it has " + strings.Join(names, ", ")
}

// StagesBefore returns the stages through which a version goes before it comes into an environment, the nearest one last. An environment that is no
// stage has none before it, and is not staged.
func (p *Platform) StagesBefore(environment string) (before []string, staged bool) {
	i := slices.Index(p.Spec.Stages, environment)
	if i < 0 {
		return nil, false
	}
	return p.Spec.Stages[:i], true
}

// named returns the thing of the given name out of all.
func named[T any](what, name string, all []T, nameOf func(*T) string) (*T, error) {
	var known []string
	for i := range all {
		if nameOf(&all[i]) == name {
			return &all[i], nil
		}
		known = append(known, nameOf(&all[i]))
	}
	err := fault.New(fault.Invalid, "there is no %s %s%s", what, strict.Show(name), strict.Suggest(name, known))
	if len(known) == 0 {
		return nil, err.WithHint("the configuration has no %s", what)
	}
	return nil, err.WithHint("the configuration has %s", strict.List(known))
}

// GenerationPrefix returns what the names of the environment's generations begin with.
func (e *Environment) GenerationPrefix() string {
	if e.Spec.Prefix != "" {
		return e.Spec.Prefix
	}
	return e.Metadata.Name
}

// PreLiveHost returns the host name at which the next generation answers.
func (r Route) PreLiveHost() string {
	if r.PreLive != "" {
		return r.PreLive
	}
	return "pre-live." + r.Host
}
