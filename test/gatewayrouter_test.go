package test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi/gatewaytest"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// entryGateway is what the entry cluster has before.
const entryGateway = `
{apiVersion: v1, kind: Namespace, metadata: {name: edge}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: traefik}, spec: {controllerName: traefik.io/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: edge}
spec: {gatewayClassName: traefik, listeners: [{name: web, protocol: HTTP, port: %s}]}
`

// TestGatewayRouter rolls a whole cluster over behind a Gateway of another cluster, served by Traefik, under load, and is killed again and
// again on the way. No request fails.
func TestGatewayRouter(t *testing.T) {
	server := kubetest.Start(t, "entry")
	w := newWorld(t, retireAtOnce, edit{"production.yaml", "      health: /healthz\n", ""})
	_, port, err := net.SplitHostPort(w.listen)
	if err != nil {
		t.Fatal(err)
	}
	c := server.Connect(t)
	if _, err := c.Apply(t.Context(), append(gatewaytest.Definitions(t), kubetest.Objects(t, fmt.Sprintf(entryGateway, port))...), t.Logf); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Start(t, server.Access.Kubeconfig, port)
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(100 * time.Millisecond); !programmed(t, c); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("Traefik does not serve the Gateway")
		}
	}
	w.replace("platform.yaml", fmt.Sprintf(`caddy: {listen: %q}`, w.listen), fmt.Sprintf(
		`gateway: {kubeconfig: %s, context: %s, namespace: edge, gateway: public, section: web, entry: "http://%s"}`,
		server.Access.Kubeconfig, server.Access.Context, w.listen))
	w.must("rollover", environment)
	first := w.live()
	_, stop := w.users(50)
	w.moved(t, first, stop)
	behind := map[string]bool{}
	for slice, err := range c.List(t.Context(), schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}, kube.Query{Namespace: "edge"}) {
		if err != nil {
			t.Fatal(err)
		}
		behind[slice.GetAnnotations()["crossfade.dev/generation"]] = true
	}
	if len(behind) != 1 || behind[first] {
		t.Errorf("behind the Gateway are %v, want the new generation alone", behind)
	}
}

// programmed reports whether the Gateway is served.
func programmed(t *testing.T, c *kube.Cluster) bool {
	t.Helper()
	found, err := c.Find(t.Context(), schema.GroupKind{Group: "gateway.networking.k8s.io", Kind: "Gateway"}, "edge", "public")
	if err != nil || found == nil {
		return false
	}
	conditions, _, _ := unstructured.NestedSlice(found.Object, "status", "conditions")
	for _, one := range conditions {
		if m, ok := one.(map[string]any); ok && m["type"] == "Programmed" && m["status"] == "True" {
			return true
		}
	}
	return false
}
