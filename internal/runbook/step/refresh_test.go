package step

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// farm is a real API server with a Service, and nodes that a test lets come and go.
type farm struct {
	*testing.T
	server *kubetest.Server
	c      *kube.Cluster
}

// node lets a node be there, ready or not.
func (f farm) node(name, address string, ready bool) {
	f.Helper()
	nodes := f.c.Core().Nodes()
	node, err := nodes.Get(f.Context(), name, metav1.GetOptions{})
	if err != nil {
		node, err = nodes.Create(f.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		ok(f.T, err)
	}
	is := corev1.ConditionFalse
	if ready {
		is = corev1.ConditionTrue
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: is}}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}
	_, err = nodes.UpdateStatus(f.Context(), node, metav1.UpdateOptions{})
	ok(f.T, err)
}

// newRefresh is a route of a generation whose cluster is a farm with two nodes, of which the provider names the addresses if it knows any.
func newRefresh(t *testing.T) (*bench, farm, *Refresh) {
	t.Helper()
	server := kubetest.Start(t, "c")
	f := farm{t, server, server.Connect(t)}
	_, err := f.c.Core().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{})
	ok(t, err)
	_, err = f.c.Core().Services("shop").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80, NodePort: 30080}}},
	}, metav1.CreateOptions{})
	ok(t, err)
	f.node("a", "10.0.0.1", true)
	f.node("b", "10.0.0.2", true)
	b := newBench(t, nil)
	b.clusters.accesses = map[string]cluster.Access{"new": f.c.Access()}
	b.clusters.nodes = []string{}
	route := traffic.Route{Host: "shop.example.com", PreLiveHost: "pre-live.shop.example.com", Sides: []traffic.Side{
		{Generation: "new", Endpoints: []string{"10.0.0.1:30080", "10.0.0.9:30080"}, Weight: 100},
		{Generation: "old", Endpoints: []string{"10.1.0.1:30080"}},
	}}
	ok(t, b.router.Apply(t.Context(), route))
	cfg := &spec.Config{
		Platform: spec.Platform{Spec: spec.PlatformSpec{Routers: []spec.Router{thePlan().Routes[0].Router}}},
		Services: []spec.Service{{Metadata: spec.Metadata{Name: "web"}, Spec: spec.ServiceSpec{Namespace: "shop"}}},
		Environments: []spec.Environment{{Metadata: spec.Metadata{Name: "production"}, Spec: spec.EnvironmentSpec{
			Cluster: spec.Cluster{Provider: "local"}, Services: []spec.ServiceRef{{Name: "web"}},
			Routes: []spec.Route{{Host: "shop.example.com", Service: "web", Router: "front"}},
		}}},
	}
	r, err := NewRefresh(b.Toolbox, cfg, "production")
	ok(t, err)
	return b, f, r
}

// leads is where the router leads to the generations.
func (b *bench) leads(t *testing.T) string {
	t.Helper()
	seen, err := b.router.Observe(t.Context(), "shop.example.com")
	ok(t, err)
	var all []string
	for _, s := range seen.Route.Sides {
		all = append(all, s.Generation+" "+strings.Join(s.Endpoints, " "))
	}
	return strings.Join(all, ", ")
}

// TestRefresh: the generation with users is led to at the nodes that are ready, the other one is left alone, and the shares stay.
func TestRefresh(t *testing.T) {
	b, f, r := newRefresh(t)
	all, err := r.Once(t.Context())
	ok(t, err)
	same(t, "what is said", []Refreshed{{
		Host: "shop.example.com", Generation: "new", Endpoints: []string{"10.0.0.1:30080", "10.0.0.2:30080"},
		Added: []string{"10.0.0.2:30080"}, Removed: []string{"10.0.0.9:30080"},
	}}, all)
	same(t, "the route", "new 10.0.0.1:30080 10.0.0.2:30080, old 10.1.0.1:30080", b.leads(t))
	same(t, "the shares", map[string]int{"new": 100, "old": 0}, b.router.weights()["shop.example.com"])
	applied := b.router.applied
	all, err = r.Once(t.Context())
	ok(t, err)
	if all[0].Changed() || b.router.applied != applied {
		t.Errorf("again, it changed something: %+v", all)
	}

	f.node("b", "10.0.0.2", false)
	f.node("c", "10.0.0.3", true)
	_, err = r.Once(t.Context())
	ok(t, err)
	same(t, "a node is not ready, another came", "new 10.0.0.1:30080 10.0.0.3:30080, old 10.1.0.1:30080", b.leads(t))

	b.clusters.nodes = []string{"10.0.0.1", "10.0.0.2", "10.0.0.7"}
	b.clusters.standing["new"] = cluster.Partial
	_, err = r.Once(t.Context())
	ok(t, err)
	same(t, "the provider knows the addresses", "new 10.0.0.1:30080 10.0.0.7:30080, old 10.1.0.1:30080", b.leads(t))
	b.clusters.nodes = []string{}

	f.node("a", "10.0.0.1", false)
	f.node("c", "10.0.0.3", false)
	_, err = r.Once(t.Context())
	wantRefusal(t, "no node is ready", err, fault.Unavailable, "new has no node that is ready; its routes stay as they are")
	same(t, "no node is ready", "new 10.0.0.1:30080 10.0.0.7:30080, old 10.1.0.1:30080", b.leads(t))

	delete(b.clusters.standing, "new")
	_, err = r.Once(t.Context())
	wantRefusal(t, "no cluster", err, fault.Failed, "new has the users of shop.example.com, and its cluster is not there")
	ok(t, b.router.Remove(t.Context(), "shop.example.com"))
	all, err = r.Once(t.Context())
	ok(t, err)
	same(t, "no route", 0, len(all))
}

// TestRefreshLie: a router that does not do what it says is an error.
func TestRefreshLie(t *testing.T) {
	b, _, r := newRefresh(t)
	b.router.lie = func(_ string, seen *traffic.Observed) { seen.Route.Sides[0].Endpoints = []string{"10.0.0.9:30080"} }
	_, err := r.Once(t.Context())
	wantRefusal(t, "it stays", err, fault.Failed, `the router leads to new at ["10.0.0.9:30080"]`)
}

// TestAwait: a change of the nodes ends the wait, one from before it, too, and what nodes say of themselves every few seconds does not.
func TestAwait(t *testing.T) {
	_, f, r := newRefresh(t)
	_, err := r.Once(t.Context())
	ok(t, err)
	before := r.States(t.Context())
	same(t, "clusters", 1, len(before))
	f.node("b", "10.0.0.2", true) // again
	begin := time.Now()
	ok(t, r.Await(t.Context(), before, 2*time.Second))
	if took := time.Since(begin); took < time.Second {
		t.Errorf("nothing changed, and it waited %v", took)
	}
	f.node("b", "10.0.0.2", false)
	begin = time.Now()
	ok(t, r.Await(t.Context(), before, time.Minute))
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it changed before, and it waited %v", took)
	}
	before = r.States(t.Context())
	changed := make(chan error)
	go func() { changed <- r.Await(t.Context(), before, time.Minute) }()
	ok(t, f.c.Core().Nodes().Delete(t.Context(), "a", metav1.DeleteOptions{}))
	begin = time.Now()
	ok(t, <-changed)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("a node went, and it waited %v", took)
	}

	f.node("b", "10.0.0.2", true)
	line := f.server.Line(t)
	gone, err := kube.Connect(line.Access)
	ok(t, err)
	line.Down()
	r.live = []*kube.Cluster{gone}
	before = r.States(t.Context())
	same(t, "what can be told of a cluster that is gone", 0, len(before))
	_, err = r.Once(t.Context())
	ok(t, err)
	begin = time.Now()
	ok(t, r.Await(t.Context(), before, time.Minute))
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("another generation is live, and its nodes were not known for %v", took)
	}
}
