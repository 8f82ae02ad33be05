package write

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/manager"
	"github.com/crossfade-dev/crossfade/internal/objects/clean"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
)

// same reports whether writing want over existing would change nothing: what was written last was want, and all of it is
// still there. When in doubt it is false.
func same(want, existing *unstructured.Unstructured) bool {
	if want.GetLabels()[manager.CopiedLabel] != manager.Copied(existing) || withhold.Held(want) != withhold.Held(existing) {
		return false
	}
	if !bodyWithin(want, existing) && !bodyWithin(want, clean.Object(existing)) { // the other cluster may have put something beside it
		return false
	}
	if !field.Within(anyMap(want.GetLabels()), anyMap(existing.GetLabels())) || !field.Within(anyMap(want.GetAnnotations()), anyMap(existing.GetAnnotations())) {
		return false
	}
	theirs := existing.GetOwnerReferences()
	return !slices.ContainsFunc(want.GetOwnerReferences(), func(ref metav1.OwnerReference) bool {
		return !slices.ContainsFunc(theirs, func(r metav1.OwnerReference) bool { return r.UID == ref.UID })
	})
}

// bodyWithin reports whether all of an object but its metadata is contained in another.
func bodyWithin(want, in *unstructured.Unstructured) bool {
	for key, value := range want.Object {
		if key != "metadata" && !field.Within(value, in.Object[key]) {
			return false
		}
	}
	return true
}

func anyMap(texts map[string]string) any {
	m := make(map[string]any, len(texts))
	for key, value := range texts {
		m[key] = value
	}
	return m
}

// sameContent reports whether two versions of an object differ in nothing but what the API server notes about writes.
func sameContent(a, b *unstructured.Unstructured) bool {
	a, b = a.DeepCopy(), b.DeepCopy()
	for _, obj := range []*unstructured.Unstructured{a, b} {
		obj.SetManagedFields(nil)
		obj.SetResourceVersion("")
	}
	return field.Equal(a.Object, b.Object)
}
