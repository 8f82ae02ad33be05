// Package ident names Kubernetes objects the way people read them and plans record them.
package ident

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Of names an object by group, kind, namespace and name, without the version: "apps/Deployment shop/web",
// "ConfigMap shop/settings", "Namespace shop". Two objects have the same name exactly when they are the same object of a
// cluster.
func Of(obj *unstructured.Unstructured) string {
	return Name(obj.GroupVersionKind().GroupKind(), obj.GetNamespace(), obj.GetName())
}

// Name is Of for an object that is not at hand. The namespace is empty for an object of the cluster.
func Name(kind schema.GroupKind, namespace, name string) string {
	text := kind.Kind + " "
	if kind.Group != "" {
		text = kind.Group + "/" + text
	}
	if namespace != "" {
		text += namespace + "/"
	}
	return text + name
}

// Reference is an object's kind and name, without its content.
func Reference(obj *unstructured.Unstructured) *unstructured.Unstructured {
	ref := &unstructured.Unstructured{}
	ref.SetGroupVersionKind(obj.GroupVersionKind())
	ref.SetNamespace(obj.GetNamespace())
	ref.SetName(obj.GetName())
	return ref
}
