package kube_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/apierror"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
)

const shop = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: coupons.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {kind: Coupon, plural: coupons}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: shop.example.com/v1
kind: Coupon
metadata: {name: ten, namespace: shop}
spec: {percent: 10}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {colour: blue}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
`

func silent(string, ...any) {}

func TestApply(t *testing.T) {
	c := kubetest.Start(t, "a").Connect(t)
	objs := kubetest.Objects(t, shop)
	applied, err := c.Apply(t.Context(), objs, silent)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"apiextensions.k8s.io/CustomResourceDefinition coupons.shop.example.com", "Namespace shop",
		"ConfigMap shop/settings", "apps/Deployment shop/web", "shop.example.com/Coupon shop/ten",
	}
	if diff := cmp.Diff(want, applied.Created); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	again, err := c.Apply(t.Context(), objs, silent)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kube.Applied{Unchanged: want}, again); diff != "" {
		t.Errorf("a second run changes nothing (-want +got):\n%s", diff)
	}
	testGoneVersions(t, c)
}

// testGoneVersions applies objects in versions that are served no longer: all are named, and nothing is written.
func testGoneVersions(t *testing.T, c *kube.Cluster) {
	objs := kubetest.Objects(t, `
{apiVersion: v1, kind: ConfigMap, metadata: {name: unwritten, namespace: shop}, data: {a: b}}
---
{apiVersion: extensions/v1beta1, kind: Deployment, metadata: {name: old, namespace: shop}, spec: {}}
---
{apiVersion: autoscaling/v2beta2, kind: HorizontalPodAutoscaler, metadata: {name: old, namespace: shop}, spec: {}}
---
{apiVersion: policy/v1beta1, kind: PodSecurityPolicy, metadata: {name: old}, spec: {}}
`)
	_, err := c.Apply(t.Context(), objs, silent)
	want := "cannot apply 3 of 4 objects: the cluster a does not serve their kinds: extensions/Deployment shop/old in extensions/v1beta1 (write it in apps/v1); " +
		"autoscaling/HorizontalPodAutoscaler shop/old in autoscaling/v2beta2 (write it in autoscaling/v2); policy/PodSecurityPolicy old in policy/v1beta1"
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if found, err := c.Get(t.Context(), objs[0]); err != nil || found != nil {
		t.Errorf("something was written: %v, %v", found, err)
	}
}

func TestApplyMeetsOthers(t *testing.T) {
	server := kubetest.Start(t, "a")
	c := server.Connect(t)
	objs := kubetest.Objects(t, shop)
	if _, err := c.Apply(t.Context(), objs, silent); err != nil {
		t.Fatal(err)
	}
	server.WriteAs(t, "kubectl-edit", "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {colour: red}}")
	server.WriteAs(t, "kube-controller-manager", "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 5}}")
	applied, err := c.Apply(t.Context(), objs, silent)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ConfigMap shop/settings.data.colour, set by kubectl-edit"}, applied.Taken); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"apps/Deployment shop/web.spec.replicas, set by kube-controller-manager"}, applied.Kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	server.ApplyAs(t, "gitops", "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {colour: green}}")
	_, err = c.Apply(t.Context(), objs, silent)
	if fault.CodeOf(err) != fault.Failed {
		t.Fatalf("want Failed against another applier, got %v", err)
	}
	if want := "cannot apply ConfigMap shop/settings: gitops applies its field data.colour with another value"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestFrozenServer(t *testing.T) {
	server := kubetest.Start(t, "a")
	c := server.Connect(t)
	if _, err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Freeze(t)
	begin := time.Now()
	_, err := c.Apply(t.Context(), kubetest.Objects(t, shop), silent)
	if fault.CodeOf(err) != fault.Unavailable || time.Since(begin) > 15*time.Second {
		t.Errorf("want Unavailable within 15 s, got %q %v after %s", fault.CodeOf(err), err, time.Since(begin))
	}
	if !apierror.Unreachable(err) {
		t.Errorf("want unreachable: %v", err)
	}
	server.Thaw(t)
	if _, err := c.Apply(t.Context(), kubetest.Objects(t, shop), silent); err != nil {
		t.Errorf("after it went on: %v", err)
	}
}

// TestWriteAfterLoss: an API server that has lost track of who manages an object takes what Crossfade has written for somebody else's. Its
// labels are its own all the same, and everything else is a conflict.
func TestWriteAfterLoss(t *testing.T) {
	c := kubetest.Start(t, "a").Connect(t)
	obj := func(colour, digest string) *unstructured.Unstructured {
		text := "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: default, labels: {%s: created, %s: %q}}, data: {colour: %s}}"
		return kubetest.Objects(t, fmt.Sprintf(text, manager.OriginLabel, manager.CopiedLabel, digest, colour))[0]
	}
	if _, err := c.Create(t.Context(), obj("blue", "1")); err != nil {
		t.Fatal(err)
	}
	lose := func() *unstructured.Unstructured {
		lost, err := c.Patch(t.Context(), obj("blue", ""), []byte(`{"metadata":{"managedFields":[{}]}}`))
		if err != nil {
			t.Fatal(err)
		}
		return lost
	}
	if written, err := c.Write(t.Context(), obj("blue", "2"), lose(), false); err != nil || manager.Copied(written) != "2" {
		t.Errorf("the labels alone differ: %v, %v", written, err)
	}
	_, err := c.Write(t.Context(), obj("red", "3"), lose(), false)
	if diff := cmp.Diff("field .data.colour, set by before-first-apply", strings.Join(kube.Conflicts(err)[:1], "")); diff != "" {
		t.Errorf("a field differs (-want +got):\n%s", diff)
	}
}
