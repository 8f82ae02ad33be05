package objects_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// guards is a configuration of webhooks that ask a Service about a kind that nobody has; the annotations and the bundle are filled in.
func guards(name, annotations, bundle string, timeout int) string {
	return fmt.Sprintf(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: %s, annotations: {%s}},
	  webhooks: [{name: guard.example.com, sideEffects: None, admissionReviewVersions: [v1], failurePolicy: Fail, timeoutSeconds: %d, clientConfig: {caBundle: %s, service: {name: guard, namespace: guarded}},
	    rules: [{apiGroups: [nothing.example.com], apiVersions: [v1], operations: [CREATE], resources: [things]}]}]}`, name, annotations, timeout, bundle)
}

const (
	slice = `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: guard-1, namespace: guarded, labels: {kubernetes.io/service-name: guard}}, addressType: IPv4,
	  endpoints: [{addresses: [10.9.9.9], conditions: {ready: true}}], ports: [{port: 443}]}`
	// Certificates that no key is left of, as the API wants them to be well-formed.
	bundleA  = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJMakNCNGFBREFnRUNBaFI1eXkyUWFPbThreTlMSC9wZ2d3bHU3ZE9LYVRBRkJnTXJaWEF3RERFS01BZ0cKQTFVRUF3d0JRVEFnRncweU5qRXhNakV3T1RRMU1qUmFHQTh5TVRJMk1UQXlPREE1TkRVeU5Gb3dEREVLTUFnRwpBMVVFQXd3QlFUQXFNQVVHQXl0bGNBTWhBR0ZIKzdaSy91TTRmbG1TYkdRcUNKYzkvOWRLNWFVN3BDSFpZUmU1Cm81MzJvMU13VVRBZEJnTlZIUTRFRmdRVTFyT3pQWVFPNHh0OGdLdGtqTTE3dXFWRU5ha3dId1lEVlIwakJCZ3cKRm9BVTFyT3pQWVFPNHh0OGdLdGtqTTE3dXFWRU5ha3dEd1lEVlIwVEFRSC9CQVV3QXdFQi96QUZCZ01yWlhBRApRUUFSNEJUOUJrVERudkJwdXRHU1Bqd0tVdGNQS2xrNzBFOFVXK3dORkNxQm1pbnNmQUdDbTVKYzdORk5HL2dKCjhZYkkvN013RmlLd2Y1aUhlYUdHQy80TQotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg=="
	bundleB  = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJMakNCNGFBREFnRUNBaFJQNEc5ck9FN1g2TU1TaDhHY1lpbUY1dURpTHpBRkJnTXJaWEF3RERFS01BZ0cKQTFVRUF3d0JRakFnRncweU5qRXhNakV3T1RRMU1qUmFHQTh5TVRJMk1UQXlPREE1TkRVeU5Gb3dEREVLTUFnRwpBMVVFQXd3QlFqQXFNQVVHQXl0bGNBTWhBRk1BbVFSb1J1T2NuMkI2TU9xSldKYjVKby8wYkhaa0ZRVU1XeUg4CmlvWjFvMU13VVRBZEJnTlZIUTRFRmdRVTY4blJxNDJRc1VFUGdpdGlZMTRTKzFjVVpCa3dId1lEVlIwakJCZ3cKRm9BVTY4blJxNDJRc1VFUGdpdGlZMTRTKzFjVVpCa3dEd1lEVlIwVEFRSC9CQVV3QXdFQi96QUZCZ01yWlhBRApRUUFsMkxSZGZUTzZ4cExaQ2k0UDdNclZpUHlwZ2dVMHMwemVZNDg0dlY5RVNidGFFdFFLK3JJZlBJVTB4L1YvCjBhOGVJV0w0WWxZcEhJK1FFS0sxZ0lrTgotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg=="
	injected = "cert-manager.io/inject-ca-from: guarded/guard"
)

// testGuarded: what refuses requests when nothing answers for it comes when something does; certificates that an injector puts in
// are left to the injector of the other cluster.
func testGuarded(t *testing.T, p *clusters) {
	p.from.WriteAs(t, "kubectl-create", strings.Join([]string{
		"{apiVersion: v1, kind: Namespace, metadata: {name: guarded}}", "{apiVersion: v1, kind: Service, metadata: {name: guard, namespace: guarded}, spec: {ports: [{port: 443}]}}", slice,
		guards("guarded-injected", injected, bundleA, 3), guards("guarded-own", "", bundleA, 3),
		"{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.guarded.example.com, annotations: {" + injected + "}}, spec: {group: guarded.example.com, version: v1, groupPriorityMinimum: 100, versionPriority: 10, caBundle: " + bundleA + ", service: {name: guard, namespace: guarded}}}",
	}, "\n---\n"))
	defer p.forget(t, "guarded-injected", "guarded-own", "v1.guarded.example.com")
	selected := within("guarded", names("guarded-*", "v1.guarded.example.com"))
	selected.Exclude = []spec.Selector{{Kinds: []string{"EndpointSlice"}}}
	o := options(selected)
	waited := map[string]bool{}
	o.Progress = func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if strings.HasPrefix(text, "waiting for an endpoint") && !waited[text] {
			waited[text] = true
			if get(t, p.b, guards("guarded-own", "", bundleA, 3)) != nil {
				t.Error("the webhook is there before what answers for it")
			}
			p.to.WriteAs(t, "guard-operator", slice)
		}
	}
	started := time.Now()
	report, err := objects.Copy(t.Context(), p.a, p.b, o)
	if err != nil || report.Err() != nil || !waited["waiting for an endpoint of service guarded/guard"] || time.Since(started) > 30*time.Second {
		t.Fatalf("%v, %v, waited for %v in %s", err, report.Err(), waited, time.Since(started))
	}
	if text := strings.Join(report.NotServed, " "); text != "guarded.example.com/v1 of the first cluster, whose own API server does not answer" {
		t.Errorf("not served: %s", text)
	}
	bundles := func(want string) {
		t.Helper()
		got := []string{
			bundleOf(p.there(t, guards("guarded-injected", injected, bundleA, 3))), bundleOf(p.there(t, guards("guarded-own", "", bundleA, 3))),
			bundleOf(p.there(t, "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.guarded.example.com}}")),
		}
		if text := strings.NewReplacer(bundleA, "a", bundleB, "b").Replace(strings.Join(got, ",")); text != want {
			t.Errorf("bundles %s, want %s", text, want)
		}
	}
	bundles(",a,")
	p.to.WriteAs(t, "cert-manager-cainjector", guards("guarded-injected", injected, bundleB, 3)+"\n---\n"+
		"{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.guarded.example.com}, spec: {caBundle: "+bundleB+"}}")
	bundles("b,a,b")
	p.settled(t, selected)
	p.from.WriteAs(t, "kubectl-edit", guards("guarded-injected", injected, bundleA, 7)+"\n---\n"+guards("guarded-own", "", bundleB, 7))
	if again := copyAll(t, p.a, p.b, selected); again.Updated != 2 || again.Conflicted != 0 {
		t.Errorf("a change in the first cluster: %+v", again)
	}
	bundles("b,b,b")
}

// bundleOf is the certificate in a configuration of webhooks, or of an aggregated API.
func bundleOf(obj *unstructured.Unstructured) string {
	if text, _, _ := unstructured.NestedString(obj.Object, "spec", "caBundle"); text != "" {
		return text
	}
	hooks, _, _ := unstructured.NestedSlice(obj.Object, "webhooks")
	for _, hook := range hooks {
		text, _, _ := unstructured.NestedString(hook.(map[string]any), "clientConfig", "caBundle")
		return text
	}
	return ""
}

// forget deletes objects without a namespace, of which no later case shall be bothered, from both clusters.
func (p *clusters) forget(t *testing.T, named ...string) {
	t.Helper()
	for _, name := range named {
		kind := "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: " + name + "}}"
		if strings.HasPrefix(name, "v1.") {
			kind = "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: " + name + "}}"
		}
		if err := p.a.Delete(t.Context(), object(t, kind)); err != nil {
			t.Error(err)
		}
		if err := p.b.Delete(t.Context(), object(t, kind)); err != nil {
			t.Error(err)
		}
	}
}
