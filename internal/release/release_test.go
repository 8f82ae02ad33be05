package release_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/apiserver"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// TestRelease shares a cluster with real controllers, whose pods only say that they run.
func TestRelease(t *testing.T) {
	l := newLab(t)
	t.Run("cases", func(t *testing.T) {
		for name, run := range map[string]func(*testing.T, *lab, string){
			"life": testLife, "adopt": testAdopt, "other-ports": testOtherPorts, "half": testHalf, "autoscaled": testAutoscaled,
			"leftover": testLeftover, "interrupted": testInterrupted, "refuses": testRefuses, "gathered": testGathered,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t, l, name)
			})
		}
	})
	t.Run("uncontrolled", func(t *testing.T) { testUncontrolled(t, l, "uncontrolled") })
}

// testLife takes a service from its first version to the next, back, forth, and removes what is not used any more.
func testLife(t *testing.T, l *lab, ns string) {
	l.first(t, at(ns, "v1", web))
	b := l.run(t, "two", at(ns, "v2", web))
	l.server.WriteAs(t, "kubectl-scale", at(ns, "", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web-blue, namespace: NS}, spec: {replicas: 3}}`))

	ok(t, "stage", b.Stage)
	l.reach(t, ns, "v1")
	if n := replicas(l.get(t, "apps", "Deployment", ns, "web-green")); n != 3 {
		t.Errorf("the next version has %d replicas, want the 3 that run now", n)
	}
	await(t, "the preview leads to the next version", func() bool { return cmp.Equal(l.reached(t, ns, "web-preview"), []string{"v2"}) })
	refused(t, b.Remove(t.Context(), colour.Blue), fault.Failed, "it is live")

	ok(t, "switch", b.Switch)
	l.reach(t, ns, "v2")
	refused(t, b.Remove(t.Context(), colour.Green), fault.Failed, "it is live")
	ok(t, "back", b.Back)
	l.reach(t, ns, "v1")
	ok(t, "back again", b.Back)
	ok(t, "switch again", b.Switch)
	l.reach(t, ns, "v2")

	l.server.WriteAs(t, "kubectl-create", at(ns, "", `{apiVersion: v1, kind: ConfigMap, metadata: {name: copy, namespace: NS, labels: {crossfade.dev/service: web, crossfade.dev/colour: blue, crossfade.dev/origin: created}}}`))
	pod := l.podOf(t, ns, "v1")
	for _, held := range []string{"{apiVersion: v1, kind: ConfigMap, metadata: {name: settings-blue, namespace: NS", "{apiVersion: v1, kind: Pod, metadata: {name: " + pod + ", namespace: NS"} {
		l.server.WriteAs(t, "holder", at(ns, "", held+", finalizers: [example.com/hold]}}"))
	}
	for _, held := range []string{"ConfigMap " + ns + "/settings-blue", "Pod " + ns + "/" + pod} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		refused(t, b.Remove(ctx, colour.Blue), fault.Failed, held+" is still there after it was deleted")
		cancel()
		l.release(t, ns, held)
	}
	ok(t, "remove", func(ctx context.Context) error { return b.Remove(ctx, colour.Blue) })
	ok(t, "remove again", func(ctx context.Context) error { return b.Remove(ctx, colour.Blue) })
	for name, want := range map[string]bool{"settings-blue": false, "settings-green": true, "copy": true} {
		if there := l.get(t, "", "ConfigMap", ns, name) != nil; there != want {
			t.Errorf("ConfigMap %s is there: %v, want %v", name, there, want)
		}
	}
	if l.get(t, "apps", "Deployment", ns, "web-blue") != nil || l.get(t, "", "Service", ns, "web-preview") != nil {
		t.Error("the version before is still there, or the preview")
	}
	refused(t, b.Back(t.Context()), fault.Failed, "the version before it is gone")
}

// testAdopt deploys over a version without a colour, one that never gets ready first: no user reaches it.
func testAdopt(t *testing.T, l *lab, ns string) {
	l.plain(t, ns, at(ns, "v1", web))
	bad := l.run(t, "bad", strings.Replace(at(ns, "v2", web), "version: v2}", "version: v2, sick: very}", 1))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- bad.Stage(ctx) }()
	await(t, "the pods of the next version are there", func() bool {
		reached := l.reached(t, ns, "web")
		if len(reached) != 1 || reached[0] != "v1" {
			t.Fatalf("users reach %v", reached)
		}
		d := l.get(t, "apps", "Deployment", ns, "web-blue")
		if d == nil {
			return false
		}
		for _, name := range []string{"web", "web-front"} {
			if got := leadsTo(l.get(t, "", "Service", ns, name)); got != "plain" {
				t.Fatalf("Service %s leads to %q when the next version is there", name, got)
			}
		}
		created, _, _ := nestedInt(d, "status", "replicas")
		return created == 2
	})
	stop()
	if err := <-ended; err == nil {
		t.Error("the version is ready")
	}
	l.reach(t, ns, "v1")

	b := l.run(t, "good", at(ns, "v3", web))
	ok(t, "stage", b.Stage)
	l.reach(t, ns, "v1")
	ok(t, "switch", b.Switch)
	l.reach(t, ns, "v3")
	ok(t, "back", b.Back)
	l.reach(t, ns, "v1")
	ok(t, "switch again", b.Switch)
	ok(t, "remove", func(ctx context.Context) error { return b.Remove(ctx, colour.Plain) })
	if l.get(t, "apps", "Deployment", ns, "web") != nil {
		t.Error("the plain version is still there")
	}
	if l.get(t, "", "ConfigMap", ns, "settings") == nil {
		t.Error("a ConfigMap that others may use by its name is gone")
	}
}

// testOtherPorts goes back from a version with other ports and labels, and one Service more.
func testOtherPorts(t *testing.T, l *lab, ns string) {
	l.first(t, at(ns, "v1", web))
	next := strings.NewReplacer("targetPort: 8080", "targetPort: 9090", "selector: {tier: front}", "selector: {tier: back, app: web}", "tier: front", "tier: back").
		Replace(at(ns, "v2", web)) + at(ns, "", "---\n{apiVersion: v1, kind: Service, metadata: {name: a-web, namespace: NS}, spec: {selector: {tier: back}, ports: [{port: 80}]}}")
	b := l.run(t, "two", "---\n"+next)
	before := map[string]any{}
	for _, name := range []string{"web", "web-front"} {
		before[name] = ledBy(l.get(t, "", "Service", ns, name))
	}
	ok(t, "stage", b.Stage)
	ok(t, "switch", b.Switch)
	l.reach(t, ns, "v2")
	ok(t, "switch again", b.Switch)
	ok(t, "back", b.Back)
	l.reach(t, ns, "v1")
	for name, want := range before {
		if diff := cmp.Diff(want, ledBy(l.get(t, "", "Service", ns, name))); diff != "" {
			t.Errorf("Service %s after the way back (-want +got):\n%s", name, diff)
		}
	}
}

// testHalf is stopped between two Services, and goes back or forth from there.
func testHalf(t *testing.T, l *lab, ns string) {
	l.first(t, at(ns, "v1", web))
	b := l.run(t, "two", at(ns, "v2", web))
	ok(t, "stage", b.Stage)
	for _, name := range []string{"web", "web-front"} {
		half := at(ns, "", `{apiVersion: v1, kind: Service, metadata: {name: `+name+`, namespace: NS}, spec: {selector: {crossfade.dev/colour: green}}}`)
		l.server.WriteAs(t, "crossfade", half)
		want := release.State{Live: "blue", Next: "green", Old: "blue", Led: []colour.Colour{"blue", "green"}, Staged: true, Replicas: 2}
		if got, err := b.Observe(t.Context()); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s is led: %v, %s", name, err, cmp.Diff(want, got))
		}
		for _, c := range []colour.Colour{colour.Blue, colour.Green} {
			refused(t, b.Remove(t.Context(), c), fault.Failed, "it is live")
		}
		refused(t, l.run(t, "three", at(ns, "v3", web)).Stage(t.Context()), fault.Refused, "some of its users are led to its blue version and some to its green one")
		ok(t, "back", b.Back)
		l.reach(t, ns, "v1")
	}
	l.server.WriteAs(t, "crossfade", at(ns, "", `{apiVersion: v1, kind: Service, metadata: {name: web-front, namespace: NS}, spec: {selector: {crossfade.dev/colour: green}}}`))
	ok(t, "switch", b.Switch)
	l.reach(t, ns, "v2")
}

// testUncontrolled switches while no controller runs.
func testUncontrolled(t *testing.T, l *lab, ns string) {
	l.first(t, at(ns, "v1", web))
	b := l.run(t, "two", at(ns, "v2", web))
	ok(t, "stage", b.Stage)
	l.server.Kill(apiserver.Controllers)
	b.RoutedWithin = time.Second
	began := time.Now()
	refused(t, b.Switch(t.Context()), fault.Refused, "are not led to its green version after 1s: Service web leads to pod")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.RoutedWithin, b.Progress = time.Minute, func(string, ...any) { cancel() } // it is told when the Services were applied
	if err := b.Switch(ctx); fault.CodeOf(err) != fault.Interrupted {
		t.Errorf("stopped, got %v", err)
	}
}
