package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi/gatewaytest"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/nginxctl/nginxtest"
	"github.com/crossfade-dev/crossfade/internal/traffic/haproxy/haproxytest"
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

// TestRouters rolls a whole cluster over behind an HAProxy that was reloaded before, an nginx, and a Gateway of another cluster, served by
// Traefik, each with users of its own. It is killed again and again on the way. No request fails.
func TestRouters(t *testing.T) {
	h := haproxytest.Start(t, "")
	n := nginxtest.StartWith(t, "worker_shutdown_timeout 5m;\n", "  keepalive_timeout 3s;\n  server { listen ADDRESS default_server; return 404; }\n")
	entry, access, c := startGateway(t)
	w := newWorld(t, retireAtOnce)
	w.replace("platform.yaml", fmt.Sprintf(`caddy: {listen: %q}`, w.listen), fmt.Sprintf(`haproxy: {socket: %s, entry: "http://%s"}
    - name: nginx
      nginx: {nodes: [{name: n1, command: [nginx, -c, %s, -e, %s], pidFile: %s, dir: %s}], entry: "http://%s", listen: [%q]}
    - name: gateway
      gateway: {kubeconfig: %s, context: %s, namespace: edge, gateway: public, section: web, entry: "http://%s"}`,
		h.Socket(), h.Address,
		n.File("nginx.conf"), n.File("error.log"), n.File("nginx.pid"), n.File("conf.d"), n.Address, n.Address,
		access.Kubeconfig, access.Context, entry))
	w.replace("production.yaml", "  routes:\n", `  routes:
    - {host: nginx.example.com, router: nginx, backend: {namespace: shop-web, name: web-nginx}}
    - {host: gateway.example.com, router: gateway, backend: {namespace: shop-web, name: web-gateway}}
`)
	service := "services/web/kustomize/service.yaml"
	raw, err := os.ReadFile(filepath.Join(w.config, service))
	if err != nil {
		t.Fatal(err)
	}
	all := string(raw)
	for _, name := range []string{"web-nginx", "web-gateway"} { // nginx counts the connections of its node, also those of others
		all += "---\n" + strings.Replace(string(raw), "name: web}", "name: "+name+"}", 1)
	}
	w.replace(service, string(raw), all)
	w.replace("prime/namespaces/limits.yaml", `services.nodeports: "2"`, `services.nodeports: "4"`)
	w.must("rollover", environment)
	first := w.live()
	if out, err := exec.Command("sh", h.File("crossfade-save")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.Reload(t)
	var stops []func() load.Report
	for host, address := range map[string]string{"shop.example.com": h.Address, "nginx.example.com": n.Address, "gateway.example.com": entry} {
		_, stop := w.usersOf(host, address, 40)
		stops = append(stops, stop)
	}
	w.moved(t, first, stops...)
	if left := h.Ask(t, "show servers state"); strings.Contains(left, first+":") {
		t.Errorf("the old generation is still behind HAProxy:\n%s", left)
	}
	files, err := filepath.Glob(n.File("conf.d/*.conf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("nginx has the files %v: %v", files, err)
	}
	named := regexp.MustCompile(regexp.QuoteMeta(first) + `\b`) // the next one of the same minute begins like it
	for _, f := range files {
		if raw, err := os.ReadFile(f); err != nil || named.Match(raw) {
			t.Errorf("the old generation is still behind nginx: %v\n%s", err, raw)
		}
	}
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

// startGateway has an entry cluster with a Gateway that Traefik serves at an address.
func startGateway(t *testing.T) (entry string, access cluster.Access, c *kube.Cluster) {
	t.Helper()
	server := kubetest.Start(t, "entry")
	entry = freeAddress(t)
	_, port, err := net.SplitHostPort(entry)
	if err != nil {
		t.Fatal(err)
	}
	c = server.Connect(t)
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
	return entry, server.Access, c
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
