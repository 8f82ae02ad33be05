package objects_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/backlog"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// settings are the values of the ConfigMaps of a namespace, by name.
func settings(t *testing.T, c *kube.Cluster, namespace string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for obj, err := range c.List(t.Context(), configMaps, kube.Query{Namespace: namespace}) {
		if err != nil {
			t.Fatal(err)
		}
		data, _ := obj.Object["data"].(map[string]any)
		found[obj.GetName()] = fmt.Sprint(data)
	}
	return found
}

// follow follows in the background until the test ends, and returns when everything that was there has been copied.
func follow(t *testing.T, a, b *kube.Cluster, rules decide.Rules, lag func(backlog.Lag)) {
	t.Helper()
	followWith(t, a, b, objects.Following{Options: options(rules), Lag: lag, Every: 100 * time.Millisecond})
}

func followWith(t *testing.T, a, b *kube.Cluster, f objects.Following) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	synced, done := make(chan struct{}), make(chan error, 1)
	f.Patience, f.Synced = time.Minute, func(outcome.Report) { close(synced) }
	go func() { done <- objects.Follow(ctx, a, b, f) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-synced:
	case err := <-done:
		done <- nil
		t.Fatal(err)
	case <-time.After(time.Minute):
		t.Fatal("nothing was copied within a minute")
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// TestFollow carries creations, changes and deletions over, kinds that are new included, and touches nothing that was not copied.
func TestFollow(t *testing.T) {
	from, to := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	a, b := from.Connect(t), to.Connect(t)
	from.WriteAs(t, "kubectl-create", live)
	follow(t, a, b, decide.Rules{}, nil)
	to.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: ConfigMap, metadata: {name: theirs, namespace: shop-2}, data: {a: b}}")

	from.WriteAs(t, "kubectl-create", `
{apiVersion: v1, kind: Namespace, metadata: {name: new}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: first, namespace: new}, data: {a: b}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gifts.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {kind: Gift, plural: gifts}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`)
	eventually(t, "the new kind is served", func() bool {
		served, _, err := b.Resources(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range served {
			if r.Kind == "Gift" {
				return true
			}
		}
		return false
	})
	from.WriteAs(t, "kubectl-create", "{apiVersion: shop.example.com/v1, kind: Gift, metadata: {name: bow, namespace: new}, spec: {colour: red}}")
	eventually(t, "an object of the new kind is there", func() bool {
		return get(t, b, "{apiVersion: shop.example.com/v1, kind: Gift, metadata: {name: bow, namespace: new}}") != nil
	})
	from.WriteAs(t, "kubectl-edit", "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop-2}, data: {colour: blue}}")
	for _, c := range []*kube.Cluster{a} {
		if err := c.Delete(t.Context(), kubetest.Objects(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: first, namespace: new}}")[0]); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the change and the deletion are carried over", func() bool {
		return len(settings(t, b, "new")) == 0 && settings(t, b, "shop-2")["settings"] == "map[colour:blue]"
	})
	if settings(t, b, "shop-2")["theirs"] == "" {
		t.Error("what was not copied is gone")
	}
}

// TestFollowConverges makes random changes while the API servers are frozen and thawed: in the end both have the same.
func TestFollowConverges(t *testing.T) {
	from, to := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	a, b := from.Connect(t), to.Connect(t)
	from.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")
	follow(t, a, b, decide.Rules{}, nil)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	there := map[string]string{}
	for i := range 300 {
		name := fmt.Sprintf("map-%d", random.IntN(40))
		text := fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: shop}, data: {value: v%d}}", name, i)
		if _, exists := there[name]; exists && random.IntN(3) == 0 {
			if err := a.Delete(t.Context(), kubetest.Objects(t, text)[0]); err != nil {
				t.Fatal(err)
			}
			delete(there, name)
		} else {
			from.WriteAs(t, "kubectl-edit", text)
			there[name] = fmt.Sprintf("map[value:v%d]", i)
		}
		switch i {
		case 100:
			to.Freeze(t)
		case 150:
			to.Thaw(t)
		case 200:
			to.Restart(t)
		}
	}
	var got map[string]string
	eventually(t, "both have the same", func() bool {
		got = settings(t, b, "shop")
		return maps.Equal(got, there)
	})
	if diff := cmp.Diff(there, settings(t, a, "shop")); diff != "" {
		t.Errorf("the first cluster (-want +got):\n%s", diff)
	}
}
