package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/cobra"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// shopConfig is a configuration with rules of copy and stacks.
const shopConfig = `
apiVersion: crossfade.dev/v1alpha1
kind: Platform
metadata: {name: shop}
spec: {}
---
apiVersion: crossfade.dev/v1alpha1
kind: Environment
metadata: {name: production}
spec:
  cluster: {provider: local}
  copy: {exclude: [{kinds: [Secret]}]}
  prime: [{name: base, namespace: base, files: [objs/base.yaml]}]
  services: [{name: web}]
---
apiVersion: crossfade.dev/v1alpha1
kind: Service
metadata: {name: web}
spec: {namespace: shop, files: [objs/web.yaml]}
---
apiVersion: crossfade.dev/v1alpha1
kind: Stack
metadata: {name: front}
spec: {services: [web], objects: [{namespaces: [front-*]}]}
---
apiVersion: crossfade.dev/v1alpha1
kind: Stack
metadata: {name: empty}
spec: {services: [none]}
---
apiVersion: crossfade.dev/v1alpha1
kind: Service
metadata: {name: none}
spec: {namespace: shop, files: [objs/none.yaml]}
`

func shopDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"shop.yaml":      shopConfig,
		"objs/base.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: base}}",
		"objs/none.yaml": "# nothing yet",
		"objs/web.yaml":  "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: shop}}",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "shop.yaml")
}

func TestRulesBetween(t *testing.T) {
	secrets := spec.Selector{Kinds: []string{"Secret"}}
	tests := map[string]struct {
		reason, args string
		want         decide.Rules
		err, hint    string
	}{
		"nothing": {reason: "everything is meant"},
		"flags": {
			reason: "they narrow together", args: "-n shop,web-* -l app=web,tier=front --name a* --name b",
			want: decide.Rules{Only: []spec.Selector{{
				Namespaces: []string{"shop", "web-*"}, Names: []string{"a*", "b"}, Labels: map[string]string{"app": "web", "tier": "front"},
			}}},
		},
		"kinds": {reason: "they are looked up later, in both clusters", args: "--kind cm", want: decide.Rules{Only: []spec.Selector{{}}}},
		"exclude": {
			reason: "each leaves out by itself", args: "--exclude-namespace a --exclude-name b",
			want: decide.Rules{Copy: spec.Copy{Exclude: []spec.Selector{{Namespaces: []string{"a"}}, {Names: []string{"b"}}}}},
		},
		"environment": {
			reason: "its rules, and what its services bring is not copied; flags add to them", args: "--env production --exclude-name b",
			want: decide.Rules{
				Copy:  spec.Copy{Exclude: []spec.Selector{secrets, {Names: []string{"b"}}}},
				Owned: []string{"ConfigMap base/base", "Namespace shop", "apps/Deployment shop/web"},
			},
		},
		"stack": {
			reason: "what it selects and the objects of its services", args: "--stack front",
			want: decide.Rules{Only: []spec.Selector{
				{Namespaces: []string{"front-*"}},
				{Kinds: []string{"Namespace"}, Names: []string{"shop"}},
				{Kinds: []string{"Deployment.apps"}, Names: []string{"web"}, Namespaces: []string{"shop"}},
			}},
		},
		"empty stack":         {reason: "nothing is not everything", args: "--stack empty", err: "nothing belongs to the stack empty", hint: "its services have no objects"},
		"unknown stack":       {reason: "a typing error", args: "--stack frond", err: "there is no stack frond; did you mean front?", hint: "the configuration has front, empty"},
		"unknown environment": {reason: "a typing error", args: "--env prod", err: "there is no environment prod", hint: "the configuration has production"},
		"pattern":             {reason: "it would match nothing", args: "-n [a", err: `cannot use "[a" as a name: it is no shell pattern`, hint: "write a name, or one with * and ? in it"},
		"labels":              {reason: "kubectl has more than is supported here", args: "-l app!=web", err: `cannot use the labels "app!=web": `, hint: "write -l app=web,tier=front: labels and their values"},
	}
	config := shopDir(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var b *between
			cmd := &cobra.Command{RunE: func(*cobra.Command, []string) error { return nil }}
			b = addBetween(cmd)
			cmd.SetArgs(strings.Fields(test.args))
			if err := cmd.Execute(); err != nil {
				t.Fatal(err)
			}
			got, err := (&app{config: config}).rulesBetween(b)
			if test.err != "" {
				if fault.CodeOf(err) != fault.Invalid || !strings.HasPrefix(err.Error(), test.err) || fault.HintOf(err) != test.hint {
					t.Errorf("%s: got %v (%s), hint %q", test.reason, err, fault.CodeOf(err), fault.HintOf(err))
				}
				return
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", test.reason, err, diff)
			}
		})
	}
}
