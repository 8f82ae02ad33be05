// Package withhold keeps what would act on the world outside from doing so in a generation that is not live, and hands it over
// when another generation becomes live.
//
// What is withheld stays in its cluster, and routable within it: only the fields by which it acts, or by which others are told of
// it, are changed, by rules for each kind. What they were is kept on the object, so that a release gives back exactly that.
package withhold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// Annotation is on an object of which something is withheld because its generation is not live. Its value is a JSON object that says
// what was at each field (RFC 6901) that was changed; null for a field that was not there. What users have stopped themselves
// does not carry it.
const Annotation = "crossfade.dev/withheld"

// SingletonMark is an annotation or a label of workloads that may run in one generation only; any value but "false" counts.
const SingletonMark = "crossfade.dev/singleton"

// IdempotentAnnotation marks a Job, by "true", that may be started once more in the next generation while it has not finished.
const IdempotentAnnotation = "crossfade.dev/idempotent"

// Find reads an object that another refers to; nil, without an error, when it is not there. kube.Cluster has one.
type Find func(ctx context.Context, kind schema.GroupKind, namespace, name string) (*unstructured.Unstructured, error)

// Hold returns the object as it is in a generation that is not live; the same one when nothing of it is withheld, or nothing more than
// is already. find reads the workload that an autoscaler scales; it is asked for nothing else. The object passed in is not
// modified. An annotation that cannot be read is an error of code fault.Failed; all others are those of find.
func Hold(ctx context.Context, obj *unstructured.Unstructured, find Find) (*unstructured.Unstructured, error) {
	applying := rulesOf(obj.GroupVersionKind().GroupKind())
	if len(applying) == 0 {
		return obj, nil
	}
	was, err := kept(obj)
	if err != nil {
		return nil, err
	}
	singleton, err := marked(ctx, obj, find)
	if err != nil {
		return nil, err
	}
	held := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(obj.Object)}
	now := maps.Clone(was)
	for _, r := range applying {
		if r.when == nil || r.when(obj, singleton) {
			r.hold(held.Object, now)
		}
	}
	if len(now) == 0 || len(was) == len(now) && field.Equal(obj.Object, held.Object) {
		return obj, nil
	}
	text, err := json.Marshal(now) // with sorted keys
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot withhold %s: %w", ident.Of(obj), err)
	}
	put(held.Object, annotation(Annotation), annotation(Annotation), string(text))
	return held, nil
}

// hold changes an object and notes in was what it has changed. What somebody has set since it was withheld counts as what was.
func (r rule) hold(obj map[string]any, was map[string]any) {
	for _, s := range r.set {
		value, found := get(obj, s.at)
		if found && field.Equal(value, s.to) {
			continue
		}
		made := put(obj, s.at, s.made(), s.to)
		switch {
		case found:
			was[string(s.at)] = value
		case made != "":
			was[string(made)] = nil
		}
	}
	for _, pattern := range r.remove {
		parent, _ := pattern.split()
		for key := range mapAt(obj, parent) {
			p := parent + "/" + pointer(escape.Replace(key))
			if value, found := get(obj, p); found && pattern.matches(p) && !isSet(p, value) && p != annotation(Annotation) {
				was[string(p)] = value
				remove(obj, p)
			}
		}
	}
}

// isSet reports whether a rule has set a field to what it is.
func isSet(p pointer, value any) bool {
	return slices.ContainsFunc(rules, func(r rule) bool {
		return slices.ContainsFunc(r.set, func(s setting) bool { return s.at == p && field.Equal(s.to, value) })
	})
}

// Held reports whether something of an object is withheld.
func Held(obj *unstructured.Unstructured) bool {
	_, held := obj.GetAnnotations()[Annotation]
	return held
}

// Released is an object as it will be when nothing of it is withheld; one of which that cannot be said is returned as it is. The object
// passed in is not modified.
func Released(obj *unstructured.Unstructured) *unstructured.Unstructured {
	free, err := Restore(obj)
	if err != nil {
		return obj
	}
	return free
}

// Restore returns the object as it was before something of it was withheld; the same one when nothing is. The object passed in is not
// modified. An annotation that Hold has not written is an error of code fault.Failed.
func Restore(obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if !Held(obj) {
		return obj, nil
	}
	was, err := kept(obj)
	if err != nil {
		return nil, err
	}
	free := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(obj.Object)}
	for _, p := range slices.Sorted(maps.Keys(was)) {
		at := pointer(p)
		if was[p] == nil {
			remove(free.Object, at)
		} else if put(free.Object, at, at.top(), was[p]) == "" {
			return nil, unreadable(obj, fmt.Errorf("%s is not where it was", p))
		}
	}
	remove(free.Object, annotation(Annotation))
	if len(free.GetAnnotations()) == 0 {
		remove(free.Object, annotations)
	}
	return free, nil
}

// kept is what was at the fields that were changed, by pointer; empty when nothing is withheld.
func kept(obj *unstructured.Unstructured) (map[string]any, error) {
	was := map[string]any{}
	if !Held(obj) {
		return was, nil
	}
	if err := utiljson.Unmarshal([]byte(obj.GetAnnotations()[Annotation]), &was); err != nil {
		return nil, unreadable(obj, err)
	}
	if len(was) == 0 {
		return nil, unreadable(obj, errors.New("it names nothing"))
	}
	applying := rulesOf(obj.GroupVersionKind().GroupKind())
	for p, value := range was {
		if !slices.ContainsFunc(applying, func(r rule) bool { return r.allows(pointer(p), value) }) {
			return nil, unreadable(obj, fmt.Errorf("%s is nothing that is withheld of a %s", p, obj.GetKind()))
		}
	}
	return was, nil
}

func unreadable(obj *unstructured.Unstructured, err error) error {
	return fault.New(fault.Failed, "cannot tell what is withheld of %s: its annotation %s is not as it was written: %w", ident.Of(obj), Annotation, err).
		WithHint("give the object the fields that it shall have while it is live, and remove the annotation")
}

// marked reports whether an object may run in one generation only: by a mark of its own, or, for an autoscaler, by one of what it scales.
func marked(ctx context.Context, obj *unstructured.Unstructured, find Find) (bool, error) {
	if hasMark(obj) {
		return true, nil
	}
	target := field.Map(obj, "spec", "scaleTargetRef")
	name, _ := target["name"].(string)
	if target == nil || find == nil || name == "" {
		return false, nil
	}
	kind := schema.GroupKind{Group: "apps", Kind: "Deployment"} // what a ScaledObject means that says no more
	if text, _ := target["kind"].(string); text != "" {
		version, _ := target["apiVersion"].(string)
		gv, err := schema.ParseGroupVersion(version)
		if err != nil {
			return false, nil //nolint:nilerr // it scales nothing
		}
		if kind.Kind = text; version != "" {
			kind.Group = gv.Group
		}
	}
	workload, err := find(ctx, kind, obj.GetNamespace(), name)
	return workload != nil && hasMark(workload), err
}

func hasMark(obj *unstructured.Unstructured) bool {
	for _, texts := range []map[string]string{obj.GetAnnotations(), obj.GetLabels()} {
		if value, there := texts[SingletonMark]; there {
			return value != "false"
		}
	}
	return false
}

// All is Hold for objects that belong together. An autoscaler's workload is looked for among them first.
func All(ctx context.Context, objs []*unstructured.Unstructured, find Find) ([]*unstructured.Unstructured, error) {
	here := make(map[string]*unstructured.Unstructured, len(objs))
	for _, obj := range objs {
		here[ident.Of(obj)] = obj
	}
	held := make([]*unstructured.Unstructured, len(objs))
	for i, obj := range objs {
		var err error
		held[i], err = Hold(ctx, obj, func(ctx context.Context, kind schema.GroupKind, namespace, name string) (*unstructured.Unstructured, error) {
			if found := here[ident.Name(kind, namespace, name)]; found != nil {
				return found, nil
			}
			return find(ctx, kind, namespace, name)
		})
		if err != nil {
			return nil, err
		}
	}
	return held, nil
}
