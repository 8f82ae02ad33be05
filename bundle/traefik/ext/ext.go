// Package ext is the place where Traefik's commercial sister puts options of its own. Traefik's module leaves it out, and has it empty.
package ext

// HTTP has no option.
type HTTP struct{}

// DeepCopyInto copies no option.
func (*HTTP) DeepCopyInto(*HTTP) {}

// Router has no option.
type Router struct{}
