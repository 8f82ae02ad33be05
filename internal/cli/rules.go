package cli

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/render"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// rulesOf are the rules of an environment, everything without one, narrowed to a stack, if one is named.
func rulesOf(cfg *spec.Config, environment, stack string) (decide.Rules, error) {
	rules := decide.Rules{}
	if environment != "" {
		env, err := cfg.Environment(environment)
		if err != nil {
			return rules, err
		}
		rules.Copy = env.Spec.Copy
		if rules.Owned, err = ownedBy(cfg, env); err != nil {
			return rules, err
		}
	}
	if stack == "" {
		return rules, nil
	}
	s, err := cfg.Stack(stack)
	if err != nil {
		return rules, err
	}
	if rules.Only, err = partsOf(cfg, s); err == nil && len(rules.Only) == 0 {
		err = fault.New(fault.Invalid, "nothing belongs to the stack %s", stack).WithHint("its services have no objects")
	}
	return rules, err
}

// ownedBy names what the environment's priming and its services bring, which is not copied.
func ownedBy(cfg *spec.Config, env *spec.Environment) ([]string, error) {
	var owned []string
	for _, u := range env.Spec.Prime {
		objs, err := render.Objects(u.Manifests, render.Options{Name: u.Name, Namespace: u.Namespace})
		if err != nil {
			return nil, fault.New(fault.CodeOf(err), "environment %s, prime %s: %w", env.Metadata.Name, u.Name, err)
		}
		owned = append(owned, namesOf(objs)...)
	}
	for _, ref := range env.Spec.Services {
		objs, err := serviceObjects(cfg, ref.Name)
		if err != nil {
			return nil, err
		}
		owned = append(owned, namesOf(objs)...)
	}
	slices.Sort(owned)
	return slices.Compact(owned), nil
}

func namesOf(objs []*unstructured.Unstructured) []string {
	names := make([]string, len(objs))
	for i, obj := range objs {
		names[i] = ident.Of(obj)
	}
	return names
}

// serviceObjects are the objects of a service, of whatever version.
func serviceObjects(cfg *spec.Config, name string) ([]*unstructured.Unstructured, error) {
	s, err := cfg.Service(name)
	if err != nil {
		return nil, err
	}
	objs, err := render.Objects(s.Spec.Manifests, render.Options{Name: name, Namespace: s.Spec.Namespace})
	if err != nil {
		return nil, fault.New(fault.CodeOf(err), "service %s: %w", name, err)
	}
	return objs, nil
}

// partsOf chooses what belongs to a stack: the objects that it selects, and those of its services.
func partsOf(cfg *spec.Config, stack *spec.Stack) ([]spec.Selector, error) {
	parts := slices.Clone(stack.Spec.Objects)
	for _, name := range stack.Spec.Services {
		objs, err := serviceObjects(cfg, name)
		if err != nil {
			return nil, err
		}
		for _, obj := range objs {
			part := spec.Selector{Kinds: []string{obj.GroupVersionKind().GroupKind().String()}, Names: []string{obj.GetName()}}
			if obj.GetNamespace() != "" {
				part.Namespaces = []string{obj.GetNamespace()}
			}
			parts = append(parts, part)
		}
	}
	return parts, nil
}
