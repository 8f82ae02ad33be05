package release_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// deployment is a version that stands in the namespace, with the run that deployed it and the colour that was live then.
func deployment(name, c, run, before string) string {
	labels := ""
	if c != "" {
		labels = "crossfade.dev/service: web, crossfade.dev/origin: created, crossfade.dev/colour: " + c
	}
	return `
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ` + name + `, namespace: NS, labels: {` + labels + `}, annotations: {crossfade.dev/run: "` + run + `", crossfade.dev/before: "` + before + `"}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web, c: "` + c + `"}}
  template: {metadata: {labels: {app: web, c: "` + c + `"}}, spec: {containers: [{name: web, image: "example.com/web:1"}]}}
`
}

// service is a Service that leads to a colour.
func service(name, c string) string {
	if c != "" {
		c = ", crossfade.dev/colour: " + c
	}
	return "\n---\n{apiVersion: v1, kind: Service, metadata: {name: " + name + ", namespace: NS}, spec: {selector: {app: web" + c + "}, ports: [{port: 80}]}}\n"
}

func TestObserve(t *testing.T) {
	l := &lab{server: kubetest.Start(t, "shop")}
	l.c = l.server.Connect(t)
	type colours = []colour.Colour
	both := func(c string) string { return service("web", c) + service("web-front", c) }
	for name, tc := range map[string]struct {
		reason, there, copied string
		want                  release.State
	}{
		"nothing":   {reason: "nothing is there", want: release.State{Next: "blue"}},
		"failed":    {reason: "an earlier version has failed before users came", there: deployment("web-blue", "blue", "one", ""), want: release.State{Next: "blue"}},
		"plain":     {reason: "the service had no colours", there: deployment("web", "", "", "") + both(""), want: release.State{Live: "plain", Next: "blue", Old: "plain", Led: colours{"plain"}, Replicas: 3}},
		"marked":    {reason: "some Services lead to plain already", there: deployment("web", "", "", "") + service("web", "plain") + service("web-front", ""), want: release.State{Live: "plain", Next: "blue", Old: "plain", Led: colours{"plain"}, Replicas: 3}},
		"blue":      {reason: "the other colour comes next", there: deployment("web-blue", "blue", "one", "") + both("blue"), want: release.State{Live: "blue", Next: "green", Old: "blue", Led: colours{"blue"}, Replicas: 3}},
		"green":     {reason: "the other colour comes next", there: deployment("web-green", "green", "one", "") + both("green"), want: release.State{Live: "green", Next: "blue", Old: "green", Led: colours{"green"}, Replicas: 3}},
		"staged":    {reason: "this run has staged it", there: deployment("web-blue", "blue", "one", "") + deployment("web-green", "green", "two", "blue") + both("blue"), want: release.State{Live: "blue", Next: "green", Old: "blue", Led: colours{"blue"}, Staged: true, Replicas: 3}},
		"leftover":  {reason: "another run has staged it", there: deployment("web-blue", "blue", "one", "") + deployment("web-green", "green", "before", "blue") + both("blue"), want: release.State{Live: "blue", Next: "green", Old: "blue", Led: colours{"blue"}, Replicas: 3}},
		"between":   {reason: "stopped between two Services", there: deployment("web-blue", "blue", "two", "green") + deployment("web-green", "green", "one", "") + service("web", "green") + service("web-front", "blue"), want: release.State{Live: "green", Next: "blue", Old: "green", Led: colours{"blue", "green"}, Staged: true, Replicas: 3}},
		"switched":  {reason: "the version before still stands", there: deployment("web-blue", "blue", "one", "") + deployment("web-green", "green", "two", "blue") + both("green"), want: release.State{Live: "green", Next: "green", Old: "blue", Led: colours{"green"}, Staged: true, Replicas: 3}},
		"three":     {reason: "of two others, the one that was live is the old one", there: deployment("web", "", "", "") + deployment("web-blue", "blue", "two", "plain") + deployment("web-green", "green", "one", "") + both("blue"), want: release.State{Live: "blue", Next: "blue", Old: "plain", Led: colours{"blue"}, Staged: true, Replicas: 3}},
		"cleared":   {reason: "the version before is gone", there: deployment("web-green", "green", "two", "blue") + both("green"), want: release.State{Live: "green", Next: "green", Led: colours{"green"}, Staged: true, Replicas: 3}},
		"new first": {reason: "the first Service of the manifests is new", there: deployment("web-blue", "blue", "one", "") + service("web-front", "blue"), want: release.State{Live: "blue", Next: "green", Old: "blue", Led: colours{"blue"}, Replicas: 3}},
		"renamed":   {reason: "the live Deployment had another name", there: deployment("site-blue", "blue", "one", "") + both("blue"), want: release.State{Live: "blue", Next: "green", Old: "blue", Led: colours{"blue"}, Replicas: 3}},
		"lost":      {reason: "the live Deployment was deleted: the next one proves itself all the same", there: both("blue"), want: release.State{Next: "green", Led: colours{"blue"}}},
		"copied":    {reason: "a copy that somebody made is no version", there: deployment("web-blue", "blue", "one", "") + both("blue"), copied: deployment("copy", "green", "two", "blue"), want: release.State{Live: "blue", Next: "green", Old: "blue", Led: colours{"blue"}, Replicas: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			ns := strings.ReplaceAll(name, " ", "-")
			l.server.ApplyAs(t, "crossfade", at(ns, "", "{apiVersion: v1, kind: Namespace, metadata: {name: NS}}\n"+tc.there))
			l.server.WriteAs(t, "kubectl-create", at(ns, "", tc.copied))
			b := l.run(t, "two", at(ns, "v2", web))
			for range 5 {
				got, err := b.Observe(t.Context())
				if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
					t.Fatalf("%s: %v (-want +got):\n%s", tc.reason, err, diff)
				}
			}
		})
	}
}

// TestFirst wants the objects of a service in the colour that the Services lead to already.
func TestFirst(t *testing.T) {
	l := &lab{server: kubetest.Start(t, "shop")}
	l.c = l.server.Connect(t)
	for name, tc := range map[string]struct{ reason, there, want string }{
		"nothing": {"nothing is there", "", "blue"},
		"green":   {"it was built before", deployment("web-green", "green", "one", "") + service("web", "green"), "green"},
		"plain":   {"no user knows of it", deployment("web", "", "", "") + service("web", ""), "blue"},
	} {
		t.Run(name, func(t *testing.T) {
			l.server.ApplyAs(t, "crossfade", at(name, "", "{apiVersion: v1, kind: Namespace, metadata: {name: NS}}\n"+tc.there))
			objs, err := l.run(t, "two", at(name, "v1", web+scaler)).First(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, obj := range objs {
				got[strings.ReplaceAll(ident.Of(obj), name+"/", "")] = painted(obj)
			}
			want := map[string]string{
				"Namespace " + name: "", "Service web": tc.want, "Service web-front": tc.want, "ConfigMap settings-" + tc.want: tc.want,
				"apps/Deployment web-" + tc.want: tc.want + " by two", "autoscaling/HorizontalPodAutoscaler web-" + tc.want: tc.want,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// painted is the colour of an object, and the run that deploys it.
func painted(obj *unstructured.Unstructured) string {
	if obj.GetKind() == "Service" {
		return field.String(obj, "spec", "selector", colour.Label)
	}
	if run := obj.GetAnnotations()[release.RunAnnotation]; run != "" {
		return obj.GetLabels()[colour.Label] + " by " + run
	}
	return obj.GetLabels()[colour.Label]
}
