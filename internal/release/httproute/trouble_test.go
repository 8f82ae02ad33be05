package httproute_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects/withhold"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
	"github.com/crossfade-dev/crossfade/internal/release/httproute"
)

// testFirst opens a service in a cluster in which no user knows it.
func testFirst(t *testing.T, l *lab, ns string) {
	l.server.ApplyAs(t, "crossfade", l.at(ns, "fixed", fixed))
	b := l.run(t, "one", l.at(ns, "v1", web))
	b.Front.(*httproute.Front).Standby = true
	ok(t, "first", func(ctx context.Context) error {
		objs, err := b.First(ctx)
		if err == nil {
			_, err = l.c.Apply(ctx, objs, t.Logf)
		}
		return err
	})
	if l.get(t, "HTTPRoute.gateway.networking.k8s.io", ns, "web") != nil {
		t.Error("the route is there before anybody is to be led by it")
	}
	ok(t, "open", b.Open)
	ok(t, "open again", b.Open)
	l.leads(t, ns, [][]string{{"web-blue=100"}, {"web-blue=300", "fixed=100"}})
	await(t, "users reach it", func() bool { return l.ask(ns, "/") == "v1" })
	if !withhold.Held(l.get(t, "HTTPRoute.gateway.networking.k8s.io", ns, "web")) {
		t.Error("the name of a route is published before it is the cluster's turn")
	}
}

// testChanged has a person share the users out in the middle of a switch: that stays, and is said. The way out is the one that the hint names.
func testChanged(t *testing.T, l *lab, ns string) {
	l.plain(t, ns, web)
	b := l.run(t, "two", l.at(ns, "v2", web))
	ok(t, "stage", b.Stage)
	ok(t, "share", func(ctx context.Context) error { return b.Share(ctx, 10) })
	edited := l.at(ns, "", route)
	edited = strings.Replace(edited, "[{name: web, port: 80}]", "[{name: web-plain, port: 80, weight: 40}, {name: web-blue, port: 80, weight: 60}]", 1)
	edited = strings.Replace(edited, "{name: web, port: 80, weight: 3}", "{name: web-plain, port: 80, weight: 3}", 1)
	l.server.WriteAs(t, "kubectl-edit", edited)
	by := [][]string{{"web-plain=40", "web-blue=60"}, {"web-plain=3", "fixed=1"}}

	const says = "kubectl-edit has changed the rules of gateway.networking.k8s.io/HTTPRoute "
	refused(t, b.Share(t.Context(), 50), fault.Refused, says)
	refused(t, b.Switch(t.Context()), fault.Refused, says)
	refused(t, b.Back(t.Context()), fault.Refused, says)
	refused(t, b.Front.Remove(t.Context(), colour.Blue), fault.Refused, says)
	refused(t, l.run(t, "three", l.at(ns, "v3", web)).Front.(release.Checker).Check(t.Context()), fault.Refused, says)
	l.leads(t, ns, by)

	l.server.WriteAs(t, "kubectl-edit", strings.Replace(strings.Replace(edited, "weight: 40", "weight: 1", 1), "weight: 60", "weight: 0", 1))
	l.server.WriteAs(t, "kubectl-annotate", l.at(ns, "", `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: web, namespace: NS, annotations: {`+httproute.SharesAnnotation+`: null}}}`))
	b = l.run(t, "three", l.at(ns, "v3", web))
	ok(t, "stage when the users are on one version again", b.Stage)
	ok(t, "switch", b.Switch)
	l.leads(t, ns, [][]string{{"web-blue=100", "web-plain=0"}, {"web-blue=300", "web-plain=0", "fixed=100"}})
}

// testUnaccepted leads users by a route that its Gateway does not take.
func testUnaccepted(t *testing.T, l *lab, ns string) {
	l.plain(t, ns, web)
	b := l.run(t, "two", strings.Replace(l.at(ns, "v2", web), ns+".example.com", ns+".example.net", 1))
	b.Front.(*httproute.Front).Within = 3 * time.Second
	refused(t, b.Stage(t.Context()), fault.Refused, "Accepted is False, NoMatchingListenerHostname")
	l.leads(t, ns, [][]string{{"web=1"}, {"web=3", "fixed=1"}})
	await(t, "users are led as before", func() bool { return l.ask(ns, "/") == "v1" })
	missing := l.run(t, "three", strings.Replace(l.at(ns, "v2", web), "{name: fixed, port: 80", "{name: nowhere, port: 80", 1))
	missing.Front.(*httproute.Front).Within = 3 * time.Second
	refused(t, missing.Stage(t.Context()), fault.Refused, "ResolvedRefs is False, BackendNotFound")
	two := strings.Replace(l.at(ns, "v2", web), "[{name: public, namespace: gateway}]", "[{name: public, namespace: gateway, sectionName: web}, {name: public, namespace: gateway, sectionName: tls}]", 1)
	b = l.run(t, "four", two)
	b.Front.(*httproute.Front).Within = 3 * time.Second
	refused(t, b.Stage(t.Context()), fault.Refused, "Accepted is False, NoMatchingParent")
}

// testRefuses is told why a version is not staged, and nothing of it is there.
func testRefuses(t *testing.T, l *lab, ns string) {
	const other = `
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: other, namespace: gateway}, spec: {gatewayClassName: nobody, listeners: [{name: web, protocol: HTTP, port: 80}]}}`
	for name, tc := range map[string]struct{ reason, old, new, there, says string }{
		"no-api":     {reason: "the kind is not served", old: "gateway.networking.k8s.io/v1\nkind: HTTPRoute", new: "gateway.networking.k8s.io/v9\nkind: HTTPRoute", says: "the cluster does not serve HTTPRoute of the Gateway API"},
		"no-gateway": {reason: "nobody would take the route", old: "{name: public, namespace: gateway}", new: "{name: private, namespace: gateway}", says: "there is no Gateway gateway/private, which gateway.networking.k8s.io/HTTPRoute NS/web names"},
		"no-class":   {reason: "nobody looks after the Gateway", old: "{name: public, namespace: gateway}", new: "{name: other, namespace: gateway}", there: other, says: "no controller has accepted Gateway gateway/other, of the class nobody"},
		"port":       {reason: "the live version would be lost", old: "[{name: web, port: 80}]", new: "[{name: web, port: 81}]", says: "leads to port 81 of Service NS/web, which the version that is live does not have"},
		"foreign":    {reason: "somebody else's is not overwritten", there: `{apiVersion: v1, kind: Service, metadata: {name: web-blue, namespace: NS}, spec: {selector: {app: mine}, ports: [{port: 80}]}}`, says: "Service NS/web-blue is in the way"},
		"abandoned":  {reason: "its users would be left alone", there: strings.NewReplacer("name: web,", "name: old,", "{name: web, port: 80}", "{name: web-plain, port: 80}").Replace(route), says: "HTTPRoute NS/old leads to one of its versions, and is not in its manifests"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := ns + "-" + name
			l.plain(t, ns, web)
			if tc.there != "" {
				l.server.WriteAs(t, "kubectl-create", l.at(ns, "", tc.there))
			}
			next := l.at(ns, "v2", web)
			if tc.old != "" {
				next = strings.Replace(next, tc.old, tc.new, 1)
			}
			refused(t, l.run(t, "two", next).Stage(t.Context()), fault.Refused, strings.ReplaceAll(tc.says, "NS", ns))
			if l.get(t, "Deployment.apps", ns, "web-blue") != nil || l.ask(ns, "/") != "v1" {
				t.Errorf("%s, but something was changed", tc.reason)
			}
		})
	}
}

// testKilled stops the front after one change of the cluster, after two, and so on, the last of which is done but not answered, and calls it
// again. Nobody is left alone meanwhile.
func testKilled(t *testing.T, l *lab, ns string) {
	l.plain(t, ns, web)
	stop := l.users(t, ns)
	ok(t, "stage", l.run(t, "v2", l.at(ns, "v2", web)).Stage)
	cut := &scissors{}
	line, err := kube.Connect(l.server.Behind(t, cut.handle))
	if err != nil {
		t.Fatal(err)
	}
	stops := 0
	for _, step := range []struct {
		name, version string
		do            func(*release.BlueGreen, context.Context) error
	}{
		{"share", "v2", func(b *release.BlueGreen, ctx context.Context) error { return b.Share(ctx, 30) }},
		{"switch", "v2", (*release.BlueGreen).Switch},
		{"back", "v2", (*release.BlueGreen).Back},
		{"switch again", "v2", (*release.BlueGreen).Switch},
		{"remove", "v2", func(b *release.BlueGreen, ctx context.Context) error { return b.Front.Remove(ctx, colour.Plain) }},
		{"stage", "v3", (*release.BlueGreen).Stage},
	} {
		for n, done := 1, false; !done; n++ {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			b := l.runIn(t, line, step.version, l.at(ns, step.version, web))
			cut.after(n, cancel)
			done = step.do(b, ctx) == nil
			cancel()
			if n > 40 {
				t.Fatalf("%s does not end", step.name)
			}
			stops++
		}
	}
	t.Logf("stopped %d times", stops)
	if stops < 12 {
		t.Errorf("stopped %d times, want more", stops)
	}
	l.leads(t, ns, [][]string{{"web-blue=100", "web-green=0"}, {"web-blue=300", "web-green=0", "fixed=100"}})
	stop()
}

// scissors stop whoever changes something after some changes.
type scissors struct {
	lock sync.Mutex
	left int
	stop func()
}

func (s *scissors) after(n int, stop func()) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.left, s.stop = n, stop
}

func (s *scissors) handle(pass http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.URL.Query().Has("dryRun") {
			pass.ServeHTTP(w, r)
			return
		}
		s.lock.Lock()
		s.left--
		left, stop := s.left, s.stop
		s.lock.Unlock()
		switch {
		case left < 0:
			http.Error(w, "stopped", http.StatusForbidden)
		case left == 0:
			pass.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithoutCancel(r.Context())))
			stop()
		default:
			pass.ServeHTTP(w, r)
		}
	})
}
