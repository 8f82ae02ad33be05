package withhold

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/field"
)

// namespace is where the objects of the tests are.
const namespace = `{apiVersion: v1, kind: Namespace, metadata: {name: shop}}`

// shop is one of each of what is withheld, and what is left alone.
const shop = `
{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: shop}, spec: {suspend: false, schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: paused, namespace: shop}, spec: {suspend: true, schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}}}
---
{apiVersion: batch/v1, kind: Job, metadata: {name: once, namespace: shop}, spec: {suspend: false, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}
---
{apiVersion: batch/v1, kind: Job, metadata: {name: again, namespace: shop, annotations: {crossfade.dev/idempotent: "true"}}, spec: {suspend: false, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: queue, namespace: shop, labels: {crossfade.dev/singleton: "true"}}, spec: {replicas: 2, selector: {matchLabels: {app: queue}}, template: {metadata: {labels: {app: queue}}, spec: {containers: [{name: c, image: "c:1"}]}}}}
---
{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: queue, namespace: shop}, spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: queue}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: "c:1"}]}}}}
---
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent, namespace: shop, annotations: {crossfade.dev/singleton: "true"}}, spec: {selector: {matchLabels: {app: agent}}, template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: c, image: "c:1"}]}}}}
---
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web, namespace: shop, annotations: {external-dns.alpha.kubernetes.io/ttl: "60"}}, spec: {rules: [{host: shop.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: front, namespace: shop}, spec: {type: LoadBalancer, loadBalancerIP: 192.0.2.1, externalIPs: [192.0.2.2], selector: {app: web}, ports: [{port: 80}]}}
`

// withheld are those of shop that only one generation may have as they are; exclusive are those that do work.
var (
	exclusive = []string{"batch/CronJob shop/nightly", "batch/Job shop/once", "apps/Deployment shop/queue", "apps/DaemonSet shop/agent"}
	withheld  = append(slices.Clone(exclusive), "autoscaling/HorizontalPodAutoscaler shop/queue", "networking.k8s.io/Ingress shop/web", "Service shop/front")
)

// pair is two clusters with the same shop in them; in b it is withheld.
type pair struct {
	servers map[string]*kubetest.Server
	direct  map[string]*kube.Cluster // for looking
	gated   map[string]*kube.Cluster
	gate    *gate
	objects []*unstructured.Unstructured
	said    []string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{servers: map[string]*kubetest.Server{}, direct: map[string]*kube.Cluster{}, gated: map[string]*kube.Cluster{}, gate: &gate{left: -1}}
	for _, name := range []string{"a", "b"} {
		s := kubetest.Start(t, name)
		p.servers[name], p.direct[name], p.gated[name] = s, s.Connect(t), p.gate.through(t, s)
		s.WriteAs(t, "kubectl-create", namespace)
	}
	p.objects = kubetest.Objects(t, shop)
	p.servers["a"].WriteAs(t, "kubectl-create", shop)
	p.create(t, "b", p.objects)
	return p
}

// create makes objects in a cluster as a deployment into a generation that is not active does.
func (p *pair) create(t *testing.T, in string, objs []*unstructured.Unstructured) {
	t.Helper()
	held, err := All(t.Context(), objs, p.direct[in].Find)
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range held {
		if created, err := p.direct[in].Create(t.Context(), obj); err != nil || created == nil {
			t.Fatal(created, err)
		}
	}
}

// handOver hands over through the gate, with little patience.
func (p *pair) handOver(t *testing.T, from, to string, edit ...func(*handOver)) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o := Options{Limit: 100 * time.Millisecond, Progress: func(format string, args ...any) { p.said = append(p.said, fmt.Sprintf(format, args...)) }}
	h, err := newHandOver(ctx, Side{Cluster: p.gated[from]}, Side{Cluster: p.gated[to]}, o)
	if err != nil {
		return err
	}
	h.quiet = 10 * time.Millisecond
	for _, e := range edit {
		e(h)
	}
	return h.run(ctx)
}

// get reads an object by its name as ident.Of has it.
func (p *pair) get(t *testing.T, in, name string) *unstructured.Unstructured {
	t.Helper()
	for _, obj := range p.objects {
		if ident.Of(obj) == name {
			found, err := p.direct[in].Get(t.Context(), obj)
			if err != nil || found == nil {
				t.Fatalf("%s in %s: %v, %v", name, in, found, err)
			}
			return found
		}
	}
	t.Fatalf("%s is none of the objects", name)
	return nil
}

// acts reports whether an object does something to the world outside.
func acts(obj *unstructured.Unstructured) bool {
	switch obj.GetKind() {
	case "CronJob", "Job":
		return !field.Bool(obj, "spec", "suspend")
	case "Deployment":
		replicas, _, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas")
		return replicas > 0
	case "DaemonSet":
		return field.String(obj, "spec", "template", "spec", "nodeSelector", Annotation) == ""
	}
	return false
}

// wantActive wants one cluster to be active and everything in it to be as its users made it, and everything withheld in the other.
func (p *pair) wantActive(t *testing.T, reason, active, standby string) {
	t.Helper()
	for _, obj := range p.objects {
		name := ident.Of(obj)
		theirs, ours := p.get(t, standby, name), p.get(t, active, name)
		if got, want := Held(theirs), slices.Contains(withheld, name); got != want {
			t.Errorf("%s: in %s %s is withheld: %t, want %t", reason, standby, name, got, want)
		}
		annotations := ours.GetAnnotations()
		delete(annotations, "deprecated.daemonset.template.generation")
		if diff := cmp.Diff(obj.GetAnnotations(), annotations, cmpopts.EquateEmpty()); diff != "" || !field.Within(obj.Object["spec"], ours.Object["spec"]) {
			t.Errorf("%s: in %s %s is not as it was made: spec %v, annotations (-want +got):\n%s", reason, active, name, ours.Object["spec"], diff)
		}
	}
	for _, in := range []string{active, standby} {
		want := map[string]any{"generation": in, "active": active, "isActive": fmt.Sprint(in == active)}
		if diff := cmp.Diff(want, p.told(t, in)); diff != "" {
			t.Errorf("%s: what %s is told (-want +got):\n%s", reason, in, diff)
		}
		lease, err := p.direct[in].Get(t.Context(), object("coordination.k8s.io/v1", "Lease", nil))
		if err != nil || lease == nil || field.String(lease, "spec", "holderIdentity") != active {
			t.Errorf("%s: the lease in %s is %v (%v), want it to be of %s", reason, in, lease, err, active)
		}
		if got, err := Active(t.Context(), p.direct[in]); err != nil || got != (in == active) {
			t.Errorf("%s: %s is active: %t, %v", reason, in, got, err)
		}
	}
}

// told is the ConfigMap of a cluster.
func (p *pair) told(t *testing.T, in string) map[string]any {
	t.Helper()
	obj, err := p.direct[in].Get(t.Context(), object("v1", "ConfigMap", nil))
	if err != nil {
		t.Fatal(err)
	}
	if obj == nil {
		return nil
	}
	return field.Map(obj, "data")
}

// neverBoth fails the test when something acts in both clusters after a change.
func (p *pair) neverBoth(t *testing.T) func(*http.Request) {
	return func(r *http.Request) {
		if !strings.Contains(r.URL.Path, "/namespaces/shop/") {
			return
		}
		for _, name := range exclusive {
			if acts(p.get(t, "a", name)) && acts(p.get(t, "b", name)) {
				t.Errorf("after %s %s: %s acts in both clusters", r.Method, r.URL.Path, name)
			}
		}
	}
}

// TestHandOver hands over between two clusters to and fro; nothing ever acts in both.
func TestHandOver(t *testing.T) {
	p := newPair(t)
	p.gate.after = p.neverBoth(t)
	t.Run("ThereAndBack", func(t *testing.T) { thereAndBack(t, p) })
	t.Run("Between", func(t *testing.T) { between(t, p) })
	t.Run("Killed", func(t *testing.T) { killed(t, p) })
}

// between hands over with something to do while neither cluster acts, which fails the first time.
func between(t *testing.T, p *pair) {
	if err := p.handOver(t, "b", "a"); err != nil {
		t.Fatal(err)
	}
	broken, calls := errors.New("broken"), 0
	do := func(h *handOver) {
		h.Between = func(context.Context) error {
			for _, in := range []string{"a", "b"} {
				if told := p.told(t, in); told["active"] != "" || told["isActive"] != "false" {
					t.Errorf("%s is told %v, want that nothing is active", in, told)
				}
				for _, name := range exclusive {
					if acts(p.get(t, in, name)) {
						t.Errorf("%s acts in %s", name, in)
					}
				}
			}
			if calls++; calls == 1 {
				return broken
			}
			return nil
		}
	}
	if err := p.handOver(t, "a", "b", do); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of what is done between", err)
	}
	if told := p.told(t, "b"); told["isActive"] != "false" {
		t.Errorf("b is told %v after a hand-over that has failed", told)
	}
	if err := p.handOver(t, "a", "b", do); err != nil || calls != 2 {
		t.Errorf("handed over with %v after %d calls, want 2", err, calls)
	}
	p.wantActive(t, "with something between", "b", "a")
}

// thereAndBack hands over and back, twice each: what is there the second time is left as it is.
func thereAndBack(t *testing.T, p *pair) {
	for _, sides := range [][2]string{{"a", "b"}, {"b", "a"}, {"a", "b"}} {
		for range 2 {
			if err := p.handOver(t, sides[0], sides[1]); err != nil {
				t.Fatal(err)
			}
			p.wantActive(t, "from "+sides[0]+" to "+sides[1], sides[1], sides[0])
		}
	}
	lease, err := p.direct["b"].Get(t.Context(), object("coordination.k8s.io/v1", "Lease", nil))
	if transitions, _, _ := unstructured.NestedInt64(lease.Object, "spec", "leaseTransitions"); err != nil || transitions != 3 {
		t.Errorf("the lease has changed hands %d times, want 3 (%v)", transitions, err)
	}
}

// killed kills a hand-over at each of its changes. The next call completes it; the other way round, it undoes it.
func killed(t *testing.T, p *pair) {
	active, standby := "b", "a"
	for n := 1; ; n++ {
		p.gate.open(n)
		err := p.handOver(t, active, standby)
		if err == nil {
			if n < 20 {
				t.Errorf("a hand-over makes %d changes only", n)
			}
			t.Logf("%d changes", p.gate.changes())
			return
		}
		p.gate.open(-1)
		back := n%2 == 0
		if back {
			if err := p.handOver(t, standby, active); err != nil {
				t.Fatal(err)
			}
		} else {
			if err := p.handOver(t, active, standby); err != nil {
				t.Fatal(err)
			}
			active, standby = standby, active
		}
		p.wantActive(t, fmt.Sprintf("killed at change %d, undone: %t", n, back), active, standby)
	}
}

// wantNobody wants nothing that is withheld to act in either cluster, and both to know it.
func (p *pair) wantNobody(t *testing.T, reason string) {
	t.Helper()
	for _, in := range []string{"a", "b"} {
		if got := p.told(t, in); got["isActive"] != "false" || got["active"] != "" || got["handOver"] == nil {
			t.Errorf("%s: %s is told %v", reason, in, got)
		}
		for _, name := range exclusive {
			if name != "batch/Job shop/once" && acts(p.get(t, in, name)) {
				t.Errorf("%s: %s acts in %s", reason, name, in)
			}
		}
	}
}

// TestHandOverWaits: what runs comes to its end before the other cluster acts; what does not within the limit is named, and then
// nothing acts, until the same call goes on or the opposite one undoes.
func TestHandOverWaits(t *testing.T) {
	p := newPair(t)
	t.Run("Schedules", func(t *testing.T) { schedules(t, p) })
	a := p.servers["a"]
	run := func(name string) string {
		owner := p.get(t, "a", "batch/CronJob shop/nightly")
		return fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {name: %s, namespace: shop, annotations: {batch.kubernetes.io/cronjob-scheduled-timestamp: "2026-01-03T03:00:00Z"},
  ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: nightly, uid: %s, controller: true}]}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}`, name, owner.GetUID())
	}
	const pod = `{apiVersion: v1, kind: Pod, metadata: {name: queue-1, namespace: shop, labels: {app: queue}}, spec: {serviceAccountName: none, containers: [{name: c, image: "c:1"}]}}`
	a.WriteAs(t, "kubectl-create", `{apiVersion: v1, kind: ServiceAccount, metadata: {name: none, namespace: shop}}`)
	for _, tc := range []struct {
		reason     string
		object     string // what runs in a; a status ends it
		status     string
		end        string
		wants      string
		staysAlone bool // it is not withheld while it runs
	}{
		{reason: "a Job of a CronJob", object: run("nightly-1"), end: ended1, wants: "batch/Job shop/nightly-1"},
		{reason: "a pod of a singleton", object: pod, end: "{phase: Succeeded}", wants: "Pod shop/queue-1"},
		{
			reason: "a Job that has begun", object: p.text(t, "batch/Job shop/once"), status: `{startTime: "2026-01-03T03:00:00Z", active: 1}`,
			end: ended1, wants: "batch/Job shop/once", staysAlone: true,
		},
	} {
		a.WriteAs(t, "kubectl-create", tc.object)
		if tc.status != "" {
			a.SetStatus(t, withStatus(tc.object, tc.status))
		}
		err := p.handOver(t, "a", "b")
		if fault.CodeOf(err) != fault.Refused || !strings.Contains(fmt.Sprint(err), tc.wants) || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v, want it refused, with %s named", tc.reason, err, tc.wants)
		}
		p.wantNobody(t, tc.reason)
		if tc.staysAlone && Held(p.get(t, "a", tc.wants)) {
			t.Errorf("%s was withheld while it ran", tc.reason)
		}
		if err := p.handOver(t, "b", "a"); err != nil {
			t.Fatal(err)
		}
		p.wantActive(t, tc.reason+": undone", "a", "b")
		_ = p.handOver(t, "a", "b") // it still runs
		a.SetStatus(t, withStatus(tc.object, tc.end))
		if err := p.handOver(t, "a", "b"); err != nil {
			t.Fatal(err)
		}
		if tc.staysAlone {
			break // it cannot be begun once more
		}
		p.wantActive(t, tc.reason+": ended", "b", "a")
		if err := p.handOver(t, "b", "a"); err != nil {
			t.Fatal(err)
		}
	}
	once := p.get(t, "b", "batch/Job shop/once")
	if acts(once) || Held(once) || once.GetAnnotations()[RanAnnotation] != "a" {
		t.Errorf("a Job that has run in a is begun in b: %v", once.Object)
	}
	nightly := p.get(t, "b", "batch/CronJob shop/nightly")
	if got := field.String(nightly, "status", "lastScheduleTime"); got != "2026-01-03T03:00:00Z" {
		t.Errorf("b takes the last run for %s, want that of the Job in a", got)
	}
}

const ended1 = `{startTime: "2026-01-03T03:00:00Z", active: 0, completionTime: "2026-01-03T03:01:00Z", succeeded: 1, uncountedTerminatedPods: {},
  conditions: [{type: SuccessCriteriaMet, status: "True", lastTransitionTime: "2026-01-03T03:01:00Z"}, {type: Complete, status: "True", lastTransitionTime: "2026-01-03T03:01:00Z"}]}`

// withStatus is the text of an object with a status.
func withStatus(text, status string) string {
	return strings.TrimSuffix(strings.TrimSpace(text), "}") + ", status: " + status + "}"
}

// text is an object of the shop in YAML.
func (p *pair) text(t *testing.T, name string) string {
	t.Helper()
	for _, doc := range strings.Split(shop, "---") {
		if ident.Of(parse(t, doc)) == name {
			return doc
		}
	}
	t.Fatalf("%s is none of the objects", name)
	return ""
}

// schedules: those that were run in one cluster are not run again in the other.
func schedules(t *testing.T, p *pair) {
	p.create(t, "b", []*unstructured.Unstructured{p.named(t, "batch/CronJob shop/nightly", "new")})
	p.servers["a"].SetStatus(t, withStatus(p.text(t, "batch/CronJob shop/nightly"), "{lastScheduleTime: '2026-01-02T03:00:00Z'}"))
	begin := time.Now().Truncate(time.Second)
	if err := p.handOver(t, "a", "b"); err != nil {
		t.Fatal(err)
	}
	last := func(in string, obj *unstructured.Unstructured) time.Time {
		found, err := p.direct[in].Get(t.Context(), obj)
		if err != nil || found == nil {
			t.Fatal(found, err)
		}
		at, err := time.Parse(time.RFC3339, field.String(found, "status", "lastScheduleTime"))
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if got, want := last("b", p.named(t, "batch/CronJob shop/nightly", "nightly")), time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("a CronJob of both was last run %s, want %s", got, want)
	}
	if got := last("b", p.named(t, "batch/CronJob shop/nightly", "new")); got.Before(begin) {
		t.Errorf("one that a does not have missed what came due since %s, want nothing", got)
	}
	p.servers["b"].SetStatus(t, withStatus(p.text(t, "batch/CronJob shop/nightly"), "{lastScheduleTime: '2026-01-01T03:00:00Z'}"))
	if err := p.handOver(t, "b", "a"); err != nil {
		t.Fatal(err)
	}
	if got, want := last("a", p.named(t, "batch/CronJob shop/nightly", "nightly")), time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("the time of the last run went back to %s from %s", got, want)
	}
}

// named is an object of the shop under another name.
func (p *pair) named(t *testing.T, name, now string) *unstructured.Unstructured {
	t.Helper()
	obj := parse(t, p.text(t, name))
	obj.SetName(now)
	return obj
}
