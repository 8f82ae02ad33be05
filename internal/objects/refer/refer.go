// Package refer finds what an object refers to by name: a workload its ConfigMaps and its account, a binding its role, a route its
// Services, everything in a namespace that namespace, every custom resource its definition.
package refer

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// Ref is an object that another refers to.
type Ref struct {
	Kind      schema.GroupKind
	Namespace string // empty for an object of the cluster
	Name      string
}

// String names the object as ident.Of does.
func (r Ref) String() string { return ident.Name(r.Kind, r.Namespace, r.Name) }

// Needed reports whether an object cannot even be created before what it refers to: its namespace, its definition.
func (r Ref) Needed() bool {
	return r.Kind == schema.GroupKind{Kind: "Namespace"} || r.Kind == definitions
}

var definitions = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}

// finder collects the references of one object.
type finder struct {
	obj  *unstructured.Unstructured
	refs []Ref
}

// Of returns what an object of a resource refers to. References that leave their name out are none.
func Of(resource kube.Resource, obj *unstructured.Unstructured) []Ref {
	f := &finder{obj: obj}
	if ns := obj.GetNamespace(); ns != "" {
		f.add("", "Namespace", "", ns)
	}
	if strings.Contains(resource.Group, ".") { // of Kubernetes' own groups there is none: then the reference leads nowhere
		f.refs = append(f.refs, Ref{Kind: definitions, Name: resource.GroupResource().String()})
	}
	if find := finders[resource.GroupKind().String()]; find != nil {
		find(f)
	}
	return f.refs
}

// finders are what single kinds refer to, by group and kind.
var finders = map[string]func(*finder){
	"Pod":                   func(f *finder) { f.pod("spec") },
	"ReplicationController": template,
	"Deployment.apps":       template,
	"ReplicaSet.apps":       template,
	"DaemonSet.apps":        template,
	"Job.batch":             template,
	"StatefulSet.apps": func(f *finder) {
		template(f)
		f.add("", "Service", f.here(), field.String(f.obj, "spec", "serviceName"))
		for _, claim := range items(field.Map(f.obj, "spec")["volumeClaimTemplates"]) {
			f.class(field.Child(claim, "spec"))
		}
	},
	"CronJob.batch":  func(f *finder) { f.pod("spec", "jobTemplate", "spec", "template", "spec") },
	"ServiceAccount": account,
	"PersistentVolumeClaim": func(f *finder) {
		f.class(field.Map(f.obj, "spec"))
		if field.Chosen(f.obj, "f:spec", "f:volumeName") {
			f.add("", "PersistentVolume", "", field.String(f.obj, "spec", "volumeName"))
		}
	},
	"PersistentVolume": func(f *finder) {
		f.class(field.Map(f.obj, "spec"))
		f.keys(field.Map(f.obj, "spec"))
	},
	"RoleBinding.rbac.authorization.k8s.io":        binding,
	"ClusterRoleBinding.rbac.authorization.k8s.io": binding,
	"Ingress.networking.k8s.io":                    ingress,
	"HTTPRoute.gateway.networking.k8s.io":          route,
	"GRPCRoute.gateway.networking.k8s.io":          route,
	"TLSRoute.gateway.networking.k8s.io":           route,
	"TCPRoute.gateway.networking.k8s.io":           route,
	"UDPRoute.gateway.networking.k8s.io":           route,
	"Gateway.gateway.networking.k8s.io":            gateway,
	"HorizontalPodAutoscaler.autoscaling":          func(f *finder) { f.object(field.Map(f.obj, "spec", "scaleTargetRef")) },
	"APIService.apiregistration.k8s.io":            func(f *finder) { f.service(field.Map(f.obj, "spec", "service")) },
	"CustomResourceDefinition.apiextensions.k8s.io": func(f *finder) {
		f.service(field.Map(f.obj, "spec", "conversion", "webhook", "clientConfig", "service"))
	},
	"MutatingWebhookConfiguration.admissionregistration.k8s.io":   webhooks,
	"ValidatingWebhookConfiguration.admissionregistration.k8s.io": webhooks,
}

func (f *finder) here() string { return f.obj.GetNamespace() }

func (f *finder) add(group, kind, namespace, name string) {
	if name != "" {
		f.refs = append(f.refs, Ref{Kind: schema.GroupKind{Group: group, Kind: kind}, Namespace: namespace, Name: name})
	}
}

// named adds the object whose name is in a field of m.
func (f *finder) named(kind string, m map[string]any, key string) {
	name, _ := m[key].(string)
	f.add("", kind, f.here(), name)
}

// object adds what a map with apiVersion or group, kind, name and perhaps a namespace refers to.
func (f *finder) object(m map[string]any) {
	text := func(key string) string { s, _ := m[key].(string); return s }
	group := text("group")
	if group == "" {
		group = text("apiGroup")
	}
	if v := text("apiVersion"); strings.Contains(v, "/") {
		group, _, _ = strings.Cut(v, "/")
	}
	namespace := text("namespace")
	if namespace == "" {
		namespace = f.here()
	}
	if text("kind") == "ClusterRole" {
		namespace = ""
	}
	f.add(group, text("kind"), namespace, text("name"))
}

func (f *finder) service(m map[string]any) {
	namespace, _ := m["namespace"].(string)
	name, _ := m["name"].(string)
	f.add("", "Service", namespace, name)
}

func template(f *finder) { f.pod("spec", "template", "spec") }

// pod adds what the pod spec at a path refers to.
func (f *finder) pod(path ...string) {
	spec := field.Map(f.obj, path...)
	f.named("ServiceAccount", spec, "serviceAccountName")
	f.secrets(spec["imagePullSecrets"])
	class, _ := spec["priorityClassName"].(string)
	f.add("scheduling.k8s.io", "PriorityClass", "", class)
	runtime, _ := spec["runtimeClassName"].(string)
	f.add("node.k8s.io", "RuntimeClass", "", runtime)
	for _, v := range items(spec["volumes"]) {
		f.volume(v)
	}
	for _, kind := range []string{"containers", "initContainers"} {
		for _, c := range items(spec[kind]) {
			f.environment(c)
		}
	}
}

func (f *finder) volume(v map[string]any) {
	f.named("ConfigMap", field.Child(v, "configMap"), "name")
	f.named("Secret", field.Child(v, "secret"), "secretName")
	f.named("PersistentVolumeClaim", field.Child(v, "persistentVolumeClaim"), "claimName")
	f.class(field.Child(v, "ephemeral", "volumeClaimTemplate", "spec"))
	f.keys(v)
	for _, s := range items(field.Child(v, "projected")["sources"]) {
		f.named("ConfigMap", field.Child(s, "configMap"), "name")
		f.named("Secret", field.Child(s, "secret"), "name")
	}
}

// class adds the storage classes of a claim or a volume.
func (f *finder) class(spec map[string]any) {
	name, _ := spec["storageClassName"].(string)
	f.add("storage.k8s.io", "StorageClass", "", name)
	attributes, _ := spec["volumeAttributesClassName"].(string)
	f.add("storage.k8s.io", "VolumeAttributesClass", "", attributes)
}

// keys adds the Secrets with which volumes of all types are mounted: those of a pod are in its namespace, those of a PersistentVolume
// say in which they are.
func (f *finder) keys(volume map[string]any) {
	for _, source := range volume {
		for _, key := range []string{"secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "controllerPublishSecretRef", "nodeExpandSecretRef", "controllerExpandSecretRef"} {
			if ref := field.Child(field.AsMap(source), key); ref != nil {
				f.object(withDefault(ref, "", "Secret"))
			}
		}
	}
	f.named("Secret", field.Child(volume, "azureFile"), "secretName")
}

func (f *finder) environment(container map[string]any) {
	for _, e := range items(container["env"]) {
		f.named("ConfigMap", field.Child(e, "valueFrom", "configMapKeyRef"), "name")
		f.named("Secret", field.Child(e, "valueFrom", "secretKeyRef"), "name")
	}
	for _, e := range items(container["envFrom"]) {
		f.named("ConfigMap", field.Child(e, "configMapRef"), "name")
		f.named("Secret", field.Child(e, "secretRef"), "name")
	}
}

func (f *finder) secrets(list any) {
	for _, s := range items(list) {
		f.named("Secret", s, "name")
	}
}

func account(f *finder) {
	f.secrets(f.obj.Object["secrets"])
	f.secrets(f.obj.Object["imagePullSecrets"])
}

func binding(f *finder) {
	f.object(field.Map(f.obj, "roleRef"))
	for _, s := range items(f.obj.Object["subjects"]) {
		if s["kind"] == "ServiceAccount" {
			f.object(s)
		}
	}
}

func ingress(f *finder) {
	f.add("networking.k8s.io", "IngressClass", "", field.String(f.obj, "spec", "ingressClassName"))
	f.backend(field.Map(f.obj, "spec", "defaultBackend"))
	for _, tls := range items(field.Map(f.obj, "spec")["tls"]) {
		f.named("Secret", tls, "secretName")
	}
	for _, rule := range items(field.Map(f.obj, "spec")["rules"]) {
		for _, p := range items(field.Child(rule, "http")["paths"]) {
			f.backend(field.Child(p, "backend"))
		}
	}
}

func (f *finder) backend(m map[string]any) {
	f.named("Service", field.Child(m, "service"), "name")
	f.object(field.Child(m, "resource"))
}

func route(f *finder) {
	for _, parent := range items(field.Map(f.obj, "spec")["parentRefs"]) {
		f.object(withDefault(parent, "gateway.networking.k8s.io", "Gateway"))
	}
	for _, rule := range items(field.Map(f.obj, "spec")["rules"]) {
		for _, backend := range items(rule["backendRefs"]) {
			f.object(withDefault(backend, "", "Service"))
		}
	}
}

func gateway(f *finder) {
	f.add("gateway.networking.k8s.io", "GatewayClass", "", field.String(f.obj, "spec", "gatewayClassName"))
	for _, listener := range items(field.Map(f.obj, "spec")["listeners"]) {
		for _, certificate := range items(field.Child(listener, "tls")["certificateRefs"]) {
			f.object(withDefault(certificate, "", "Secret"))
		}
	}
}

func webhooks(f *finder) {
	for _, w := range items(f.obj.Object["webhooks"]) {
		f.service(field.Child(w, "clientConfig", "service"))
	}
}

// withDefault is a reference of the Gateway API with the group and kind that it leaves out.
func withDefault(m map[string]any, group, kind string) map[string]any {
	full := map[string]any{"group": group, "kind": kind}
	for key, value := range m {
		full[key] = value
	}
	return full
}

// items are the maps of a list.
func items(value any) []map[string]any {
	list, _ := value.([]any)
	maps := make([]map[string]any, 0, len(list))
	for _, item := range list {
		maps = append(maps, field.AsMap(item))
	}
	return maps
}
