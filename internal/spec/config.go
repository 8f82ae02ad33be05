package spec

import (
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Environment returns the environment of the given name, or an error of code Invalid that says which there are.
func (c *Config) Environment(name string) (*Environment, error) {
	var known []string
	for i := range c.Environments {
		if c.Environments[i].Metadata.Name == name {
			return &c.Environments[i], nil
		}
		known = append(known, c.Environments[i].Metadata.Name)
	}
	err := fault.New(fault.Invalid, "there is no environment %s%s", show(name), suggest(name, known))
	if len(known) == 0 {
		return nil, err.WithHint("the configuration has no document of kind Environment")
	}
	return nil, err.WithHint("the configuration has %s", strings.Join(known, ", "))
}

// Service returns the service of the given name, or nil.
func (c *Config) Service(name string) *Service {
	for i := range c.Services {
		if c.Services[i].Metadata.Name == name {
			return &c.Services[i]
		}
	}
	return nil
}

// Router returns the router of the given name, or nil.
func (c *Config) Router(name string) *Router {
	for i := range c.Platform.Spec.Routers {
		if c.Platform.Spec.Routers[i].Name == name {
			return &c.Platform.Spec.Routers[i]
		}
	}
	return nil
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
