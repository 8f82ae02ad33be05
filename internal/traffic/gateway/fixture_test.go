package gateway_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi"
	"github.com/crossfade-dev/crossfade/internal/kube/gatewayapi/gatewaytest"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/traffic"
	"github.com/crossfade-dev/crossfade/internal/traffic/conformance"
	"github.com/crossfade-dev/crossfade/internal/traffic/gateway"
)

func TestMain(m *testing.M) {
	conformance.Helper(func(self string) (traffic.Router, error) {
		var l lab
		if err := json.Unmarshal([]byte(self), &l); err != nil {
			return nil, err
		}
		return l.router()
	})
	goleak.VerifyTestMain(m)
}

// objects are what the entry cluster has before: a Gateway, one of a class that nobody serves, and configuration of somebody else.
const objects = `
{apiVersion: v1, kind: Namespace, metadata: {name: edge}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: traefik}, spec: {controllerName: traefik.io/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: edge}
spec: {gatewayClassName: traefik, listeners: [{name: web, protocol: HTTP, port: LISTEN}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: asleep, namespace: edge}
spec: {gatewayClassName: nobody, listeners: [{name: web, protocol: HTTP, port: 80}]}
---
{apiVersion: v1, kind: Service, metadata: {name: blog, namespace: edge}, spec: {ports: [{name: http, port: 80}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: blog, namespace: edge}
spec: {parentRefs: [{name: public}], hostnames: [blog.example.com], rules: [{backendRefs: [{name: blog, port: 80}]}]}
`

// lab is an entry cluster with Traefik beside it.
type lab struct {
	Access cluster.Access `json:"access"`
	Entry  string         `json:"entry"`
	server *kubetest.Server
}

func newLab(t *testing.T, options ...string) *lab {
	t.Helper()
	return newLabBehind(t, func(pass http.Handler) http.Handler { return pass }, options...)
}

// newLabBehind is newLab whose Traefik reaches the API server through a handler.
func newLabBehind(t *testing.T, handler func(pass http.Handler) http.Handler, options ...string) *lab {
	t.Helper()
	server := kubetest.Start(t, "entry")
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entry := listen.Addr().String()
	_, port, _ := net.SplitHostPort(entry)
	listen.Close()
	c := server.Connect(t)
	if _, err := c.Apply(t.Context(), append(gatewaytest.Definitions(t), kubetest.Objects(t, strings.ReplaceAll(objects, "LISTEN", port))...), t.Logf); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Start(t, server.Behind(t, handler).Kubeconfig, port, options...)
	l := &lab{Access: server.Access, Entry: "http://" + entry, server: server}
	await(t, "Traefik serves the Gateway", func() bool {
		found, err := c.Find(t.Context(), schema.GroupKind{Group: gatewayapi.Group, Kind: "Gateway"}, "edge", "public")
		return err == nil && gatewayapi.Holds(field.Map(found, "status"), "Programmed")
	})
	return l
}

func (l *lab) options() (gateway.Options, error) {
	c, err := kube.Connect(l.Access)
	return gateway.Options{Cluster: c, Namespace: "edge", Gateway: "public", Section: "web", Entry: l.Entry}, err
}

func (l *lab) router(change ...func(*gateway.Options)) (*gateway.Router, error) {
	o, err := l.options()
	if err != nil {
		return nil, err
	}
	for _, c := range change {
		c(&o)
	}
	return gateway.New(o)
}

// mustRouter is a router of the lab, with options changed.
func (l *lab) mustRouter(t *testing.T, change ...func(*gateway.Options)) *gateway.Router {
	t.Helper()
	r, err := l.router(change...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// kinds are those of which a route has objects.
var kinds = []schema.GroupVersionResource{
	{Version: "v1", Resource: "services"},
	{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
	{Group: gatewayapi.Group, Version: "v1", Resource: "httproutes"},
	{Group: gatewayapi.Group, Version: "v1", Resource: "gateways"},
}

// list returns the objects in the cluster, with or without those of Crossfade's routes, by kind and name.
func (l *lab) list(t *testing.T, ours bool) map[string]*unstructured.Unstructured {
	t.Helper()
	all := map[string]*unstructured.Unstructured{}
	for _, kind := range kinds {
		for obj, err := range l.server.Connect(t).List(t.Context(), kind, kube.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			if (obj.GetLabels()["crossfade.dev/route"] != "") == ours {
				all[kind.Resource+" "+obj.GetNamespace()+"/"+obj.GetName()] = obj
			}
		}
	}
	return all
}

// foreign is everything in the cluster that is not Crossfade's, without what controllers say.
func (l *lab) foreign(t *testing.T) string {
	t.Helper()
	var all []string
	for name, obj := range l.list(t, false) {
		raw, err := json.Marshal(obj.Object["spec"])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, name+" "+string(raw))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// remove takes a route away, and wants nothing to be left of it.
func (l *lab) remove(t *testing.T, host string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := l.mustRouter(t).Remove(ctx, host); err != nil {
		t.Error(err)
	}
}

// write merges an object into the one that is there, as somebody else.
func (l *lab) write(t *testing.T, manager string, obj *unstructured.Unstructured) {
	t.Helper()
	raw, err := json.Marshal(obj.Object)
	if err != nil {
		t.Fatal(err)
	}
	l.server.WriteAs(t, manager, string(raw))
}

// erase deletes an object of the namespace of the Gateway.
func (l *lab) erase(t *testing.T, kind, name string) {
	t.Helper()
	group := map[string]string{"EndpointSlice": "discovery.k8s.io", "HTTPRoute": gatewayapi.Group}[kind]
	c := l.server.Connect(t)
	found, err := c.Find(t.Context(), schema.GroupKind{Group: group, Kind: kind}, "edge", name)
	if err == nil && found != nil {
		err = c.Delete(t.Context(), found)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to: %s", what)
		}
	}
}

// away is the way to an API server that is not there.
func away(t *testing.T) cluster.Access {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen.Close()
	access := cluster.Access{Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), Context: "gone"}
	config := "{apiVersion: v1, kind: Config, contexts: [{name: gone, context: {cluster: gone, user: gone}}], users: [{name: gone, user: {}}], " +
		"clusters: [{name: gone, cluster: {server: 'http://" + listen.Addr().String() + "'}}]}"
	if err := os.WriteFile(access.Kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return access
}

func TestConformance(t *testing.T) {
	l := newLab(t, "--providers.providersthrottleduration=200ms")
	self, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	gone := &lab{Access: away(t), Entry: l.Entry}
	conformance.Run(t, func(t *testing.T) conformance.Peer {
		t.Cleanup(func() { l.remove(t, conformance.Host) })
		return conformance.Peer{
			Router: l.mustRouter(t), Away: gone.mustRouter(t), Foreign: func() string { return l.foreign(t) }, HTTP2: l.Entry, Self: string(self),
			Unwatched: true, Uncounted: true, Alone: true, Listen: gatewaytest.Address(t),
		}
	})
}
