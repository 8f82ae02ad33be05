package test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi/gatewaytest"
)

// gatewayed has the users come to the service web through a Gateway of its cluster.
var gatewayed = []edit{
	{"production.yaml", "    - name: products #", "    - {name: gateway, files: [./prime/gateway], timeout: 2m}\n    - name: products #"},
	{"production.yaml", "      service: web\n      port: http", "      backend: {namespace: gateway, name: traefik}\n      port: web"},
	{"services/web/kustomize/kustomization.yaml", "  - service.yaml", "  - service.yaml\n  - route.yaml"},
	{"services.yaml", "kustomize: ./services/web/kustomize", `kustomize: ./services/web/kustomize
  checks: [{command: {args: [test, "!", -e, fire]}, timeout: 1s}]
  strategy:
    onFailure: remove
    blueGreen:
      drain: 8s
      front: {httpRoute: {steps: [20, 60, 100], interval: 3s}}`},
}

const webRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: public, namespace: gateway}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
`

// traefik is the controller and proxy of the Gateway, with the Gateway.
const traefik = `
{apiVersion: v1, kind: Namespace, metadata: {name: gateway}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: traefik, namespace: gateway}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: traefik}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: traefik, namespace: gateway}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: traefik, namespace: gateway}
spec:
  selector: {matchLabels: {app: traefik}}
  template:
    metadata: {labels: {app: traefik}}
    spec:
      serviceAccountName: traefik
      containers:
        - name: traefik
          image: registry.crossfade.local/test/traefik:v3
          args:
            - --providers.kubernetesgateway
            - --providers.kubernetesgateway.statusaddress.hostname=shop.example.com
            - --entrypoints.web.address=:8000
            - --global.checknewversion=false
          ports: [{name: web, containerPort: 8000}]
          readinessProbe: {tcpSocket: {port: web}, periodSeconds: 1}
---
{apiVersion: v1, kind: Service, metadata: {name: traefik, namespace: gateway}, spec: {type: NodePort, selector: {app: traefik}, ports: [{name: web, port: 80, targetPort: web}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: traefik}, spec: {controllerName: traefik.io/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: gateway}
spec: {gatewayClassName: traefik, listeners: [{name: web, protocol: HTTP, port: 8000, allowedRoutes: {namespaces: {from: All}}}]}
`

// TestGateway deploys versions of a service whose users come through Traefik, under load, each with a larger share of them until it has all; one
// of them while a check says no. No request fails.
func TestGateway(t *testing.T) {
	w := newWorld(t, retireAtOnce)
	w.install()
	for _, e := range gatewayed {
		w.replace(e.file, e.old, e.now)
	}
	w.must("rollover", environment)
	for _, tag := range []string{"v2", "v3", "v4"} {
		w.push(tag, false)
	}
	_, stop := w.users(100)
	for i, tag := range []string{"v2", "v3"} {
		w.killed(i*4, "deploy", "web@"+tag, environment)
		w.must("deploy", "web@"+tag, environment)
		w.serves(t, "web", tag)
		if got, want := w.weights(), []string{"web-green=100", "web-blue=100"}[i]; got != want {
			t.Errorf("the route leads to %s, want %s", got, want)
		}
	}

	fire := filepath.Join(w.config, "fire")
	ended := make(chan finished, 1)
	go func() { ended <- w.run("deploy", "web@v4", environment) }()
	w.await("a share of the users is on the next version", func() bool { return w.weights() == "web-blue=80 web-green=20" })
	if err := os.WriteFile(fire, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := <-ended; o.status != 3 || !strings.Contains(o.stderr, "users go back to the version before") {
		t.Errorf("exit %d, want 3, with the users led back:\n%s", o.status, o.stderr)
	}
	if got := w.weights(); got != "web-blue=100" {
		t.Errorf("the route leads to %s, want everybody on blue", got)
	}
	if err := os.Remove(fire); err != nil {
		t.Fatal(err)
	}
	w.must("rollback", "web", environment)
	w.serves(t, "web", "v2")
	unharmed(t, stop())
}

// killed starts a command some times, and kills it each time a bit later.
func (w *world) killed(times int, args ...string) {
	w.t.Helper()
	for n := range times {
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Duration(2+3*n)*time.Second)
		err := w.command(ctx, args...).Run()
		if ctx.Err() == nil {
			w.t.Fatalf("crossfade %s ended before it was killed: %v", strings.Join(args, " "), err)
		}
		cancel()
	}
}

// install adds the Gateway API and Traefik to the platform.
func (w *world) install() {
	w.t.Helper()
	dir := filepath.Join(w.config, "prime", "gateway")
	if err := os.Mkdir(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	files := map[string][]byte{filepath.Join(dir, "traefik.yaml"): []byte(traefik), filepath.Join(w.config, "services/web/kustomize/route.yaml"): []byte(webRoute)}
	for _, file := range gatewaytest.DefinitionFiles(w.t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		files[filepath.Join(dir, filepath.Base(file))] = raw
	}
	for file, raw := range files {
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.must("local", "push", "test/traefik:v3", gatewaytest.Program(w.t))
}

// weights are the weights of the backends of the route of web, in order of their names; empty when they cannot be told.
func (w *world) weights() string {
	runs, err := w.store().Generations(w.t.Context(), environment)
	if err != nil || len(runs) == 0 {
		return ""
	}
	cmd := exec.CommandContext(w.t.Context(), "../bin/lab/kubectl", "--kubeconfig", filepath.Join(w.state, "local", runs[0].Name, "kubeconfig"),
		"get", "httproute", "web", "-n", "shop-web", "-o", `jsonpath={range .spec.rules[0].backendRefs[*]}{.name}={.weight} {end}`)
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(out))
}

func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			w.t.Fatalf("it does not come to: %s", what)
		}
	}
}
