package httproute_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi/gatewaytest"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
	"github.com/crossfade-dev/crossfade/internal/release/httproute"
)

// web is a service of a namespace at a version, whose pods answer at a port of this machine.
const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: VERSION}}
    spec: {containers: [{name: web, image: "example.com/web:VERSION", ports: [{name: http, containerPort: PORT}]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: NS}, spec: {type: NodePort, selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}}
---
` + route

const route = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: NS}
spec:
  parentRefs: [{name: public, namespace: gateway}]
  hostnames: [NS.example.com]
  rules:
    - backendRefs: [{name: web, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /mixed}}]
      filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Mixed, value: "yes"}]}}]
      backendRefs: [{name: web, port: 80, weight: 3}, {name: fixed, port: 80, weight: 1}]
`

// gateway is what a cluster has before: the Gateway, and in each namespace a Service that is not of web.
const gateway = `
{apiVersion: v1, kind: Namespace, metadata: {name: gateway}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: traefik}, spec: {controllerName: traefik.io/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: gateway}
spec:
  gatewayClassName: traefik
  listeners: [{name: web, protocol: HTTP, port: LISTEN, hostname: "*.example.com", allowedRoutes: {namespaces: {from: All}}}]
`

const fixed = `
{apiVersion: v1, kind: Namespace, metadata: {name: NS}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: fixed, namespace: NS}
spec:
  selector: {matchLabels: {app: fixed}}
  template: {metadata: {labels: {app: fixed}}, spec: {containers: [{name: fixed, image: "example.com/fixed", ports: [{name: http, containerPort: PORT}]}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: fixed, namespace: NS}, spec: {selector: {app: fixed}, ports: [{name: http, port: 80, targetPort: http}]}}
`

// lab is an API server with its controllers, and Traefik beside it. Pods are programs of this process, one for each version.
type lab struct {
	server *kubetest.Server
	c      *kube.Cluster
	entry  string            // where users come in
	ports  map[string]string // of the programs, by version
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{server: kubetest.Start(t, "shop"), ports: map[string]string{}}
	l.c = l.server.Connect(t)
	l.server.Manage(t)
	host := gatewaytest.Address(t)
	l.server.RunPods(t, func(int) string { return host })
	for _, version := range []string{"v1", "v2", "v3", "fixed"} {
		l.ports[version] = program(t, host, version)
	}
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.entry = listen.Addr().String()
	_, port, _ := net.SplitHostPort(l.entry)
	listen.Close()
	if _, err := l.c.Apply(t.Context(), append(gatewaytest.Definitions(t), kubetest.Objects(t, strings.ReplaceAll(gateway, "LISTEN", port))...), t.Logf); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Start(t, l.server.Access.Kubeconfig, port)
	await(t, "Traefik has accepted the Gateway", func() bool {
		found := l.get(t, "Gateway.gateway.networking.k8s.io", "gateway", "public")
		return strings.Contains(fmt.Sprint(found.Object["status"]), "reason:Accepted status:True")
	})
	return l
}

// program runs what the pods of a version do: it answers with its version. It returns its port.
func program(t *testing.T, host, version string) string {
	t.Helper()
	listen, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, version+r.Header.Get("X-Mixed"))
	}))
	s.Listener.Close()
	s.Listener = listen
	s.Start()
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(listen.Addr().String())
	return port
}

// at is manifests in a namespace at a version.
func (l *lab) at(ns, version, text string) string {
	return strings.NewReplacer("NS", ns, "VERSION", version, "PORT", l.ports[version]).Replace(text)
}

// plain has the service at a version without a colour, and waits until users reach it.
func (l *lab) plain(t *testing.T, ns, text string) {
	t.Helper()
	if _, err := l.c.Apply(t.Context(), append(kubetest.Objects(t, l.at(ns, "fixed", fixed)), kubetest.Objects(t, l.at(ns, "v1", text))...), t.Logf); err != nil {
		t.Fatal(err)
	}
	await(t, "users reach the service", func() bool { return l.ask(ns, "/") == "v1" && l.ask(ns, "/mixed") != "" })
}

// run is a run that deploys manifests, and its front.
func (l *lab) run(t *testing.T, id, text string) *release.BlueGreen {
	t.Helper()
	return l.runIn(t, l.c, id, text)
}

func (l *lab) runIn(t *testing.T, c *kube.Cluster, id, text string) *release.BlueGreen {
	t.Helper()
	parts, err := colour.Split("web", kubetest.Objects(t, text))
	if err != nil {
		t.Fatal(err)
	}
	routes, parts, err := httproute.Split("web", parts)
	if err != nil {
		t.Fatal(err)
	}
	say := func(format string, args ...any) {
		if t.Context().Err() == nil {
			t.Logf(format, args...)
		}
	}
	front := httproute.New(routes, parts, c, say)
	front.Within = 10 * time.Second
	return &release.BlueGreen{Name: "web", Run: id, Parts: parts, Front: front, Cluster: c, Progress: say}
}

var client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// ask is what a user of the service is answered; empty when that is an error.
func (l *lab) ask(ns, path string) string {
	r, err := http.NewRequest(http.MethodGet, "http://"+l.entry+path, nil)
	if err != nil {
		return ""
	}
	r.Host = ns + ".example.com"
	answer, err := client.Do(r)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return ""
	}
	return string(raw)
}

// users asks all the time until the returned function is called, which wants every request to have been answered.
func (l *lab) users(t *testing.T, ns string) (stop func()) {
	t.Helper()
	var asked, failed atomic.Int64
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(5 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			asked.Add(1)
			if l.ask(ns, "/") == "" || l.ask(ns, "/mixed") == "" {
				failed.Add(1)
			}
		}
	}()
	t.Cleanup(cancel)
	return func() {
		t.Helper()
		cancel()
		<-ended
		t.Logf("asked %d times", asked.Load())
		if failed.Load() > 0 || asked.Load() < 100 {
			t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
		}
	}
}

// reached counts who answers requests.
func (l *lab) reached(ns, path string, requests int) map[string]int {
	var lock sync.Mutex
	var group errgroup.Group
	group.SetLimit(16)
	counts := map[string]int{}
	for range requests {
		group.Go(func() error {
			answer := l.ask(ns, path)
			lock.Lock()
			defer lock.Unlock()
			counts[answer]++
			return nil
		})
	}
	_ = group.Wait() // what failed is counted
	return counts
}

func (l *lab) get(t *testing.T, kind, ns, name string) *unstructured.Unstructured {
	t.Helper()
	found, err := l.c.Find(t.Context(), schema.ParseGroupKind(kind), ns, name)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// backends are the backends of the rules of the service's route, as "name=weight".
func (l *lab) backends(t *testing.T, ns string) [][]string {
	t.Helper()
	var all [][]string
	rules, _, _ := unstructured.NestedSlice(l.get(t, "HTTPRoute.gateway.networking.k8s.io", ns, "web").Object, "spec", "rules")
	for _, rule := range rules {
		var some []string
		for _, ref := range rule.(map[string]any)["backendRefs"].([]any) {
			some = append(some, fmt.Sprintf("%v=%v", ref.(map[string]any)["name"], ref.(map[string]any)["weight"]))
		}
		all = append(all, some)
	}
	return all
}

// ok does something within a bound, and wants it to work.
func ok(t *testing.T, what string, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	if err := do(ctx); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// refused wants an error of a code that says something, and a way out.
func refused(t *testing.T, err error, code fault.Code, says string) {
	t.Helper()
	if fault.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) || fault.HintOf(err) == "" {
		t.Errorf("got %v (%s, hint %q), want one of code %s that says %q, with a hint", err, fault.CodeOf(err), fault.HintOf(err), code, says)
	}
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to: %s", what)
		}
	}
}
