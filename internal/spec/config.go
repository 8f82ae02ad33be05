package spec

import (
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
