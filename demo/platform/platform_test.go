package platform

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	scheduling "k8s.io/api/scheduling/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/crossfade-dev/crossfade/internal/spec"
)

// world is every object of the demo, as it is in the live cluster once somebody applied the existing ones by hand.
type world struct {
	config   *spec.Config
	owned    []runtime.Object // by priming and by services
	existing []runtime.Object // by nobody
	checks   []runtime.Object
}

func load(t *testing.T) world {
	t.Helper()
	dir := written(t)
	cfg, err := spec.Load(dir)
	if err != nil {
		t.Fatalf("the demo's configuration: %v", err)
	}
	w := world{config: cfg, existing: readTree(t, filepath.Join(dir, Existing)), checks: readTree(t, filepath.Join(dir, "checks"))}
	for _, u := range cfg.Environments[0].Spec.Prime {
		w.owned = append(w.owned, render(t, u.Manifests, u.Namespace, u.Name)...)
	}
	for _, s := range cfg.Services {
		w.owned = append(w.owned, render(t, s.Spec.Manifests, s.Spec.Namespace, s.Metadata.Name)...)
	}
	return w
}

func (w world) all() []runtime.Object { return slices.Concat(w.owned, w.existing, w.checks) }

// name names an object in messages and sets: Kind namespace/name.
func name(o runtime.Object) string {
	m := o.(meta.Object)
	return fmt.Sprintf("%s %s/%s", o.GetObjectKind().GroupVersionKind().Kind, m.GetNamespace(), m.GetName())
}

func (w world) has(kind, namespace, called string) bool {
	want := fmt.Sprintf("%s %s/%s", kind, namespace, called)
	return slices.ContainsFunc(w.all(), func(o runtime.Object) bool { return name(o) == want })
}

// pods returns the pod templates of all workloads, by the workload's name.
func (w world) pods() map[string]core.PodTemplateSpec {
	out := map[string]core.PodTemplateSpec{}
	for _, o := range w.all() {
		switch o := o.(type) {
		case *apps.Deployment:
			o.Spec.Template.Namespace = o.Namespace
			out[name(o)] = o.Spec.Template
		case *batch.CronJob:
			o.Spec.JobTemplate.Spec.Template.Namespace = o.Namespace
			out[name(o)] = o.Spec.JobTemplate.Spec.Template
		case *batch.Job:
			o.Spec.Template.Namespace = o.Namespace
			out[name(o)] = o.Spec.Template
		}
	}
	return out
}

func TestWhatIsThere(t *testing.T) {
	w := load(t)
	var owned, existing []string
	for _, o := range w.owned {
		if n := name(o); o.GetObjectKind().GroupVersionKind().Kind != "ConfigMap" { // the ConfigMap of web has a hash in its name
			owned = append(owned, n)
		}
	}
	for _, o := range w.existing {
		existing = append(existing, name(o))
	}
	slices.Sort(owned)
	slices.Sort(existing)
	wantOwned := []string{
		"CustomResourceDefinition /products.shop.example.com", "Deployment shop-orders/orders", "Deployment shop-orders/worker",
		"Deployment shop-web/web", "LimitRange shop-orders/defaults", "LimitRange shop-web/defaults", "Namespace /shop-orders",
		"Namespace /shop-web", "PodDisruptionBudget shop-orders/orders", "PodDisruptionBudget shop-web/web",
		"PriorityClass /shop-frontline", "ResourceQuota shop-orders/compute", "ResourceQuota shop-web/compute",
		"Role shop-web/product-reader", "RoleBinding shop-web/web-reads-products", "Secret shop-orders/orders-api-key",
		"Secret shop-web/orders-api-key", "Service shop-orders/orders", "Service shop-web/web", "ServiceAccount shop-web/web",
	}
	wantExisting := []string{
		"ClusterRole /shop-auditor", "ClusterRoleBinding /shop-auditor", "ConfigMap shop-office/opening-hours",
		"ConfigMap shop-orders/tariffs", "ConfigMap shop-web/banner", "CronJob shop-office/tick", "Deployment shop-office/ledger",
		"Namespace /shop-office", "PersistentVolumeClaim shop-office/ledger", "Product shop-web/decaf", "Product shop-web/espresso",
		"Product shop-web/filter", "Product shop-web/grinder", "ResourceQuota shop-office/office", "Role shop-orders/on-call",
		"RoleBinding shop-orders/on-call", "Secret shop-office/courier", "Secret shop-office/orders-api-key",
		"ServiceAccount shop-office/auditor",
	}
	if diff := cmp.Diff(wantOwned, owned); diff != "" {
		t.Errorf("owned by priming and services (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantExisting, existing); diff != "" {
		t.Errorf("owned by nobody (-want +got):\n%s", diff)
	}
	for _, o := range w.existing {
		if slices.Contains(owned, name(o)) {
			t.Errorf("%s is both owned and applied by hand: copying would have no work with it", name(o))
		}
	}
}

// TestReferences finds every name that a pod uses among the objects.
func TestReferences(t *testing.T) {
	w := load(t)
	refer := func(from, kind, namespace, called string) {
		if !w.has(kind, namespace, called) {
			t.Errorf("%s refers to %s %s/%s, which is not there", from, kind, namespace, called)
		}
	}
	for _, o := range w.all() {
		if ns := o.(meta.Object).GetNamespace(); ns != "" {
			refer(name(o), "Namespace", "", ns)
		}
	}
	for from, p := range w.pods() {
		if c := p.Spec.PriorityClassName; c != "" {
			refer(from, "PriorityClass", "", c)
		}
		if a := p.Spec.ServiceAccountName; a != "" {
			refer(from, "ServiceAccount", p.Namespace, a)
		}
		for _, c := range p.Spec.Containers {
			for _, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					refer(from, "Secret", p.Namespace, e.ValueFrom.SecretKeyRef.Name)
				}
			}
			for _, e := range c.EnvFrom {
				refer(from, "ConfigMap", p.Namespace, e.ConfigMapRef.Name)
			}
		}
		for _, v := range p.Spec.Volumes {
			switch {
			case v.ConfigMap != nil:
				refer(from, "ConfigMap", p.Namespace, v.ConfigMap.Name)
			case v.PersistentVolumeClaim != nil:
				refer(from, "PersistentVolumeClaim", p.Namespace, v.PersistentVolumeClaim.ClaimName)
			}
		}
	}
}

// TestSelectors finds pods behind every Service and PodDisruptionBudget, and ports behind every port.
func TestSelectors(t *testing.T) {
	w := load(t)
	chosen := func(namespace string, s labels.Selector) (found []core.PodTemplateSpec) {
		for _, p := range w.pods() {
			if p.Namespace == namespace && s.Matches(labels.Set(p.Labels)) {
				found = append(found, p)
			}
		}
		return found
	}
	for _, o := range w.all() {
		switch o := o.(type) {
		case *core.Service:
			pods := chosen(o.Namespace, labels.SelectorFromSet(o.Spec.Selector))
			if len(pods) != 1 {
				t.Fatalf("%s has %d workloads behind it, want 1", name(o), len(pods))
			}
			for _, port := range o.Spec.Ports {
				if port.NodePort != 0 {
					t.Errorf("%s: port %s is fixed to %d; generations choose their own", name(o), port.Name, port.NodePort)
				}
				if !slices.ContainsFunc(pods[0].Spec.Containers[0].Ports, func(c core.ContainerPort) bool { return c.Name == port.TargetPort.StrVal }) {
					t.Errorf("%s: no container has the port %s", name(o), port.TargetPort.StrVal)
				}
			}
		case *policy.PodDisruptionBudget:
			s, err := meta.LabelSelectorAsSelector(o.Spec.Selector)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(chosen(o.Namespace, s)); n != 1 {
				t.Errorf("%s protects %d workloads, want 1", name(o), n)
			}
		}
	}
}

// TestRouteIsReachable follows the route to a NodePort of the service's Kubernetes Service.
func TestRouteIsReachable(t *testing.T) {
	w := load(t)
	route := w.config.Environments[0].Spec.Routes[0]
	service, err := w.config.Service(route.Service)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range w.owned {
		s, ok := o.(*core.Service)
		if !ok || s.Name != route.Service || s.Namespace != service.Spec.Namespace {
			continue
		}
		if s.Spec.Type != core.ServiceTypeNodePort || s.Spec.Ports[0].Name != route.Port {
			t.Errorf("%s is of type %s with the port %q; the route wants a NodePort named %q", name(s), s.Spec.Type, s.Spec.Ports[0].Name, route.Port)
		}
		return
	}
	t.Errorf("route %s: no Kubernetes Service %s in %s", route.Host, route.Service, service.Spec.Namespace)
}

func TestPriorityClassIsNoDefault(t *testing.T) {
	for _, o := range load(t).all() {
		if p, ok := o.(*scheduling.PriorityClass); ok && p.GlobalDefault {
			t.Errorf("%s is the default of the whole cluster", name(o))
		}
	}
}
