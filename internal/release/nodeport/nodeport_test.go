package nodeport_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/host/local"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/nginxctl/nginxtest"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
	"github.com/crossfade-dev/crossfade/internal/release/nginx"
	"github.com/crossfade-dev/crossfade/internal/release/nodeport"
)

const web = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: VERSION}}
    spec: {containers: [{name: web, image: "example.com/web:VERSION"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {app: web}, annotations: {external-dns.alpha.kubernetes.io/hostname: shop.example.com}}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: metrics, port: 9090}]}
`

func parts(t *testing.T, text string) colour.Parts {
	t.Helper()
	p, err := colour.Split("web", kubetest.Objects(t, strings.ReplaceAll(text, "VERSION", "v1")))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPair(t *testing.T) {
	pair, err := nodeport.Pair("web", parts(t, web), 30080, "http")
	if err != nil {
		t.Fatal(err)
	}
	want := kubetest.Objects(t, `
{apiVersion: v1, kind: Service, metadata: {name: web-blue, namespace: shop, labels: {crossfade.dev/service: web}}, spec: {type: NodePort, selector: {app: web, crossfade.dev/colour: blue}, ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web-green, namespace: shop, labels: {crossfade.dev/service: web}}, spec: {type: NodePort, selector: {app: web, crossfade.dev/colour: green}, ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30081}]}}
`)
	if diff := cmp.Diff(objects(want), objects(pair)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for name, tc := range map[string]struct{ reason, text, port, says string }{
		"which": {"there are two ports", web, "", "has 2 ports"},
		"none":  {"there is no such port", web, "https", "has no port https"},
		"taken": {"the manifests have a Service of that name", web + "---\n{apiVersion: v1, kind: Service, metadata: {name: web-green, namespace: shop}, spec: {ports: [{port: 1}]}}", "80", "web-green"},
	} {
		_, err := nodeport.Pair("web", parts(t, tc.text), 30080, tc.port)
		if fault.CodeOf(err) != fault.Invalid || !strings.Contains(fmt.Sprint(err), tc.says) || fault.HintOf(err) == "" {
			t.Errorf("%s: %s: %v (hint %q), want code invalid that says %q", name, tc.reason, err, fault.HintOf(err), tc.says)
		}
	}
}

func objects(list []*unstructured.Unstructured) []map[string]any {
	var all []map[string]any
	for _, obj := range list {
		all = append(all, obj.Object)
	}
	return all
}

// lab is a cluster whose NodePorts are listened at by this process, which answers with the colour, and an nginx before them.
type lab struct {
	server *kubetest.Server
	c      *kube.Cluster
	nginx  *nginxtest.Nginx
	port   int
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{server: kubetest.Start(t, "shop"), nginx: nginxtest.Start(t, "web")}
	l.c = l.server.Connect(t)
	for l.port = 30100; l.port < 32700; l.port += 10 {
		if listen(t, l.port, "blue") && listen(t, l.port+1, "green") {
			break
		}
	}
	return l
}

// listen answers at a port, unless somebody else does.
func listen(t *testing.T, port int, text string) bool {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }() // until it is closed
	t.Cleanup(func() { s.Close() })
	return true
}

func (l *lab) front(t *testing.T) *nodeport.Front {
	t.Helper()
	pair, err := nodeport.Pair("web", parts(t, web), l.port, "http")
	if err != nil {
		t.Fatal(err)
	}
	by := &nginx.Upstream{Service: "web", Name: "web", Port: l.port, Nodes: []nginx.Node{{Node: l.nginx.Node(local.New("n1")), Backends: []string{"127.0.0.1"}}}, Progress: t.Logf, Pause: 10 * time.Millisecond, Bound: 10 * time.Second}
	return nodeport.New("web", pair, l.c, by, t.Logf)
}

// TestRefused is told, before anything is there, why users could not be led.
func TestRefused(t *testing.T) {
	l := newLab(t)
	f := l.front(t)
	l.server.WriteAs(t, "somebody", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")
	for _, tc := range []struct {
		reason, there, says string
		code                fault.Code
	}{
		{"the port of green is taken", fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: other, namespace: default}, spec: {type: NodePort, ports: [{name: a, port: 80}, {name: b, port: 81, nodePort: %d}]}}`, l.port+1), fmt.Sprintf("the NodePort %d is taken by Service default/other", l.port+1), fault.Refused},
		{"a health check has it", fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: balanced, namespace: default}, spec: {type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: %d, selector: {a: b}, ports: [{port: 80}]}}`, l.port), fmt.Sprintf("the NodePort %d is taken by Service default/balanced", l.port), fault.Refused},
		{"the name is taken", `{apiVersion: v1, kind: Service, metadata: {name: web-blue, namespace: shop}, spec: {ports: [{port: 80}]}}`, "Service shop/web-blue is in the way", fault.Refused},
	} {
		l.server.WriteAs(t, "somebody", tc.there)
		err := f.Check(t.Context())
		if fault.CodeOf(err) != tc.code || !strings.Contains(fmt.Sprint(err), tc.says) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v (hint %q), want code %s that says %q", tc.reason, err, fault.HintOf(err), tc.code, tc.says)
		}
		if err := l.c.Delete(t.Context(), kubetest.Objects(t, tc.there)[0]); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Check(t.Context()); err != nil {
		t.Errorf("nothing is in the way: %v", err)
	}
	l.nginx.Write(t, "conf.d/crossfade-web.conf", "upstream web { server 127.0.0.1:1; }\n")
	if n, err := f.Draining(t.Context()); fault.CodeOf(err) != fault.Failed || n != 0 {
		t.Errorf("%d, %v; want an error of code failed where it cannot be counted", n, err)
	}
	if err := f.Check(t.Context()); fault.CodeOf(err) != fault.Refused || !strings.Contains(fmt.Sprint(err), "written it by hand") {
		t.Errorf("%v, want that somebody has written the file", err)
	}
	l.nginx.Stop(t)
	if err := os.Remove(l.nginx.File("conf.d/crossfade-web.conf")); err != nil {
		t.Fatal(err)
	}
	if err := f.Check(t.Context()); !strings.Contains(fmt.Sprint(err), "nginx does not run") {
		t.Errorf("%v, want that nginx does not run", err)
	}
}

// TestFront leads users from one colour to the other.
func TestFront(t *testing.T) {
	l := newLab(t)
	f := l.front(t)
	l.server.WriteAs(t, "somebody", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")
	led := func(reason, want string) {
		t.Helper()
		got, err := f.Led(t.Context())
		if err != nil || strings.Trim(fmt.Sprint(got), "[]") != want {
			t.Errorf("%s: users are led to %v, want %s: %v", reason, got, want, err)
		}
	}
	do := func(what string, act func(context.Context) error) {
		t.Helper()
		if err := act(t.Context()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	lead := func(c, before colour.Colour, share int) {
		t.Helper()
		do("lead", func(ctx context.Context) error { return f.Lead(ctx, c, before, share) })
	}
	led("at first", "")
	versions := ""
	for range 2 {
		do("prepare", func(ctx context.Context) error { return f.Prepare(ctx, colour.Blue) })
		now := ""
		for _, name := range []string{"web-blue", "web-green"} {
			service := l.get(t, name)
			now += service.GetResourceVersion() + " "
			if service.GetLabels()[release.ServiceLabel] != "web" || field.String(service, "spec", "type") != "NodePort" {
				t.Errorf("%s is %v", name, service.Object)
			}
		}
		if versions != "" && versions != now {
			t.Error("a second time, the Services are written again")
		}
		versions = now
	}
	lead(colour.Blue, colour.None, 100)
	led("the first version", "blue")
	do("check", f.Check)
	lead(colour.Green, colour.Blue, 50)
	led("in part", "blue green")
	lead(colour.Green, colour.Blue, 100)
	led("all", "green")
	do("remove", func(ctx context.Context) error { return f.Remove(ctx, colour.Blue) })
	if l.get(t, "web-blue") == nil {
		t.Error("the NodePort of the idle colour was given away")
	}
	if n, err := f.Draining(t.Context()); err != nil || n != 0 {
		t.Errorf("%d processes go on, want none, as there are no connections: %v", n, err)
	}
	lead(colour.Plain, colour.Green, 100)
	led("a version without a port", "")
}

func (l *lab) get(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	found, err := l.c.Get(t.Context(), kubetest.Objects(t, "{apiVersion: v1, kind: Service, metadata: {name: "+name+", namespace: shop}}")[0])
	if err != nil {
		t.Fatal(err)
	}
	return found
}
