package existing_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/cluster/existing"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func silent(string, ...any) {}

// pair starts two clusters and returns the provider over them.
func pair(t *testing.T, live string) (a, b *kubetest.Server, p *existing.Provider) {
	t.Helper()
	a, b = kubetest.Start(t, "a"), kubetest.Start(t, "b")
	merged, err := (&clientcmd.ClientConfigLoadingRules{Precedence: []string{a.Access.Kubeconfig, b.Access.Kubeconfig}}).Load()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*merged, file); err != nil {
		t.Fatal(err)
	}
	p, err = existing.New(spec.ExistingCluster{
		Kubeconfig: file, Contexts: []string{"a", "b"}, Live: live,
		NodeAddresses: map[string][]string{"a": {"10.0.0.1"}, "b": {"10.0.0.2"}},
	}, "production")
	if err != nil {
		t.Fatal(err)
	}
	return a, b, p
}

func observe(t *testing.T, p *existing.Provider, generation string) cluster.Status {
	t.Helper()
	status, err := p.Observe(t.Context(), generation)
	if err != nil {
		t.Fatal(err)
	}
	status.Access.Kubeconfig = ""
	return status
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
}

func wantFault(t *testing.T, err error, code fault.Code, text string) {
	t.Helper()
	if fault.CodeOf(err) != code || !strings.Contains(err.Error(), text) || fault.HintOf(err) == "" {
		t.Errorf("want %s with %q and a hint, got %q: %v (%s)", code, text, fault.CodeOf(err), err, fault.HintOf(err))
	}
}

func TestGenerationsTakeTurns(t *testing.T) {
	a, _, p := pair(t, "")
	ctx := t.Context()
	for range 2 { // creating again is no change
		do(t, p.Create(ctx, "g1", silent))
		do(t, p.Create(ctx, "g2", silent))
	}
	want := map[string]cluster.Status{
		"g1": {Phase: cluster.Ready, Access: cluster.Access{Context: "a"}, Nodes: []string{"10.0.0.1"}},
		"g2": {Phase: cluster.Ready, Access: cluster.Access{Context: "b"}, Nodes: []string{"10.0.0.2"}},
		"g3": {Phase: cluster.Absent},
	}
	for name, status := range want {
		if diff := cmp.Diff(status, observe(t, p, name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	wantFault(t, p.Create(ctx, "g3", silent), fault.Failed, "g1 is in a, g2 is in b")

	_, err := a.Connect(t).Apply(ctx, kubetest.Objects(t, shop), silent)
	do(t, err)
	a.WriteAs(t, "kubectl", "{apiVersion: v1, kind: ConfigMap, metadata: {name: mine, namespace: default}}")
	a.Controllers(t)
	for range 2 {
		do(t, p.Delete(ctx, "g1", silent))
	}
	for _, text := range []string{"{apiVersion: v1, kind: Namespace, metadata: {name: shop}}", "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: coupons.shop.example.com}}"} {
		if obj, err := a.Connect(t).Get(ctx, kubetest.Objects(t, text)[0]); err != nil || obj != nil {
			t.Errorf("still there after Delete: %s (%v)", text, err)
		}
	}
	if obj, err := a.Connect(t).Get(ctx, kubetest.Objects(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: mine, namespace: default}}")[0]); err != nil || obj == nil {
		t.Errorf("what Crossfade did not put there must stay (%v)", err)
	}
	names, err := p.List(ctx)
	do(t, err)
	if diff := cmp.Diff([]string{"g2"}, names); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

const shop = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: coupons.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {kind: Coupon, plural: coupons}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---
{apiVersion: shop.example.com/v1, kind: Coupon, metadata: {name: ten, namespace: shop}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}}
`

func TestAdopt(t *testing.T) {
	a, _, p := pair(t, "a")
	ctx := t.Context()
	a.WriteAs(t, "kubectl", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}}")
	if status := observe(t, p, "g1"); status.Phase != cluster.Absent {
		t.Errorf("before it is adopted: %+v", status)
	}
	if live, err := p.Live(ctx, "prod"); err != nil || !regexp.MustCompile(`^prod[0-9]{10}$`).MatchString(live) {
		t.Errorf("the live generation would be called %q, %v", live, err)
	}
	for range 2 {
		do(t, p.Adopt(ctx, "a", "g1"))
	}
	if live, err := p.Live(ctx, "prod"); err != nil || live != "g1" {
		t.Errorf("the live generation is called %q, %v", live, err)
	}
	wantFault(t, p.Adopt(ctx, "a", "other"), fault.Failed, "another generation is in it")
	do(t, p.Create(ctx, "g2", silent))
	if got := observe(t, p, "g2").Access.Context; got != "b" {
		t.Errorf("g2 is in %s, want b", got)
	}
	_, err := a.Connect(t).Apply(ctx, kubetest.Objects(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {a: b}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: ours, namespace: shop}}"), silent)
	do(t, err)
	do(t, p.Delete(ctx, "g1", silent))
	for name, want := range map[string]bool{"settings": true, "ours": false} {
		obj, err := a.Connect(t).Get(ctx, kubetest.Objects(t, "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: shop, name: "+name+"}}")[0])
		if err != nil || (obj != nil) != want {
			t.Errorf("ConfigMap %s there: %t, want %t (%v)", name, obj != nil, want, err)
		}
	}
	wantFault(t, p.Create(ctx, "g3", silent), fault.Failed, "it is not empty: ConfigMap shop/settings")
}

func TestLiveIsNotFree(t *testing.T) {
	_, _, p := pair(t, "a")
	do(t, p.Create(t.Context(), "g1", silent))
	if got := observe(t, p, "g1").Access.Context; got != "b" {
		t.Errorf("the first generation is in %s; a serves the users", got)
	}
}

func TestFrozenCluster(t *testing.T) {
	a, _, p := pair(t, "")
	a.Freeze(t)
	begin := time.Now()
	_, err := p.Observe(t.Context(), "g1")
	wantFault(t, err, fault.Unavailable, "did not answer")
	if spent := time.Since(begin); spent > 15*time.Second {
		t.Errorf("it took %s", spent)
	}
}

func TestNewRefuses(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good")
	err := os.WriteFile(good, []byte("{apiVersion: v1, kind: Config, contexts: [{name: a, context: {cluster: a}}], clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]}"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		options spec.ExistingCluster
		text    string
	}{
		"one context":       {spec.ExistingCluster{Kubeconfig: good, Contexts: []string{"a"}}, "wanted two different ones"},
		"the same twice":    {spec.ExistingCluster{Kubeconfig: good, Contexts: []string{"a", "a"}}, "wanted two different ones"},
		"no such file":      {spec.ExistingCluster{Kubeconfig: good + "2", Contexts: []string{"a", "b"}}, "no such file"},
		"no such context":   {spec.ExistingCluster{Kubeconfig: good, Contexts: []string{"a", "b"}}, `cannot use the context "b"`},
		"live is elsewhere": {spec.ExistingCluster{Kubeconfig: good, Contexts: []string{"a", "b"}, Live: "c"}, "the live context c"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := existing.New(test.options, "production")
			wantFault(t, err, fault.Invalid, test.text)
		})
	}
}
