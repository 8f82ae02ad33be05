package crowd

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The longest names: of most objects, and of those whose name is a label (RFC 1123).
const (
	longName  = 253
	labelName = 63
	jobName   = 52 // leaves room for what the controller appends
)

// largest is how much data a Secret may hold, in bytes.
const largest = 1 << 20

const (
	linkKind = "Link"
	group    = "bench.example.com"
)

// kind is how objects of a kind are made.
type kind struct {
	kind, group, version, plural string
	share                        int // of a block
	longest                      int // name, in bytes
	fill                         func(*maker, map[string]any)
}

func (k kind) resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.group, Version: k.version, Resource: k.plural}
}

// kinds are what a block is made of.
func kinds() []kind {
	return []kind{
		{"ConfigMap", "", "v1", "configmaps", 28, longName, (*maker).configMap},
		{"Secret", "", "v1", "secrets", 15, longName, (*maker).secret},
		{"ServiceAccount", "", "v1", "serviceaccounts", 6, longName, func(*maker, map[string]any) {}},
		{"Service", "", "v1", "services", 6, labelName, (*maker).service},
		{"PersistentVolumeClaim", "", "v1", "persistentvolumeclaims", 3, longName, (*maker).claim},
		{"Deployment", "apps", "v1", "deployments", 6, longName, (*maker).deployment},
		{"CronJob", "batch", "v1", "cronjobs", 2, jobName, (*maker).cronJob},
		{"Role", "rbac.authorization.k8s.io", "v1", "roles", 3, longName, (*maker).role},
		{"RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings", 3, longName, (*maker).binding},
		{"NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies", 2, longName, (*maker).policy},
		{"Ingress", "networking.k8s.io", "v1", "ingresses", 2, longName, (*maker).ingress},
		{"Coupon", group, "v1", "coupons", 14, longName, (*maker).coupon},
		{linkKind, group, "v1", "links", 10, 0, (*maker).coupon},
	}
}

// maker makes one object.
type maker struct {
	*rand.Rand
	position, number int
	namespace, name  string
	large            bool
}

// named makes a name; one of ten is as long as may be.
func (m *maker) named(longest int) string {
	if longest == 0 {
		return linkName(m.number)
	}
	name := fmt.Sprintf("app-%d", m.position)
	if m.position%10 == 0 {
		name += "-" + strings.Repeat("x", longest-len(name)-1)
	}
	return name
}

func linkName(number int) string { return fmt.Sprintf("link-%d", number) }

func (m *maker) base(k kind) map[string]any {
	return map[string]any{
		"apiVersion": k.resource().GroupVersion().String(), "kind": k.kind,
		"metadata": map[string]any{
			"name": m.name, "namespace": m.namespace,
			"labels": map[string]any{
				"app.kubernetes.io/name": fmt.Sprintf("app-%d", m.position%97), label: hallmark,
				"team": strings.Repeat("t", 1+m.IntN(labelName)),
			},
			"annotations": map[string]any{"bench.example.com/about": m.text(20 + m.IntN(200))},
		},
	}
}

// words of many scripts, of signs outside the basic plane, of marks that combine, and of what JSON and YAML escape.
var words = []string{
	"plain", "größe", "数量", "данные", "مرحبا", "🚀", "👩‍👩‍👧‍👦", "e\u0301clair", "line\nbreak", "tab\t", `quote"d`, `back\slash`, "<&>", "\u2028", "~", "no", "1e3", "# not a comment",
}

func (m *maker) text(length int) string {
	var b strings.Builder
	for b.Len() < length {
		b.WriteString(words[m.IntN(len(words))])
		b.WriteByte(' ')
	}
	return b.String()
}

// size is how long values are, in bytes: mostly short, some of many pages.
func (m *maker) size() int { return 32<<m.IntN(8) + m.IntN(32) }

func (m *maker) configMap(obj map[string]any) {
	data := map[string]any{}
	for i := range 1 + m.IntN(3) {
		data[fmt.Sprintf("file-%d.conf", i)] = m.text(m.size())
	}
	obj["data"] = data
}

func (m *maker) secret(obj map[string]any) {
	size := m.size()
	if m.large {
		size = largest
	}
	raw := make([]byte, size)
	for i := range raw {
		raw[i] = byte(m.Uint32())
	}
	obj["type"], obj["data"] = "Opaque", map[string]any{"key": base64.StdEncoding.EncodeToString(raw)}
}

func (m *maker) selector() map[string]any {
	return map[string]any{"app": fmt.Sprintf("app-%d", m.position)}
}

func (m *maker) service(obj map[string]any) {
	obj["spec"] = map[string]any{"selector": m.selector(), "ports": []any{
		map[string]any{"name": "http", "port": int64(80), "targetPort": "http"}, map[string]any{"name": "metrics", "port": int64(9090)},
	}}
}

func (m *maker) claim(obj map[string]any) {
	obj["spec"] = map[string]any{
		"accessModes": []any{"ReadWriteOnce"}, "resources": map[string]any{"requests": map[string]any{"storage": "1Gi"}}, "storageClassName": "fast",
	}
}

func (m *maker) pod() map[string]any {
	var env []any
	for i := range m.IntN(20) {
		env = append(env, map[string]any{"name": fmt.Sprintf("SETTING_%d", i), "value": m.text(8)})
	}
	return map[string]any{
		"metadata": map[string]any{"labels": m.selector()},
		"spec": map[string]any{"restartPolicy": "Always", "containers": []any{map[string]any{
			"name": "main", "image": "registry.example.com/app:1", "env": env,
			"ports":        []any{map[string]any{"name": "http", "containerPort": int64(8080)}},
			"resources":    map[string]any{"requests": map[string]any{"cpu": "100m", "memory": "64Mi"}},
			"volumeMounts": []any{map[string]any{"name": "settings", "mountPath": "/etc/app"}},
		}}, "volumes": []any{map[string]any{"name": "settings", "configMap": map[string]any{"name": "settings"}}}},
	}
}

func (m *maker) deployment(obj map[string]any) {
	obj["spec"] = map[string]any{
		"replicas": int64(m.IntN(3)), "selector": map[string]any{"matchLabels": m.selector()}, "template": m.pod(),
		"strategy": map[string]any{"type": "Recreate"},
	}
}

func (m *maker) cronJob(obj map[string]any) {
	pod := m.pod()
	_ = unstructured.SetNestedField(pod, "OnFailure", "spec", "restartPolicy") // spec is a map
	obj["spec"] = map[string]any{"schedule": "0 3 * * *", "jobTemplate": map[string]any{"spec": map[string]any{"template": pod}}}
}

func (m *maker) role(obj map[string]any) {
	obj["rules"] = []any{map[string]any{"apiGroups": []any{""}, "resources": []any{"pods", "configmaps"}, "verbs": []any{"get", "list", "watch"}}}
}

func (m *maker) binding(obj map[string]any) {
	obj["roleRef"] = map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": m.name}
	obj["subjects"] = []any{map[string]any{"kind": "ServiceAccount", "name": m.name, "namespace": m.namespace}}
}

func (m *maker) policy(obj map[string]any) {
	obj["spec"] = map[string]any{"podSelector": map[string]any{"matchLabels": m.selector()}, "policyTypes": []any{"Ingress"}}
}

func (m *maker) ingress(obj map[string]any) {
	backend := map[string]any{"service": map[string]any{"name": "web", "port": map[string]any{"name": "http"}}}
	obj["spec"] = map[string]any{"rules": []any{map[string]any{
		"host": fmt.Sprintf("app-%d.example.com", m.position),
		"http": map[string]any{"paths": []any{map[string]any{"path": "/", "pathType": "Prefix", "backend": backend}}},
	}}}
}

func (m *maker) coupon(obj map[string]any) {
	var steps []any
	for range m.IntN(10) {
		steps = append(steps, map[string]any{"text": m.text(24), "weight": m.Int64N(1 << 53), "ratio": m.Float64(), "on": m.IntN(2) == 0})
	}
	obj["spec"] = map[string]any{"percent": m.Int64N(100), "steps": steps, "nested": map[string]any{"a": map[string]any{"b": m.text(m.size())}}}
}

// namespace makes a namespace.
func namespace(i int) Object {
	m := &maker{Rand: rand.New(rand.NewPCG(uint64(i), 1)), position: i, name: namespaceName(i)}
	obj := m.base(kind{kind: "Namespace", version: "v1"})
	delete(obj["metadata"].(map[string]any), "namespace")
	return Object{Unstructured: &unstructured.Unstructured{Object: obj}, Resource: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}}
}

// definitions make the custom kinds.
func definitions() []Object {
	var all []Object
	for _, k := range kinds() {
		if k.group == group {
			all = append(all, Object{
				Unstructured: Definition(k.kind, k.plural),
				Resource:     schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
			})
		}
	}
	return all
}

// Definition makes the definition of a kind of any content.
func Definition(kind, plural string) *unstructured.Unstructured {
	open := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": plural + "." + group, "labels": map[string]any{label: hallmark}},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced", "names": map[string]any{"kind": kind, "plural": plural},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": open}}},
		},
	}}
}
