package objects_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// startPair starts two clusters.
func startPair(t *testing.T) *clusters {
	t.Helper()
	from, to := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	return &clusters{from: from, to: to, a: from.Connect(t), b: to.Connect(t)}
}

// TestRefused has the clusters refuse some of what a copy asks of them. The rest is copied, the report says what was refused, by whom
// and what to do about it, and once that is done the same copy completes.
func TestRefused(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	for name, test := range map[string]func(*testing.T, *clusters){
		"a webhook times out":               webhookTimesOut,
		"a webhook rejects":                 webhookRejects,
		"a webhook changes what is written": webhookChanges,
		"quota exceeded":                    quotaExceeded,
		"kinds that may not be read":        unreadable,
		"kinds that may not be written":     unwritable,
		"too many requests":                 tooManyRequests,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

func copyOnly(t *testing.T, a, b *kube.Cluster, namespace string) outcome.Report {
	t.Helper()
	return copyWith(t, a, b, only(namespace))
}

// copyWith copies with patience, as the command does. Objects that fail are in the report.
func copyWith(t *testing.T, a, b *kube.Cluster, rules decide.Rules) outcome.Report {
	t.Helper()
	o := options(rules)
	o.Patience = time.Minute
	report, err := objects.Copy(t.Context(), a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// wantFailures fails the test unless exactly the objects have failed, each with all of the words in its error, and the error of the
// report has the words and advice with the hint.
func wantFailures(t *testing.T, report outcome.Report, failed []string, hint string, words ...string) {
	t.Helper()
	var got []string
	for _, problem := range report.Failures {
		got = append(got, problem.Object)
		if !containsAll(problem.Error, words...) {
			t.Errorf("%s: %q; want the words %q", problem.Object, problem.Error, words)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(failed, got); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
	if err := report.Err(); fault.CodeOf(err) != fault.Failed || !containsAll(err.Error(), words...) || !strings.Contains(fault.HintOf(err), hint) {
		t.Errorf("error %v (%s); want the words %q and the hint %q", err, fault.HintOf(err), words, hint)
	}
}

const webhooks = `
apiVersion: admissionregistration.k8s.io/v1
kind: %[1]s
metadata: {name: %[2]s}
webhooks:
  - name: %[2]s.example.com
    sideEffects: None
    admissionReviewVersions: [v1]
    failurePolicy: Fail
    clientConfig: {url: %[3]q, caBundle: %[4]s}
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[2]s}}
    rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
`

// guard has a webhook of the other cluster asked about ConfigMaps of the namespace of its name, and returns when it is.
func (p *clusters) guard(t *testing.T, kind, name string, answer func(request map[string]any) map[string]any) {
	t.Helper()
	var asked atomic.Bool
	hook := kubetest.Answering(t, func(request map[string]any) map[string]any {
		if request["name"] == "probe" {
			asked.Store(true)
			return map[string]any{"allowed": true}
		}
		return answer(request)
	})
	p.to.WriteAs(t, "kubectl-create", fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %s}}\n---\n", name)+fmt.Sprintf(webhooks, kind, name, hook.URL, hook.CABundle))
	probe := kubetest.Objects(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: probe, namespace: "+name+"}}")[0]
	eventually(t, "the webhook is asked", func() bool {
		if err := p.b.Delete(t.Context(), probe); err != nil {
			t.Fatal(err)
		}
		if _, err := p.b.Create(t.Context(), probe.DeepCopy()); err != nil {
			t.Fatal(err)
		}
		return asked.Load()
	})
	if err := p.b.Delete(t.Context(), probe); err != nil {
		t.Fatal(err)
	}
}

// about answers only requests about one object; it allows all others.
func about(name string, answer func() map[string]any) func(map[string]any) map[string]any {
	return func(request map[string]any) map[string]any {
		if request["name"] != name {
			return map[string]any{"allowed": true}
		}
		return answer()
	}
}

func webhookTimesOut(t *testing.T, p *clusters) {
	fill(t, p.a, "slow", 12)
	var mended atomic.Bool
	p.guard(t, "ValidatingWebhookConfiguration", "slow", about("object-004", func() map[string]any {
		if mended.Load() {
			return map[string]any{"allowed": true}
		}
		return nil
	}))
	report := copyOnly(t, p.a, p.b, "slow")
	wantFailures(t, report, []string{"ConfigMap slow/object-004"}, "see whether what answers for it runs", `webhook "slow.example.com"`, "context deadline exceeded")
	if report.Created != 11 {
		t.Errorf("%s; want everything else", report.Summary())
	}
	mended.Store(true)
	if report := copyOnly(t, p.a, p.b, "slow"); report.Err() != nil || report.Created != 1 {
		t.Errorf("after the webhook answers: %s, %v", report.Summary(), report.Err())
	}
	checkCopied(t, p.a, p.b, "slow")
}

func webhookRejects(t *testing.T, p *clusters) {
	fill(t, p.a, "strict", 12)
	p.guard(t, "ValidatingWebhookConfiguration", "strict", about("object-004", func() map[string]any {
		return map[string]any{"allowed": false, "status": map[string]any{"message": "colour must be green"}}
	}))
	report := copyOnly(t, p.a, p.b, "strict")
	wantFailures(t, report, []string{"ConfigMap strict/object-004"}, "change the object, or the webhook", `admission webhook "strict.example.com" denied the request: colour must be green`)
	if report.Created != 11 {
		t.Errorf("%s; want everything else", report.Summary())
	}
	if err := p.b.Delete(t.Context(), kubetest.Objects(t, "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: strict}}")[0]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rest is copied", func() bool { return copyOnly(t, p.a, p.b, "strict").Err() == nil })
	checkCopied(t, p.a, p.b, "strict")
}

// webhookChanges: what the other cluster makes of an object, it makes of it once.
func webhookChanges(t *testing.T, p *clusters) {
	fill(t, p.a, "eager", 12)
	p.guard(t, "MutatingWebhookConfiguration", "eager", func(map[string]any) map[string]any {
		patch := `[{"op":"add","path":"/metadata/labels/eager","value":"yes"},{"op":"add","path":"/data","value":{"colour":"green"}}]`
		return map[string]any{"allowed": true, "patchType": "JSONPatch", "patch": []byte(patch)}
	})
	report := copyOnly(t, p.a, p.b, "eager")
	if report.Err() != nil || report.Created != 12 {
		t.Errorf("%s, %v", report.Summary(), report.Err())
	}
	want := []string{"ConfigMap eager/object-000 is not kept as it is written: the other cluster makes something else of it, by a webhook perhaps; there may be more of its kind"}
	for range 2 {
		report := copyOnly(t, p.a, p.b, "eager")
		if len(report.Notes) == 1 { // of several at once any may be the first
			report.Notes[0] = regexp.MustCompile(`object-0\d\d`).ReplaceAllString(report.Notes[0], "object-000")
		}
		if diff := cmp.Diff(want, report.Notes); diff != "" || report.Err() != nil || report.Copied() != 0 {
			t.Errorf("again: %s, %v; notes (-want +got):\n%s", report.Summary(), report.Err(), diff)
		}
	}
	data := get(t, p.b, "{apiVersion: v1, kind: ConfigMap, metadata: {name: object-000, namespace: eager}}").Object["data"]
	if diff := cmp.Diff(map[string]any{"colour": "green"}, data); diff != "" {
		t.Errorf("what the webhook made (-want +got):\n%s", diff)
	}
}

func quotaExceeded(t *testing.T, p *clusters) {
	fill(t, p.a, "tight", 12) // six of them ConfigMaps
	quota := "{apiVersion: v1, kind: ResourceQuota, metadata: {name: limit, namespace: tight}, spec: {hard: {count/configmaps: %[1]d}}, status: {hard: {count/configmaps: %[1]d}, used: {count/configmaps: %[2]d}}}"
	p.to.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: tight}}\n---\n"+fmt.Sprintf(quota, 4, 0))
	p.to.SetStatus(t, fmt.Sprintf(quota, 4, 0))
	eventually(t, "the quota is known", func() bool {
		probe := kubetest.Objects(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: probe, namespace: tight}}")[0]
		_, err := p.b.Create(t.Context(), probe)
		return err == nil && p.b.Delete(t.Context(), probe) == nil
	})
	report := copyOnly(t, p.a, p.b, "tight")
	t.Log(report.Failures, report.Err(), fault.HintOf(report.Err()), report.Summary())
	if report.FailedByKind["ConfigMap"] < 2 || report.Failed != report.FailedByKind["ConfigMap"] || report.Created != 12-report.Failed {
		t.Errorf("%s, failed %v; want the ConfigMaps over the limit, and no others", report.Summary(), report.FailedByKind)
	}
	if err := report.Err(); !containsAll(err.Error(), "exceeded quota: limit", "limited: count/configmaps=4") || !strings.Contains(fault.HintOf(err), "raise the quota") {
		t.Errorf("error %v (%s)", err, fault.HintOf(err))
	}
	p.to.WriteAs(t, "kubectl-edit", fmt.Sprintf(quota, 40, 0))
	p.to.SetStatus(t, fmt.Sprintf(quota, 40, 4))
	eventually(t, "the rest is copied", func() bool { return copyOnly(t, p.a, p.b, "tight").Err() == nil })
	checkCopied(t, p.a, p.b, "tight")
}

// permit lets a user do everything with every kind but one, and with that what the verbs say.
func permit(t *testing.T, s *kubetest.Server, user, except, verbs string) {
	t.Helper()
	served, _, err := s.Connect(t).Resources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rules := fmt.Sprintf("{apiGroups: [''], resources: [%s], verbs: [%s]}", except, verbs)
	for _, r := range served {
		if r.Resource != except {
			rules += fmt.Sprintf(", {apiGroups: ['%s'], resources: [%s], verbs: ['*']}", r.Group, r.Resource)
		}
	}
	s.WriteAs(t, "kubectl-create", fmt.Sprintf(`
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: %[1]s}, rules: [%[2]s]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: %[1]s}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[1]s}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[1]s}]}
`, user, rules))
}

func connect(t *testing.T, access cluster.Access) *kube.Cluster {
	t.Helper()
	c, err := kube.Connect(access)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// asUser connects as a user, and returns when the API server knows what he may do.
func asUser(t *testing.T, s *kubetest.Server, user string) *kube.Cluster {
	t.Helper()
	c := connect(t, s.As(t, user))
	eventually(t, user+" may read", func() bool {
		for _, err := range c.List(t.Context(), configMaps, kube.Query{}) {
			return err == nil
		}
		return true
	})
	return c
}

// unreadable: neither Secrets nor an object whose owner is one are copied; what refers to one is, and it is missing.
func unreadable(t *testing.T, p *clusters) {
	fill(t, p.a, "unread", 12)
	secret := get(t, p.a, "{apiVersion: v1, kind: Secret, metadata: {name: object-001, namespace: unread}}")
	p.from.WriteAs(t, "kubectl-create", fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: owned, namespace: unread, ownerReferences: [{apiVersion: v1, kind: Secret, name: object-001, uid: %s, controller: true}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: unread}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "web:1", envFrom: [{secretRef: {name: object-001}}]}]}}
`, secret.GetUID()))
	permit(t, p.from, "reader", "secrets", "create")
	a := asUser(t, p.from, "reader")
	report := copyOnly(t, a, p.b, "unread")
	wantFailures(t, report, []string{"ConfigMap unread/owned", "secrets"}, "the user of the context a needs this permission", `User "reader" cannot `, `resource "secrets"`)
	if diff := cmp.Diff(map[string]int{"ConfigMap": 1, "Secret": 1}, report.FailedByKind); diff != "" || report.Created != 11 {
		t.Errorf("%s; failed by kind (-want +got):\n%s", report.Summary(), diff)
	}
	if diff := cmp.Diff([]string{"Secret unread/object-001, which apps/Deployment unread/web refers to"}, report.Missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	report = copyOnly(t, p.a, p.b, "unread")
	if report.Err() != nil || report.Created != 4 || report.Updated != 0 {
		t.Errorf("with the permission: %s, %v; want the Secrets and what one owns", report.Summary(), report.Err())
	}
	checkCopied(t, p.a, p.b, "unread")
}

func unwritable(t *testing.T, p *clusters) {
	fill(t, p.a, "unwritten", 12)
	permit(t, p.to, "writer", "secrets", "get, list")
	b := asUser(t, p.to, "writer")
	report := copyOnly(t, p.a, b, "unwritten")
	wantFailures(t, report, []string{"Secret unwritten/object-001", "Secret unwritten/object-005", "Secret unwritten/object-009"},
		"the user of the context b needs this permission", `cannot create Secret unwritten/object-0`, `User "writer" cannot create resource "secrets"`)
	if diff := cmp.Diff(map[string]int{"Secret": 3}, report.FailedByKind); diff != "" || report.Created != 10 {
		t.Errorf("%s; failed by kind (-want +got):\n%s", report.Summary(), diff)
	}
	if report := copyOnly(t, p.a, p.b, "unwritten"); report.Err() != nil || report.Created != 3 || report.Updated != 0 {
		t.Errorf("with the permission: %s, %v; want the Secrets", report.Summary(), report.Err())
	}
	checkCopied(t, p.a, p.b, "unwritten")
}

// busy answers what would create Secrets with 429 until it is free, and counts who comes back before the time it has named.
type busy struct {
	free time.Time

	lock           sync.Mutex
	notBefore      map[string]time.Time // by body
	refused, early int
}

func (s *busy) before(pass http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/secrets") {
			pass.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if s.refuses(string(body)) {
			w.Header().Set("Retry-After", "2")
			http.Error(w, "Too many requests, please try again later.", http.StatusTooManyRequests)
			return
		}
		pass.ServeHTTP(w, r)
	})
}

func (s *busy) refuses(body string) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	now := time.Now()
	if now.Before(s.notBefore[body]) {
		s.early++
	}
	s.notBefore[body] = now.Add(2*time.Second - 10*time.Millisecond)
	if now.Before(s.free) {
		s.refused++
		return true
	}
	return false
}

// tooManyRequests: a server that asks to be left alone for a while is, and nothing has failed in the end.
func tooManyRequests(t *testing.T, p *clusters) {
	fill(t, p.a, "busy", 40)
	front := &busy{notBefore: map[string]time.Time{}, free: time.Now().Add(7 * time.Second)}
	b := connect(t, p.to.Behind(t, front.before))
	report := copyOnly(t, p.a, b, "busy")
	if report.Err() != nil || report.Created != 41 {
		t.Errorf("%s, %v", report.Summary(), report.Err())
	}
	if front.refused < 10 || front.early > 0 {
		t.Errorf("%d requests were refused, %d came back before the time; want some and none", front.refused, front.early)
	}
	checkCopied(t, p.a, p.b, "busy")
}
