package decide

import (
	"slices"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// MayCopy reports whether the rules let any object of a kind be copied, so that the others need not be read.
func (d *Decider) MayCopy(resource kube.Resource) bool {
	return d.Kind(resource) == None && d.owner(resource) == None && d.AskedKind(resource) && !excludedKind(d.rules.Exclude, resource)
}

// excludedKind reports whether selectors choose every object of a kind.
func excludedKind(selectors []spec.Selector, resource kube.Resource) bool {
	return slices.ContainsFunc(selectors, func(s spec.Selector) bool {
		return len(s.Namespaces)+len(s.Names)+len(s.Labels) == 0 && slices.ContainsFunc(s.Kinds, func(kind string) bool { return sameKind(kind, resource) })
	})
}

// AskedKind reports whether the rules can ask for an object of a kind.
func (d *Decider) AskedKind(resource kube.Resource) bool {
	return d.bySelected(resource) || askedKind(d.rules.Include, resource) && askedKind(d.rules.Only, resource)
}

// bySelected reports whether objects of a kind may be copied because selected ones refer to them (see Add).
func (d *Decider) bySelected(resource kube.Resource) bool {
	kind := resource.GroupKind().String()
	return d.rules.WithReferences || kind == "Namespace" || kind == "CustomResourceDefinition.apiextensions.k8s.io"
}

// askedKind reports whether selectors can ask for an object of a kind.
func askedKind(selectors []spec.Selector, resource kube.Resource) bool {
	return len(selectors) == 0 || slices.ContainsFunc(selectors, func(s spec.Selector) bool {
		if !resource.Namespaced && len(s.Namespaces) > 0 && !matchName(s.Namespaces, "") {
			return false
		}
		return len(s.Kinds) == 0 || slices.ContainsFunc(s.Kinds, func(kind string) bool { return sameKind(kind, resource) })
	})
}
