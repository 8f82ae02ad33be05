package scale_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
	"github.com/crossfade-dev/crossfade/internal/release/scale"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deployment is one of a name, with replicas and labels.
func deployment(name string, replicas int, labels string) string {
	return fmt.Sprintf(`
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, namespace: shop, labels: {%s}}
spec:
  replicas: %d
  selector: {matchLabels: {app: %s}}
  template: {metadata: {labels: {app: %s, %s}}, spec: {containers: [{name: web, image: "example.com/web:1"}]}}
`, name, labels, replicas, name, name, labels)
}

func autoscaler(name string, least, most int) string {
	return fmt.Sprintf(`
---
{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: %s, namespace: shop}, spec: {minReplicas: %d, maxReplicas: %d, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %s}}}
`, name, least, most, name)
}

// withheld is one that has no pods, because another generation has them.
func withheld(name, labels string) string {
	annotation := fmt.Sprintf("annotations: {%s: '{\"/spec/replicas\":1}'}", withhold.Annotation)
	return strings.Replace(deployment(name, 0, labels), "namespace: shop,", "namespace: shop, "+annotation+",", 1)
}

const (
	green  = "crossfade.dev/service: coloured, crossfade.dev/colour: green"
	blue   = "crossfade.dev/service: coloured, crossfade.dev/colour: blue"
	single = "crossfade.dev/service: single, crossfade.dev/colour: green"
)

// TestUp has the workloads of one real API server take the load of those of another.
func TestUp(t *testing.T) {
	from, to := kubetest.Start(t, "shop"), kubetest.Start(t, "shop")
	to.Manage(t)
	to.RunPods(t, func(i int) string { return fmt.Sprintf("10.1.%d.%d", i/250, i%250+1) })
	old, fresh := from.Connect(t), to.Connect(t)
	for _, c := range []*kube.Cluster{old, fresh} {
		apply(t, c, "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")
	}
	apply(t, old, deployment("web", 2, "a: b")+deployment("fixed", 5, "a: b")+deployment("auto", 1, "a: b")+deployment("eager", 1, "a: b")+deployment("less", 1, "a: b")+
		deployment("gone", 1, "a: b")+deployment("mailer", 1, "a: b")+deployment("single-green", 1, single)+deployment("coloured-green", 4, green)+deployment("coloured-blue", 1, blue))
	for name, replicas := range map[string]int{"web": 5, "auto": 9, "eager": 3, "less": 2, "gone": 9, "mailer": 2} {
		scaled(t, old, name, replicas)
	}
	apply(t, fresh, deployment("web", 2, "a: b")+deployment("fixed", 2, "a: b")+deployment("auto", 1, "a: b")+autoscaler("auto", 1, 4)+
		deployment("eager", 1, "a: b")+autoscaler("eager", 6, 20)+deployment("less", 3, "a: b")+deployment("new", 1, "a: b")+deployment("coloured-blue", 1, blue)+withheld("mailer", "a: b")+autoscaler("mailer", 1, 4)+withheld("single-green", single))
	s := &scale.Services{From: old, To: fresh, Progress: t.Logf}
	for _, name := range []string{"web", "fixed", "auto", "eager", "less", "gone", "new", "coloured", "mailer", "single"} {
		s.List = append(s.List, scale.Service{Name: name, Coloured: name == "coloured" || name == "single", Workloads: kubetest.Objects(t, deployment(name, 1, "a: b"))})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for round, want := range []int{4, 0} {
		if n, err := s.Up(ctx); err != nil || n != want {
			t.Fatalf("round %d: %d were scaled (%v), want %d", round, n, err, want)
		}
		got := map[string]int64{}
		for _, name := range []string{"web", "fixed", "auto", "eager", "less", "new", "coloured-blue", "mailer", "single-green"} {
			got[name] = field(t, fresh, deployment(name, 1, "a: b"), "spec", "replicas")
		}
		wanted := map[string]int64{"web": 5, "fixed": 2, "auto": 4, "eager": 3, "less": 3, "new": 1, "coloured-blue": 4, "mailer": 0, "single-green": 0}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("round %d: replicas (-want +got):\n%s", round, diff)
		}
		for name, want := range wanted {
			if ready := field(t, fresh, deployment(name, 1, "a: b"), "status", "readyReplicas"); round == 0 && (name == "web" || name == "auto") && ready != want {
				t.Errorf("%s has %d pods ready, want %d", name, ready, want)
			}
		}
		for name, want := range map[string]int64{"auto": 4, "eager": 6} {
			if least := field(t, fresh, autoscaler(name, 1, 4), "spec", "minReplicas"); least != want {
				t.Errorf("the autoscaler %s may go down to %d, want %d", name, least, want)
			}
		}
	}
	for range 2 {
		if err := scale.Release(ctx, fresh, []string{"shop"}); err != nil {
			t.Fatal(err)
		}
		if least := field(t, fresh, autoscaler("auto", 1, 4), "spec", "minReplicas"); least != 1 {
			t.Errorf("the autoscaler may go down to %d when it is let go, want 1", least)
		}
	}
	scaled(t, old, "web", 6)
	s.Bound = time.Second
	apply(t, fresh, `{apiVersion: v1, kind: ResourceQuota, metadata: {name: full, namespace: shop}, spec: {hard: {pods: "0"}}}`)
	for range 2 { // whoever is stopped while the pods are waited for, and begins again, waits for them
		_, err := s.Up(ctx)
		if fault.CodeOf(err) != fault.Refused || !strings.Contains(fmt.Sprint(err), "5 of 6 pods are ready") || fault.HintOf(err) == "" {
			t.Errorf("where there is no room: %v (%s)", err, fault.HintOf(err))
		}
	}
}

func apply(t *testing.T, c *kube.Cluster, text string) {
	t.Helper()
	if _, err := c.Apply(t.Context(), kubetest.Objects(t, text), t.Logf); err != nil {
		t.Fatal(err)
	}
}

// scaled sets the replicas of a Deployment as kubectl scale does.
func scaled(t *testing.T, c *kube.Cluster, name string, replicas int) {
	t.Helper()
	ref := kubetest.Objects(t, deployment(name, 1, "a: b"))[0]
	if _, err := c.Patch(t.Context(), ref, fmt.Appendf(nil, `{"spec": {"replicas": %d}}`, replicas), "scale"); err != nil {
		t.Fatal(err)
	}
}

// field is a number in the object that a text names.
func field(t *testing.T, c *kube.Cluster, text string, path ...string) int64 {
	t.Helper()
	found, err := c.Get(t.Context(), kubetest.Objects(t, text)[0])
	if err != nil || found == nil {
		t.Fatalf("%s: %v, %v", text, found, err)
	}
	n, _, err := unstructured.NestedInt64(found.Object, path...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
