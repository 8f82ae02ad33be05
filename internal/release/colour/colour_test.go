package colour

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

const shop = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: shop}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {a: "1"}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: common, namespace: shop}, data: {a: "1"}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: dashboards, namespace: shop}, data: {a: "1"}}
---
{apiVersion: v1, kind: Secret, metadata: {name: key, namespace: shop}, data: {a: eA==}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, tier: front}}
    spec:
      serviceAccountName: web
      volumes: [{name: key, secret: {secretName: key}}, {name: settings, projected: {sources: [{configMap: {name: settings}}]}}]
      topologySpreadConstraints: [{topologyKey: kubernetes.io/hostname, maxSkew: 1, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}]
      containers:
        - name: web
          image: registry.example.com/shop/web:1
          envFrom: [{configMapRef: {name: settings}}]
          env: [{name: COMMON, valueFrom: {configMapKeyRef: {name: common, key: a}}}, {name: OWN, valueFrom: {configMapKeyRef: {name: elsewhere, key: a}}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tidy, namespace: shop}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1", envFrom: [{configMapRef: {name: common}}]}]}}}}
---
{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web, namespace: shop}, spec: {minReplicas: 2, maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: web, namespace: shop}, spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, annotations: {external-dns.alpha.kubernetes.io/hostname: shop.example.com}}, spec: {type: NodePort, externalTrafficPolicy: Local, selector: {app: web}, ports: [{name: http, port: 80, nodePort: 30080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web-front, namespace: shop}, spec: {clusterIP: None, selector: {tier: front}, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: mail, namespace: shop}, spec: {selector: {app: mail}, ports: [{port: 25}]}}
`

func names(objs []*unstructured.Unstructured) []string {
	var all []string
	for _, obj := range objs {
		all = append(all, ident.Of(obj))
	}
	return all
}

func parts(t *testing.T) Parts {
	t.Helper()
	p, err := Split("web", kubetest.Objects(t, shop))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSplit(t *testing.T) {
	p := parts(t)
	for _, tc := range []struct {
		reason string
		got    []*unstructured.Unstructured
		want   []string
	}{
		{"each version has its configuration, but for what others use, or it does not", p.own, []string{
			"ConfigMap shop/settings", "Secret shop/key", "apps/Deployment shop/web", "autoscaling/HorizontalPodAutoscaler shop/web",
		}},
		{"Services lead to the pods by any of their labels", p.Services, []string{"Service shop/web", "Service shop/web-front"}},
		{"everything else is there once", p.Shared, []string{
			"Namespace shop", "ServiceAccount shop/web", "ConfigMap shop/common", "ConfigMap shop/dashboards", "batch/CronJob shop/tidy",
			"policy/PodDisruptionBudget shop/web", "Service shop/mail",
		}},
	} {
		if diff := cmp.Diff(tc.want, names(tc.got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
		}
	}
	if scaler := p.Autoscaler(); scaler == nil || scaler.GetName() != "web" {
		t.Errorf("the autoscaler is %v", scaler)
	}
}

func TestSplitRefuses(t *testing.T) {
	const web = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {template: {metadata: {labels: {app: web}}}}}`
	const service = `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}}}`
	tests := map[string]struct{ objects, says string }{
		"NoDeployment":     {service, "have no Deployment"},
		"TwoDeployments":   {web + "\n---\n" + strings.Replace(web, "name: web", "name: api", 1) + "\n---\n" + service, "two Deployments, apps/Deployment shop/web and apps/Deployment shop/api"},
		"NoService":        {web, "no Kubernetes Service"},
		"OtherService":     {web + "\n---\n" + strings.Replace(service, "app: web", "app: mail", 1), "no Kubernetes Service"},
		"OtherNamespace":   {web + "\n---\n" + strings.Replace(service, "namespace: shop", "namespace: mail", 1), "no Kubernetes Service"},
		"WithoutSelector":  {web + "\n---\n" + strings.Replace(service, "selector: {app: web}", "type: ExternalName", 1), "no Kubernetes Service"},
		"StatefulSet":      {web + "\n---\n" + service + "\n---\n{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: shop}}", "apps/StatefulSet shop/db"},
		"CustomDeployment": {"{apiVersion: example.com/v1, kind: Deployment, metadata: {name: web, namespace: shop}}", "have no Deployment"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Split("web", kubetest.Objects(t, tc.objects))
			if fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "cannot deploy web as blueGreen") {
				t.Errorf("got %v, want one of code invalid that says %q", err, tc.says)
			}
		})
	}
}

func TestPaint(t *testing.T) {
	p := parts(t)
	before := cmp.Diff(nil, p.own)
	painted, err := p.Paint(Green)
	if err != nil {
		t.Fatal(err)
	}
	if cmp.Diff(nil, p.own) != before {
		t.Error("what was rendered has changed")
	}
	byName := map[string]*unstructured.Unstructured{}
	for _, obj := range painted {
		byName[ident.Of(obj)] = obj
		if obj.GetLabels()[Label] != "green" {
			t.Errorf("%s has the labels %v", ident.Of(obj), obj.GetLabels())
		}
	}
	web, scaler := byName["apps/Deployment shop/web-green"], byName["autoscaling/HorizontalPodAutoscaler shop/web-green"]
	if len(painted) != 4 || web == nil || scaler == nil || byName["ConfigMap shop/settings-green"] == nil || byName["Secret shop/key-green"] == nil {
		t.Fatalf("painted are %v", names(painted))
	}
	pod := field.Map(web, "spec", "template", "spec")
	container := field.AsMap(pod["containers"].([]any)[0])
	for _, tc := range []struct {
		reason    string
		want, got any
	}{
		{"selector", map[string]any{"app": "web", Label: "green"}, field.Map(web, "spec", "selector", "matchLabels")},
		{"pods", map[string]any{"app": "web", "tier": "front", Label: "green"}, field.Map(web, "spec", "template", "metadata", "labels")},
		{"numbers stay numbers", int64(3), field.Map(web, "spec")["replicas"]},
		{"what it mounts", []any{
			map[string]any{"name": "key", "secret": map[string]any{"secretName": "key-green"}},
			map[string]any{"name": "settings", "projected": map[string]any{"sources": []any{map[string]any{"configMap": map[string]any{"name": "settings-green"}}}}},
		}, pod["volumes"]},
		{"its environment", []any{map[string]any{"configMapRef": map[string]any{"name": "settings-green"}}}, container["envFrom"]},
		{"what is shared keeps its name, and so does what is not in the manifests", []any{
			map[string]any{"name": "COMMON", "valueFrom": map[string]any{"configMapKeyRef": map[string]any{"name": "common", "key": "a"}}},
			map[string]any{"name": "OWN", "valueFrom": map[string]any{"configMapKeyRef": map[string]any{"name": "elsewhere", "key": "a"}}},
		}, container["env"]},
		{"its account", "web", pod["serviceAccountName"]},
		{
			"each version is spread by itself",
			map[string]any{"app": "web", Label: "green"},
			field.AsMap(field.AsMap(pod["topologySpreadConstraints"].([]any)[0])["labelSelector"])["matchLabels"],
		},
		{"what scales it", "web-green", field.String(scaler, "spec", "scaleTargetRef", "name")},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
		}
	}
	plain, err := p.Paint(Plain)
	if diff := cmp.Diff(p.own, plain); err != nil || diff != "" {
		t.Errorf("the plain version: %v (-want +got):\n%s", err, diff)
	}
}

func TestRoute(t *testing.T) {
	p := parts(t)
	routed := p.Route(Blue)
	want := []map[string]any{{"app": "web", Label: "blue"}, {"tier": "front", Label: "blue"}}
	for i, service := range routed {
		if diff := cmp.Diff(want[i], field.Map(service, "spec", "selector")); diff != "" {
			t.Errorf("%s leads to (-want +got):\n%s", ident.Of(service), diff)
		}
	}
	if field.String(routed[0], "spec", "type") != "NodePort" || field.Map(p.Services[0], "spec", "selector")[Label] != nil {
		t.Error("nothing else is different, and what was rendered stays")
	}
	preview := p.Preview(Green)
	wanted := map[string]any{
		"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "web-preview", "namespace": "shop"},
		"spec": map[string]any{
			"type": "NodePort", "selector": map[string]any{"app": "web", Label: "green"}, "ports": []any{map[string]any{"name": "http", "port": int64(80)}},
		},
	}
	if diff := cmp.Diff(wanted, preview.Object); diff != "" {
		t.Errorf("the preview (-want +got):\n%s", diff)
	}
}

func TestOther(t *testing.T) {
	for c, want := range map[Colour]Colour{None: Blue, Plain: Blue, Green: Blue, Blue: Green} {
		if got := c.Other(); got != want {
			t.Errorf("after %q comes %q, want %q", c, got, want)
		}
	}
}
