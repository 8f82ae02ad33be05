// Package colour tells two versions of a service in one cluster apart: it parts the objects of the service into those that each version
// has of its own and those that both share, and paints the former. It knows no cluster: the same objects in the same colour are
// always the same.
package colour

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/objects/refer"
)

// Colour is one of the two places that versions of a service take in turn.
type Colour string

// The colours. None stands for nothing that serves, and Plain for a version that was deployed before the service had colours.
const (
	None  Colour = ""
	Plain Colour = "plain"
	Blue  Colour = "blue"
	Green Colour = "green"
)

// Label is on everything that a version has of its own, and in the selectors of the Services that lead to it.
const Label = "crossfade.dev/colour"

// Other is the colour of the version that comes after one of this colour.
func (c Colour) Other() Colour {
	if c == Blue {
		return Green
	}
	return Blue
}

// Parts are the objects of a service, without a colour.
type Parts struct {
	Workload *unstructured.Unstructured   // the Deployment
	Services []*unstructured.Unstructured // the Kubernetes Services that lead to its pods
	Shared   []*unstructured.Unstructured // what both versions use
	own      []*unstructured.Unstructured // what each version has of its own, the Deployment among it
}

// Split parts the rendered objects of a service. Each version has its own Deployment, the autoscalers of that, and the ConfigMaps and
// Secrets that nothing else refers to. Objects that cannot be deployed like this are an error of code fault.Invalid: not exactly one
// Deployment, other workloads, or no Kubernetes Service that leads to its pods; pods of which two versions must not run at a time; names
// that leave no room for a colour.
func Split(service string, objs []*unstructured.Unstructured) (Parts, error) {
	var p Parts
	for _, obj := range objs {
		switch kind := obj.GroupVersionKind().GroupKind().String(); {
		case kind != "Deployment.apps":
		case p.Workload != nil:
			return Parts{}, refused(service, "its manifests have two Deployments, %s and %s", ident.Of(p.Workload), ident.Of(obj))
		default:
			p.Workload = obj
		}
	}
	if p.Workload == nil {
		return Parts{}, refused(service, "its manifests have no Deployment")
	}
	for _, obj := range objs {
		switch kind := obj.GroupVersionKind().GroupKind().String(); kind {
		case "StatefulSet.apps", "DaemonSet.apps", "ReplicaSet.apps", "ReplicationController", "Pod":
			return Parts{}, refused(service, "its manifests have %s beside the Deployment, and it cannot run twice", ident.Of(obj))
		case "Service":
			if leads(obj, p.Workload) {
				p.Services = append(p.Services, obj)
			}
		}
	}
	if len(p.Services) == 0 {
		return Parts{}, refused(service, "no Kubernetes Service of its manifests leads to the pods of %s", ident.Of(p.Workload))
	}
	own := p.owned(objs)
	for _, obj := range objs {
		switch {
		case own[ident.Of(obj)]:
			p.own = append(p.own, obj)
		case !slices.Contains(p.Services, obj):
			p.Shared = append(p.Shared, obj)
		}
	}
	if err := p.runsTwice(service, objs); err != nil {
		return Parts{}, err
	}
	return p, nil
}

// leads reports whether a Kubernetes Service selects the pods of a workload.
func leads(service, workload *unstructured.Unstructured) bool {
	selector := field.Map(service, "spec", "selector")
	labels := field.Map(workload, "spec", "template", "metadata", "labels")
	return len(selector) > 0 && service.GetNamespace() == workload.GetNamespace() && field.Within(selector, labels)
}

// owned names what each version has of its own.
func (p Parts) owned(objs []*unstructured.Unstructured) map[string]bool {
	own := map[string]bool{ident.Of(p.Workload): true}
	uses, shared := map[string]bool{}, map[string]bool{}
	for _, obj := range objs {
		gvk := obj.GroupVersionKind()
		resource := kube.Resource{Kind: gvk.Kind, Namespaced: obj.GetNamespace() != ""}
		resource.Group, resource.Version = gvk.Group, gvk.Version
		for _, ref := range refer.Of(resource, obj) {
			switch {
			case obj == p.Workload:
				uses[ref.String()] = true
			case gvk.Kind == "HorizontalPodAutoscaler" && ref.String() == ident.Of(p.Workload):
				own[ident.Of(obj)] = true
			default:
				shared[ref.String()] = true
			}
		}
	}
	for _, obj := range objs {
		if kind := obj.GroupVersionKind().GroupKind().String(); kind == "ConfigMap" || kind == "Secret" {
			own[ident.Of(obj)] = uses[ident.Of(obj)] && !shared[ident.Of(obj)]
		}
	}
	return own
}

// Autoscaler is what scales the Deployment; nil when nothing does.
func (p Parts) Autoscaler() *unstructured.Unstructured {
	i := slices.IndexFunc(p.own, func(obj *unstructured.Unstructured) bool { return obj.GetKind() == "HorizontalPodAutoscaler" })
	if i < 0 {
		return nil
	}
	return p.own[i]
}

// Route returns the Kubernetes Services, leading to the version of a colour.
func (p Parts) Route(c Colour) []*unstructured.Unstructured {
	routed := make([]*unstructured.Unstructured, len(p.Services))
	for i, service := range p.Services {
		routed[i] = lead(service, c)
	}
	return routed
}

func lead(service *unstructured.Unstructured, c Colour) *unstructured.Unstructured {
	led := service.DeepCopy()
	_ = unstructured.SetNestedField(led.Object, string(c), "spec", "selector", Label) // it is a map of texts
	return led
}

// Preview is a Kubernetes Service that leads to the version of a colour beside the ones that serve the users. It answers on ports of
// its own.
func (p Parts) Preview(c Colour) *unstructured.Unstructured {
	return Beside(p.Services[0], c, p.PreviewName())
}

// Beside is a Kubernetes Service of a name that leads to the version of a colour, beside one of the manifests. It answers on ports of its own.
func Beside(service *unstructured.Unstructured, c Colour, name string) *unstructured.Unstructured {
	beside := lead(service, c)
	beside.SetName(name)
	spec := field.Map(beside, "spec")
	for _, key := range []string{
		"clusterIP", "clusterIPs", "healthCheckNodePort", "loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges",
		"allocateLoadBalancerNodePorts", "externalIPs", "externalTrafficPolicy", "externalName",
	} {
		delete(spec, key)
	}
	if t := spec["type"]; t == "LoadBalancer" {
		spec["type"] = "NodePort" // an address of its own is not needed
	}
	for _, port := range field.List(beside, "spec", "ports") {
		delete(field.AsMap(port), "nodePort")
	}
	beside.SetAnnotations(nil) // they are about names and addresses
	beside.SetLabels(nil)      // what collects Services by their labels is to find those of the users
	return beside
}

const previewSuffix = "-preview"

// PreviewName is the name of the preview.
func (p Parts) PreviewName() string { return p.Services[0].GetName() + previewSuffix }
