package release_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
	"github.com/crossfade-dev/crossfade/internal/release"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

func leadsTo(service *unstructured.Unstructured) string {
	return field.String(service, "spec", "selector", colour.Label)
}

// ledBy is what a Service leads by.
func ledBy(service *unstructured.Unstructured) map[string]any {
	return map[string]any{"selector": field.Map(service, "spec", "selector"), "ports": field.List(service, "spec", "ports")}
}

func nestedInt(obj *unstructured.Unstructured, path ...string) (int64, bool, error) {
	return unstructured.NestedInt64(obj.Object, path...)
}

// testAutoscaled stages a version whose users come late, while the live one gets more pods.
func testAutoscaled(t *testing.T, l *lab, ns string) {
	l.first(t, at(ns, "v1", web+scaler))
	scale := func(name string, n string) {
		l.server.WriteAs(t, "horizontal-pod-autoscaler", at(ns, "", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: `+name+`, namespace: NS}, spec: {replicas: `+n+`}}`))
	}
	has := func(reason, name string, want int64) {
		t.Helper()
		if n := replicas(l.get(t, "apps", "Deployment", ns, name)); n != want {
			t.Errorf("%s: %s has %d replicas, want %d", reason, name, n, want)
		}
	}
	scale("web-blue", "9")
	b := l.run(t, "two", at(ns, "v2", web+scaler))
	ok(t, "stage", b.Stage)
	has("as many as run now, but no more than the autoscaler allows", "web-green", 4)
	if l.get(t, "autoscaling", "HorizontalPodAutoscaler", ns, "web-green") != nil {
		t.Error("a version without users has an autoscaler, which takes its pods away")
	}
	scale("web-green", "1")
	ok(t, "switch", b.Switch)
	has("the users find as many pods as they had", "web-green", 4)
	if l.get(t, "autoscaling", "HorizontalPodAutoscaler", ns, "web-green") == nil {
		t.Error("the live version has no autoscaler")
	}
	scale("web-blue", "2")
	ok(t, "back", b.Back)
	has("the users find as many pods as they had", "web-blue", 4)
	l.reach(t, ns, "v1")

	scale("web-green", "1")
	ok(t, "stage over what is left", l.run(t, "three", at(ns, "v3", web+scaler)).Stage)
	has("an autoscaler has set it for the version that was left", "web-green", 4)
	if l.get(t, "autoscaling", "HorizontalPodAutoscaler", ns, "web-green") != nil {
		t.Error("the autoscaler of the version that was left is still there")
	}
}

// testLeftover stages over what earlier versions have left, which cannot be changed into the next one.
func testLeftover(t *testing.T, l *lab, ns string) {
	immutable := strings.Replace(web, "data: {version", "immutable: true, data: {version", 1)
	l.first(t, at(ns, "v1", web))
	for i, tc := range []struct {
		reason, text, version string
		anew                  bool
	}{
		{"nothing is there", web, "v2", true},
		{"what is there can become the next version", web, "v3", false},
		{"the ConfigMap becomes immutable", immutable, "v4", false},
		{"the same is deployed again", immutable, "v4", false},
		{"an immutable ConfigMap changes", immutable, "v5", true},
		{"the selector of the Deployment changes", strings.Replace(web, "matchLabels: {app: web}", "matchLabels: {app: web, tier: front}", 1), "v6", true},
		{"the Deployment has another name, and its pods would be led to together", strings.Replace(web, "metadata: {name: web, namespace: NS}\nspec", "metadata: {name: site, namespace: NS}\nspec", 1), "v7", true},
	} {
		before := l.greens(t, ns)
		b := l.run(t, "run"+string(rune('a'+i)), at(ns, tc.version, tc.text))
		ok(t, tc.reason, b.Stage)
		after := l.greens(t, ns)
		if len(after) != 1 || slices.Equal(before, after) == tc.anew {
			t.Errorf("%s: Deployments %v after %v, want it anew: %v", tc.reason, after, before, tc.anew)
		}
		if got := field.String(l.get(t, "", "ConfigMap", ns, "settings-green"), "data", "version"); got != tc.version {
			t.Errorf("%s: the next version is configured for %s, want %s", tc.reason, got, tc.version)
		}
		l.reach(t, ns, "v1")
	}
	b := l.run(t, "last", at(ns, "v8", strings.Replace(web, "metadata: {name: web, namespace: NS}\nspec", "metadata: {name: site, namespace: NS}\nspec", 1)))
	ok(t, "the live Deployment has another name", b.Stage)
	ok(t, "switch", b.Switch)
	l.reach(t, ns, "v8")
	ok(t, "remove", func(ctx context.Context) error { return b.Remove(ctx, colour.Blue) })
	if l.get(t, "apps", "Deployment", ns, "web-blue") != nil {
		t.Error("the version before is still there by its former name")
	}
}

// greens are the uids of the green Deployments.
func (l *lab) greens(t *testing.T, ns string) []string {
	t.Helper()
	var uids []string
	for _, name := range []string{"web-green", "site-green"} {
		if d := l.get(t, "apps", "Deployment", ns, name); d != nil {
			uids = append(uids, string(d.GetUID()))
		}
	}
	return uids
}

// testRefuses is told why a version is not staged, and nothing of it is there.
func testRefuses(t *testing.T, l *lab, ns string) {
	for name, tc := range map[string]struct{ reason, plain, there, next, says string }{
		"zero":     {reason: "nothing would show that it works", plain: strings.Replace(web, "replicas: 2", "replicas: 0", 1), says: "it runs with no replica"},
		"stray":    {reason: "its users would reach unproved pods", plain: web, there: `{apiVersion: v1, kind: Service, metadata: {name: stray, namespace: NS}, spec: {selector: {tier: front}, ports: [{port: 80}]}}`, says: "Service NS/stray leads to its pods, and is not in its manifests"},
		"dropped":  {reason: "its users would be left alone", plain: web, there: `{apiVersion: v1, kind: Service, metadata: {name: old, namespace: NS}, spec: {selector: {app: web, crossfade.dev/colour: plain}, ports: [{port: 80}]}}`, says: "Service NS/old leads to its pods"},
		"foreign":  {reason: "somebody else's is not overwritten", plain: web, there: `{apiVersion: v1, kind: ConfigMap, metadata: {name: settings-blue, namespace: NS}}`, says: "ConfigMap NS/settings-blue is in the way"},
		"preview":  {reason: "somebody else's is not overwritten", plain: web, there: `{apiVersion: v1, kind: Service, metadata: {name: web-preview, namespace: NS}, spec: {selector: {app: mine}, ports: [{port: 80}]}}`, says: "Service NS/web-preview is in the way"},
		"recreate": {reason: "users would notice that the pods are replaced", plain: strings.Replace(web, "replicas: 2", "replicas: 2\n  strategy: {type: Recreate}", 1), says: "has the strategy Recreate", next: web},
		"renamed":  {reason: "the live version is another Deployment", plain: web, next: strings.Replace(web, "metadata: {name: web, namespace: NS}\nspec", "metadata: {name: site, namespace: NS}\nspec", 1), says: "Service NS/web leads to pods that are not of apps/Deployment NS/site"},
	} {
		t.Run(name, func(t *testing.T) {
			ns := ns + "-" + name
			if _, err := l.c.Apply(t.Context(), kubetest.Objects(t, at(ns, "v1", tc.plain)), t.Logf); err != nil {
				t.Fatal(err)
			}
			if name != "zero" {
				l.settled(t, ns, "web")
			}
			if tc.there != "" {
				l.server.WriteAs(t, "kubectl-create", at(ns, "", tc.there))
			}
			if tc.next == "" {
				tc.next = tc.plain
			}
			before := l.get(t, "apps", "Deployment", ns, "web").GetGeneration()
			refused(t, l.run(t, "two", at(ns, "v2", tc.next)).Stage(t.Context()), fault.Refused, strings.ReplaceAll(tc.says, "NS", ns))
			if l.get(t, "apps", "Deployment", ns, "web-blue") != nil || l.get(t, "apps", "Deployment", ns, "web").GetGeneration() != before {
				t.Errorf("%s, but something was changed", tc.reason)
			}
		})
	}
}

// testInterrupted stops the first deployment of a plain version after one request, after two, and so on, the last of which is done but not
// answered, and goes on from there. No user ever reaches the next version before the switch, and nothing is done twice.
func testInterrupted(t *testing.T, l *lab, ns string) {
	l.plain(t, ns, at(ns, "v1", web))
	cut := &scissors{}
	line, err := kube.Connect(l.server.Behind(t, cut.handle))
	if err != nil {
		t.Fatal(err)
	}
	stops := 0
	for _, step := range []struct {
		name  string
		do    func(*release.BlueGreen, context.Context) error
		reach []string
	}{
		{"stage", (*release.BlueGreen).Stage, []string{"v1"}},
		{"switch", (*release.BlueGreen).Switch, []string{"v1", "v2"}},
		{"back", (*release.BlueGreen).Back, []string{"v1", "v2"}},
		{"switch again", (*release.BlueGreen).Switch, []string{"v1", "v2"}},
		{"remove", func(b *release.BlueGreen, ctx context.Context) error { return b.Remove(ctx, colour.Plain) }, []string{"v2"}},
	} {
		for n, done := 1, false; !done; n++ {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			b := l.run(t, "two", at(ns, "v2", web))
			b.Cluster, b.Progress = line, func(string, ...any) {}
			cut.after(n, cancel)
			done = step.do(b, ctx) == nil
			cancel()
			for _, service := range []string{"web", "web-front"} {
				for _, version := range l.reached(t, ns, service) {
					if !slices.Contains(step.reach, version) {
						t.Fatalf("%s stopped after %d requests: users of %s reach %s", step.name, n, service, version)
					}
				}
			}
			if n > 400 {
				t.Fatalf("%s does not end", step.name)
			}
			stops++
		}
	}
	t.Logf("stopped %d times", stops)
	l.reach(t, ns, "v2")
	if d := l.get(t, "apps", "Deployment", ns, "web-blue"); d.GetGeneration() != 1 {
		t.Errorf("the next version was changed %d times after it was made", d.GetGeneration()-1)
	}
	if stops < 40 || l.get(t, "apps", "Deployment", ns, "web") != nil {
		t.Errorf("stopped %d times, want more, and the plain version to be gone", stops)
	}
}

// scissors stop whoever makes requests after some.
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
		s.lock.Lock()
		s.left--
		left, stop := s.left, s.stop
		s.lock.Unlock()
		if left < 0 {
			http.Error(w, "stopped", http.StatusForbidden)
			return
		}
		if left == 0 {
			pass.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithoutCancel(r.Context())))
			stop()
			return
		}
		pass.ServeHTTP(w, r)
	})
}
