// Package withhold keeps what would act on the world outside from doing so in a generation that is not live, and hands it over
// when another generation becomes live.
package withhold

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Annotation marks an object that Crossfade holds back because its generation is not live, and that is released when
// the generation becomes live. What its users have stopped themselves does not carry it.
const Annotation = "crossfade.dev/withheld"

// Hold returns the object as it is in a generation that is not live. The object passed in is not modified.
func Hold(obj *unstructured.Unstructured) *unstructured.Unstructured {
	if !isCronJob(obj) && !isJob(obj) {
		return obj
	}
	held := obj.DeepCopy()
	withhold(held)
	return held
}

// IdempotentAnnotation marks a Job that may be started once more in the next generation while it has not finished.
const IdempotentAnnotation = "crossfade.dev/idempotent"

func isJob(obj *unstructured.Unstructured) bool {
	return obj.GroupVersionKind().GroupKind().String() == "Job.batch" && obj.GetAnnotations()[IdempotentAnnotation] != "true"
}

// Held reports whether an object is held back.
func Held(obj *unstructured.Unstructured) bool { return obj.GetAnnotations()[Annotation] != "" }

// Restore returns the object as its users made it, whether or not it is held back. The object passed in is not modified.
func Restore(obj *unstructured.Unstructured) *unstructured.Unstructured {
	if !Held(obj) {
		return obj
	}
	free := obj.DeepCopy()
	unstructured.RemoveNestedField(free.Object, "metadata", "annotations", Annotation)
	_ = unstructured.SetNestedField(free.Object, false, "spec", "suspend") // it was set when it was held
	return free
}
