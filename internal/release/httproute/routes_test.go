package httproute

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

const shop = `
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web, tier: front}}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, annotations: {external-dns.alpha.kubernetes.io/hostname: web.example.com, traefik.io/service.serversscheme: h2c}}, spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, nodePort: 30080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: grpc, namespace: shop}, spec: {selector: {tier: front}, ports: [{port: 90}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: inner, namespace: shop}, spec: {selector: {tier: front}, ports: [{port: 70}]}}
---
`

const routes = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: edge}
spec:
  rules:
    - backendRefs: [{name: web, namespace: shop, port: 80, weight: 7, filters: [{type: URLRewrite}]}]
    - backendRefs: [{name: web, port: 80}, {kind: Mesh, group: example.com, name: web, namespace: shop}]
    - backendRefs: [{name: web, namespace: shop, port: 80, weight: 0}]
    - backendRefs: [{name: other, port: 80}, {name: web, namespace: shop, port: 80, weight: 2, kind: Service, group: ""}]
    - filters: [{type: RequestRedirect}]
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: api, namespace: shop}, spec: {rules: [{backendRefs: [{name: grpc, port: 90}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: elsewhere, namespace: shop}, spec: {rules: [{backendRefs: [{name: mail, port: 80}]}]}}
---
{apiVersion: example.com/v1, kind: HTTPRoute, metadata: {name: foreign, namespace: shop}, spec: {rules: [{backendRefs: [{name: web, port: 80}]}]}}
`

func split(t *testing.T, text string) (Routes, colour.Parts, error) {
	t.Helper()
	p, err := colour.Split("web", kubetest.Objects(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return Split("web", p)
}

func TestSplit(t *testing.T) {
	r, p, err := split(t, shop+routes)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"gateway.networking.k8s.io/HTTPRoute shop/elsewhere", "example.com/HTTPRoute shop/foreign"}
	if diff := cmp.Diff(want, idents(p.Shared)); diff != "" {
		t.Errorf("what both versions share (-want +got):\n%s", diff)
	}
	want = []string{
		"gateway.networking.k8s.io/HTTPRoute edge/web", "gateway.networking.k8s.io/GRPCRoute shop/api",
		"Service shop/web-plain", "Service shop/web-blue", "Service shop/web-green", "Service shop/grpc-plain", "Service shop/grpc-blue", "Service shop/grpc-green",
	}
	if diff := cmp.Diff(want, r.Names()); diff != "" {
		t.Errorf("what it may have in a cluster (-want +got):\n%s", diff)
	}
	own := New(r, p, nil, nil).own(r.backends[0], colour.Green)
	wanted := map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{
			"name": "web-green", "namespace": "shop", "annotations": map[string]any{"traefik.io/service.serversscheme": "h2c"},
			"labels": map[string]any{"crossfade.dev/service": "web", "crossfade.dev/colour": "green"},
		},
		"spec": map[string]any{"type": "ClusterIP", "selector": map[string]any{"app": "web", "crossfade.dev/colour": "green"}, "ports": []any{map[string]any{"port": int64(80)}}},
	}
	if diff := cmp.Diff(wanted, own.Object); diff != "" {
		t.Errorf("the Kubernetes Service of a version (-want +got):\n%s", diff)
	}
}

func idents(objs []*unstructured.Unstructured) []string {
	var all []string
	for _, obj := range objs {
		all = append(all, ident.Of(obj))
	}
	return all
}

func TestSplitRefuses(t *testing.T) {
	const simple = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: web, namespace: shop}, spec: {rules: [{backendRefs: [{name: web, port: 80}]}]}}`
	long := strings.Repeat("n", 58)
	for name, tc := range map[string]struct{ reason, text, says string }{
		"none":    {"nothing would lead", shop, "no HTTPRoute or GRPCRoute of its manifests leads to Service shop/web"},
		"other":   {"nothing would lead", shop + strings.Replace(simple, "name: web, port", "name: mail, port", 1), "no HTTPRoute or GRPCRoute"},
		"taken":   {"it would be overwritten", shop + simple + "\n---\n{apiVersion: v1, kind: Service, metadata: {name: web-green, namespace: shop}}", "its manifests have Service shop/web-green, which is the name of Service shop/web in green"},
		"long":    {"a Service's name is a DNS label", strings.ReplaceAll(shop+strings.Replace(simple, "{name: web, port", "{name: grpc, port", 1), "name: grpc,", "name: "+long+","), "is 58 characters long, and there is room for 57"},
		"weights": {"a weight is at most a million", shop + strings.Replace(simple, "port: 80}", "port: 80, weight: 20000}, {name: mail, port: 80}", 1), "gives web the weight 20000, and there is room for 10000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := split(t, tc.text)
			if fault.CodeOf(err) != fault.Invalid || !strings.Contains(fmt.Sprint(err), tc.says) || fault.HintOf(err) == "" {
				t.Errorf("%s: got %v, want one of code invalid with a hint that says %q", tc.reason, err, tc.says)
			}
		})
	}
}

func TestRender(t *testing.T) {
	r, _, err := split(t, shop+routes)
	if err != nil {
		t.Fatal(err)
	}
	before := cmp.Diff(nil, r.objs[0].Object)
	rendered := r.render(r.objs[0], shares{colour.Green: 10, colour.Blue: 90})
	if cmp.Diff(nil, r.objs[0].Object) != before {
		t.Error("what was rendered has changed")
	}
	ref := func(name, namespace string, weight int64, more ...any) map[string]any {
		m := map[string]any{"name": name, "port": int64(80), "weight": weight}
		if namespace != "" {
			m["namespace"] = namespace
		}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	rewrite := []any{map[string]any{"type": "URLRewrite"}}
	want := []any{
		map[string]any{"backendRefs": []any{ref("web-blue", "shop", 90, "filters", rewrite), ref("web-green", "shop", 10, "filters", rewrite)}},
		field.AsMap(field.List(r.objs[0], "spec", "rules")[1]), // another namespace, another kind
		map[string]any{"backendRefs": []any{ref("web-blue", "shop", 0), ref("web-green", "shop", 0)}},
		map[string]any{"backendRefs": []any{ref("other", "", 100), ref("web-blue", "shop", 180, "kind", "Service", "group", ""), ref("web-green", "shop", 20, "kind", "Service", "group", "")}},
		map[string]any{"filters": []any{map[string]any{"type": "RequestRedirect"}}},
	}
	if diff := cmp.Diff(want, field.List(rendered, "spec", "rules")); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if got := rendered.GetAnnotations()[SharesAnnotation]; got != `{"blue":90,"green":10}` {
		t.Errorf("it says that its users are shared out as %s", got)
	}
}

// TestShares: what is written is read again, the proportion to other backends stays, and what somebody changes is noticed.
func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ours, others := rapid.Int64Range(1, largestWeight).Draw(t, "ours"), rapid.SliceOfN(rapid.Int64Range(0, largestWeight), 0, 3).Draw(t, "others")
		share := rapid.IntRange(0, 100).Draw(t, "share")
		refs := []any{map[string]any{"name": "web", "weight": ours}}
		for i, weight := range others {
			refs = append(refs, map[string]any{"name": fmt.Sprint("other", i), "weight": weight})
		}
		route := &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"namespace": "shop", "name": "web"}, "spec": map[string]any{"rules": []any{map[string]any{"backendRefs": refs}}},
		}}
		service := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"namespace": "shop", "name": "web"}}}
		r := Routes{service: "web", objs: []*unstructured.Unstructured{route}, backends: []*unstructured.Unstructured{service}}

		s := between(colour.Green, colour.Blue, share)
		rendered := r.render(route, s)
		got, err := r.shared(rendered)
		if err != nil || !maps.Equal(got, s) {
			t.Fatalf("read %v, %v, want %v", got, err, s)
		}
		total := int64(0)
		for ref := range backendRefs(rendered) {
			if w := weightOf(ref); w < 0 || w > 1_000_000 {
				t.Fatalf("the weight of %v is %d", ref["name"], w)
			}
			if _, c := r.parse(rendered, ref); c != colour.None {
				total += weightOf(ref)
			}
		}
		for i, weight := range others {
			ref := field.AsMap(field.AsMap(field.List(rendered, "spec", "rules")[0])["backendRefs"].([]any)[2+i])
			if weightOf(ref)*ours != weight*total {
				t.Fatalf("%v has the weight %d beside %d, want the proportion of %d to %d", ref["name"], weightOf(ref), total, weight, ours)
			}
		}
		led := r.led(rendered)
		slices.Sort(led)
		if want := map[bool][]colour.Colour{true: {colour.Blue, colour.Green}}[share > 0 && share < 100]; want != nil && !slices.Equal(led, want) {
			t.Fatalf("users are led to %v", led)
		}
		first := field.AsMap(field.AsMap(field.List(rendered, "spec", "rules")[0])["backendRefs"].([]any)[0])
		first["weight"] = weightOf(first) + 1
		if _, err := r.shared(rendered); fault.CodeOf(err) != fault.Refused && !(share == 0) {
			t.Fatalf("a changed weight: %v", err)
		}
	})
}

func TestPercent(t *testing.T) {
	for _, tc := range []struct{ weights, want shares }{
		{shares{colour.Blue: 1, colour.Green: 2}, shares{colour.Blue: 33, colour.Green: 67}},
		{shares{colour.Blue: 5}, shares{colour.Blue: 100}},
		{shares{colour.Blue: 0, colour.Green: 40}, shares{colour.Blue: 0, colour.Green: 100}},
		{shares{colour.Blue: 30, colour.Green: 30, colour.Plain: 30}, shares{colour.Blue: 33, colour.Green: 33, colour.Plain: 34}},
	} {
		if got := percent(tc.weights); !maps.Equal(got, tc.want) {
			t.Errorf("%v are %v, want %v", tc.weights, got, tc.want)
		}
	}
}
