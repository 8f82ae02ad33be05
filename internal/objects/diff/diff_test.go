package diff

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/objects/model"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// clusters are two API servers, for all the cases of a test: each has a namespace of its own.
type clusters struct {
	from, to *kubetest.Server
	a, b     *kube.Cluster
}

// only are rules for one namespace.
func only(namespace string) decide.Rules {
	return decide.Rules{Only: []spec.Selector{{Namespaces: []string{namespace}}}}
}

func (c clusters) copy(t *testing.T, rules decide.Rules) {
	t.Helper()
	report, err := objects.Copy(t.Context(), c.a, c.b, objects.Options{Rules: rules, Progress: func(string, ...any) {}})
	if err != nil || len(report.Failures) > 0 {
		t.Fatal(err, report.Failures)
	}
}

func (c clusters) compare(t *testing.T, rules decide.Rules) Report {
	t.Helper()
	report, err := Compare(t.Context(), c.a, c.b, rules)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// await waits until a cluster serves kinds of custom resources.
func await(t *testing.T, c *kube.Cluster, kinds ...string) {
	t.Helper()
	deadline, again := time.After(30*time.Second), time.NewTicker(20*time.Millisecond)
	defer again.Stop()
	for slices.ContainsFunc(kinds, func(kind string) bool {
		_, err := c.Namespaced(schema.GroupVersionKind{Group: "shop.example.com", Version: "v1", Kind: kind})
		return err != nil
	}) {
		select {
		case <-deadline:
			t.Fatalf("%v are not served", kinds)
		case <-again.C:
		}
	}
}

func (c clusters) delete(t *testing.T, from *kube.Cluster, text string) {
	t.Helper()
	for _, obj := range kubetest.Objects(t, text) {
		if err := from.Delete(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
}

// lines writes differences the way the tables have them.
func lines(report Report) []string {
	var all []string
	for _, d := range report.Differences {
		line := string(d.Cause) + " " + d.Object
		if len(d.By) > 0 {
			line += " by " + strings.Join(d.By, ",")
		}
		if d.Reason != "" {
			line += " (" + d.Reason + ")"
		}
		all = append(all, line)
		for _, f := range d.Fields {
			all = append(all, fieldLine(f))
		}
	}
	for _, e := range report.Exceptions {
		all = append(all, "except "+e.Object+": "+e.Reason)
		for _, f := range e.Fields {
			all = append(all, fieldLine(f))
		}
	}
	return all
}

func fieldLine(f Field) string {
	line := "  " + f.Path + ": " + string(f.From) + " -> " + string(f.To)
	if f.Secret {
		line = "  " + f.Path + ": secret"
	}
	if len(f.By) > 0 {
		line += " by " + strings.Join(f.By, ",")
	}
	return line
}

// shop is one of everything that is special to compare.
const shop = `
{apiVersion: v1, kind: Namespace, metadata: {name: NS, labels: {team: a}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NS}, data: {colour: blue, size: "1", file.conf: "a=1\nb=2\n"}}
---
{apiVersion: v1, kind: Secret, metadata: {name: key, namespace: NS}, stringData: {password: hunter2, user: anna}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: worker, namespace: NS}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: NS}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}, {apiGroups: [""], resources: [secrets], verbs: [list]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NS}
spec: {type: NodePort, selector: {app: web}, ports: [{name: a, port: 80}, {name: b, port: 81}]}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: NS}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: tool, namespace: NS, annotations: {note: x}}
spec:
  selector: {matchLabels: {app: tool}}
  template:
    metadata: {labels: {app: tool}}
    spec:
      containers:
        - {name: tool, image: "tool:1", env: [{name: A, value: "1"}, {name: B, value: "2"}], args: [-v, -x]}
        - {name: side, image: "side:1", ports: [{containerPort: 80}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: NS}
spec: {schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed, namespace: NS}, spec: {podSelector: {}}}
`

const (
	aConfigMap  = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NS}, data: "
	aSecret     = "{apiVersion: v1, kind: Secret, metadata: {name: key, namespace: NS}, stringData: "
	aDeployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: tool, namespace: NS}, spec: "
	aCronJob    = "{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: NS}, spec: "
	another     = "{apiVersion: v1, kind: ConfigMap, metadata: {name: another, namespace: NS}, data: {a: b}}"
	held        = "except batch/CronJob NS/nightly: withheld until the switch"
)

// TestClusters compares two real clusters, whose cases have a namespace each.
func TestClusters(t *testing.T) {
	c := clusters{from: kubetest.Start(t, "blue"), to: kubetest.Start(t, "green")}
	c.a, c.b = c.from.Connect(t), c.to.Connect(t)
	t.Run("Edits", c.edits)
	t.Run("Kinds", c.kinds)
	t.Run("Random", c.random)
	t.Run("Again", c.again)
	t.Run("Brought", c.brought)
	t.Run("Forbidden", c.forbidden)
	t.Run("Frozen", c.frozen)
}

// edits changes what was copied, in either cluster, and says what is named then.
func (c clusters) edits(t *testing.T) {
	tests := map[string]struct {
		reason       string
		before       string // in the other cluster, before the copy
		never        bool   // there is no copy
		inA, inB     string // merged in after it
		byB          string // merged in by a controller
		goneA, goneB string // deleted after it
		scaleB       bool
		conflicts    map[string]string
		want         []string
	}{
		"same": {reason: "what a copy changes on purpose is no difference", want: []string{held}},
		"edited there": {
			reason: "it says who", inB: aConfigMap + "{colour: green}}",
			want: []string{"changed ConfigMap NS/settings", `  data.colour: "blue" -> "green" by kubectl-edit`, held},
		},
		"added there": {
			reason: "so it does of what is new",
			inB:    aConfigMap + "{shape: round}}\n---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: worker, namespace: NS}, automountServiceAccountToken: false}",
			want: []string{
				"changed ConfigMap NS/settings", `  data.shape:  -> "round" by kubectl-edit`,
				"changed ServiceAccount NS/worker", `  automountServiceAccountToken:  -> false by kubectl-edit`, held,
			},
		},
		"added by a controller": {
			reason: "it is of that cluster",
			inA:    "{apiVersion: v1, kind: ServiceAccount, metadata: {name: worker, namespace: NS}, automountServiceAccountToken: false}",
			byB:    "{apiVersion: v1, kind: ServiceAccount, metadata: {name: worker, namespace: NS}, imagePullSecrets: [{name: a}]}",
			want:   []string{"behind ServiceAccount NS/worker", "  automountServiceAccountToken: false -> ", held},
		},
		"removed there": {
			reason: "nobody is known for what is not there", inB: aConfigMap + "{size: null}}",
			want: []string{"changed ConfigMap NS/settings", `  data.size: "1" -> `, held},
		},
		"edited here": {
			reason: "the copy is behind", inA: aConfigMap + `{colour: red, size: null, new: "1"}}`,
			want: []string{"behind ConfigMap NS/settings", `  data.colour: "red" -> "blue"`, `  data.new: "1" -> `, `  data.size:  -> "1"`, held},
		},
		"edited in both": {
			reason: "that of the other cluster counts, as a copy does not undo it",
			inA:    aConfigMap + `{colour: red, size: "2"}}`, inB: aConfigMap + "{colour: green}}",
			want: []string{"changed ConfigMap NS/settings", `  data.colour: "red" -> "green" by kubectl-edit`, `  data.size: "2" -> "1"`, held},
		},
		"target wins": {
			reason: "as the configuration says", inB: aConfigMap + "{colour: green}}", conflicts: map[string]string{"ConfigMap": "target"},
			want: []string{
				"except ConfigMap NS/settings: left as it was changed in the other cluster", `  data.colour: "blue" -> "green" by kubectl-edit`, held,
			},
		},
		"secret there": {
			reason: "values of Secrets are not shown", inB: aSecret + "{password: hunter3, more: x}}",
			want: []string{"changed Secret NS/key", "  data.more: secret by kubectl-edit", "  data.password: secret by kubectl-edit", held},
		},
		"secret here": {
			reason: "the copy is behind", inA: aSecret + "{user: berta}}",
			want: []string{"behind Secret NS/key", "  data.user: secret", held},
		},
		"lists": {
			reason: "items are told apart by their names",
			inB: aDeployment + `{template: {spec: {containers: [
				{name: side, image: "side:1", ports: [{containerPort: 81}]},
				{name: tool, image: "tool:2", env: [{name: A, value: "1"}, {name: C, value: "3"}], args: [-v]}]}}}}`,
			want: []string{
				"changed apps/Deployment NS/tool",
				`  spec.template.spec.containers[tool].args: ["-v","-x"] -> ["-v"] by kubectl-edit`,
				`  spec.template.spec.containers[tool].env[B]: {"name":"B","value":"2"} -> `,
				`  spec.template.spec.containers[tool].env[C]:  -> {"name":"C","value":"3"} by kubectl-edit`,
				`  spec.template.spec.containers[tool].image: "tool:1" -> "tool:2" by kubectl-edit`,
				`  spec.template.spec.containers[side].ports[80/TCP]: {"containerPort":80,"protocol":"TCP"} -> `,
				`  spec.template.spec.containers[side].ports[81/TCP]:  -> {"containerPort":81,"protocol":"TCP"} by kubectl-edit`,
				`  spec.template.spec.containers: ["tool","side"] -> ["side","tool"] by kubectl-edit`, held,
			},
		},
		"labels": {
			reason: "keys with dots are told apart from fields",
			inB:    "{apiVersion: v1, kind: Namespace, metadata: {name: NS, labels: {a.b/c: d, team: b}}}",
			want:   []string{"changed Namespace NS", `  metadata.labels[a.b/c]:  -> "d" by kubectl-edit`, `  metadata.labels.team: "a" -> "b" by kubectl-edit`, held},
		},
		"missing":      {reason: "a copy would create it", inA: another, goneB: aConfigMap + "{}}", want: []string{"missing ConfigMap NS/another", "missing ConfigMap NS/settings", held}},
		"extra":        {reason: "made by somebody", inB: another, want: []string{"extra ConfigMap NS/another by kubectl-edit", held}},
		"left":         {reason: "the next copy deletes it", goneA: aConfigMap + "{}}", want: []string{"leftover ConfigMap NS/settings", held}},
		"gone in both": {reason: "nothing is to be said", goneA: aConfigMap + "{}}", goneB: aConfigMap + "{}}", want: []string{held}},
		"conflict": {
			reason: "it was there before, and the copy has left it", before: aConfigMap + "{colour: green}}", want: []string{
				"different ConfigMap NS/settings", `  data.colour: "blue" -> "green" by kubectl-edit`, `  data[file.conf]: "a=1\nb=2\n" -> `, `  data.size: "1" -> `, held,
			},
		},
		"taken over": {
			reason: "it was there before, and was completed", before: aConfigMap + "{colour: blue}}", inB: aConfigMap + `{size: "2"}}`,
			want: []string{"changed ConfigMap NS/settings", `  data.size: "1" -> "2" by kubectl-edit`, held},
		},
		"scaled": {
			reason: "whoever scales it there goes on to", scaleB: true,
			want: []string{"except apps/Deployment NS/tool: scaled in the other cluster since it was copied", held},
		},
		"scaled and edited": {
			reason: "a copy of it is none of the replicas", scaleB: true,
			inB:  "{apiVersion: apps/v1, kind: Deployment, metadata: {name: tool, namespace: NS, annotations: {note: null}}}",
			want: []string{"changed apps/Deployment NS/tool", `  metadata.annotations.note: "x" -> `, "except apps/Deployment NS/tool: scaled in the other cluster since it was copied", held},
		},
		"being deleted": {
			reason: "what is about to go is not there", goneB: aConfigMap + "{}}",
			inB:  "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NS, finalizers: [shop.example.com/wait]}}",
			want: []string{"missing ConfigMap NS/settings (it is being deleted there)", held},
		},
		"released by hand": {
			reason: "it runs in both", inB: "{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: NS, annotations: {crossfade.dev/withheld: null}}, spec: {suspend: false}}",
			want: []string{
				"changed batch/CronJob NS/nightly", `  metadata.annotations[crossfade.dev/withheld]: "{\"/spec/suspend\":false}" -> `, "  spec.suspend: true -> false by kubectl-edit",
			},
		},
		"running in both": {
			reason: "what nobody has copied is nobody's to withhold", before: aCronJob + `{schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "c:1"}]}}}}}}`,
			never: true, want: []string{"except batch/CronJob NS/nightly: withheld in neither cluster"},
		},
		"withheld and edited": {
			reason: "what is withheld is compared all the same", inB: aCronJob + `{schedule: "0 4 * * *"}}`,
			want: []string{"changed batch/CronJob NS/nightly", `  spec.schedule: "0 3 * * *" -> "0 4 * * *" by kubectl-edit`, held},
		},
		"running though withheld": {
			reason: "somebody has let it go", inB: aCronJob + `{suspend: false}}`,
			want: []string{"changed batch/CronJob NS/nightly", `  spec.suspend: true -> false by kubectl-edit`, held},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ns := strings.ReplaceAll(name, " ", "-")
			in := func(text string) string { return strings.ReplaceAll(text, "NS", ns) }
			c.from.WriteAs(t, "kubectl-create", in(shop))
			if test.before != "" {
				c.to.WriteAs(t, "kubectl-edit", in("{apiVersion: v1, kind: Namespace, metadata: {name: NS}}\n---\n"+test.before))
			}
			rules := only(ns)
			rules.Conflicts = test.conflicts
			if !test.never {
				c.copy(t, rules)
			}
			if test.scaleB {
				if _, err := c.b.Patch(t.Context(), kubetest.Objects(t, in(aDeployment+"{}}"))[0], []byte(`{"spec":{"replicas":3}}`), "scale"); err != nil {
					t.Fatal(err)
				}
				c.copy(t, rules)
			}
			c.from.WriteAs(t, "kubectl-edit", in(test.inA))
			c.to.WriteAs(t, "kubectl-edit", in(test.inB))
			c.to.WriteAs(t, "kube-controller-manager", in(test.byB))
			c.delete(t, c.a, in(test.goneA))
			c.delete(t, c.b, in(test.goneB))
			report := c.compare(t, rules)
			got := lines(report)
			if test.never { // most of it is missing
				got = slices.DeleteFunc(got, func(line string) bool { return !strings.HasPrefix(line, "except") })
			}
			var want []string
			for _, line := range test.want {
				want = append(want, in(line))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if len(report.Trouble) > 0 || report.Compared < 9 {
				t.Errorf("compared %d, trouble %v", report.Compared, report.Trouble)
			}
		})
	}
}

// kinds: some that only one cluster serves, or serves otherwise, and what each of them brings by itself.
func (c clusters) kinds(t *testing.T) {
	definition := func(name, more string) string {
		return fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]ss.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {kind: %[2]s, plural: %[1]ss}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {
    percent: {type: integer}, old: {type: string}%[3]s}}}}}}]
`, strings.ToLower(name), name, more)
	}
	c.from.WriteAs(t, "kubectl-create", definition("Coupon", "")+"---"+definition("Gift", "")+"---\n{apiVersion: v1, kind: Namespace, metadata: {name: kinds}}")
	c.to.WriteAs(t, "kubectl-create", definition("Coupon", ", mode: {type: object, default: {}, properties: {speed: {type: string, default: slow}}}, old: {type: string, default: x}, extra: {type: string}")+
		"---"+definition("Sale", ""))
	await(t, c.a, "Coupon", "Gift")
	await(t, c.b, "Coupon", "Sale")
	coupon := "{apiVersion: shop.example.com/v1, kind: Coupon, metadata: {name: ten, namespace: kinds}, spec: "
	c.from.WriteAs(t, "kubectl-create", coupon+"{percent: 10}}")
	rules := only("kinds")
	c.copy(t, rules)
	theirs := "except apiextensions.k8s.io/CustomResourceDefinition coupons.shop.example.com: the other cluster has its own"
	got := lines(c.compare(t, rules))
	if len(got) == 0 || !strings.HasPrefix(got[0], theirs) {
		t.Errorf("definitions of both: %q", got)
	}
	check := func(reason string, want ...string) {
		t.Helper()
		var got []string
		for _, line := range lines(c.compare(t, rules)) {
			if strings.HasPrefix(line, "except") {
				break
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
	check("defaults of the other API are no differences")
	c.from.WriteAs(t, "kubectl-edit", coupon+"{percent: 20}}")
	check("nor are they beside what is different", "behind shop.example.com/Coupon kinds/ten", "  spec.percent: 20 -> 10")
	c.to.WriteAs(t, "kubectl-edit", coupon+"{mode: {speed: fast}}}")
	check("unless somebody has set another value", "changed shop.example.com/Coupon kinds/ten", `  spec.mode.speed:  -> "fast" by kubectl-edit`, "  spec.percent: 20 -> 10")

	five := strings.Replace(coupon, "ten", "five", 1)
	c.from.WriteAs(t, "kubectl-create", five+"{percent: 5}}")
	c.to.WriteAs(t, "kubectl-create", five+"{percent: 5, extra: x}}")
	rules.Exclude = []spec.Selector{{Names: []string{"ten"}}}
	check("what the first cluster's API does not have cannot be the same in an object that was made in both")

	rules.Exclude = []spec.Selector{{Kinds: []string{"Coupon"}}}
	c.from.WriteAs(t, "kubectl-create", "{apiVersion: shop.example.com/v1, kind: Gift, metadata: {name: a, namespace: kinds}}")
	c.to.WriteAs(t, "kubectl-create", "{apiVersion: shop.example.com/v1, kind: Sale, metadata: {name: b, namespace: kinds}, spec: {percent: 1}}")
	check("kinds of one cluster",
		"missing apiextensions.k8s.io/CustomResourceDefinition gifts.shop.example.com",
		"unserved shop.example.com/Gift kinds/a (the other cluster does not serve its kind: install there what defines it, or leave it out with copy.exclude)",
		"extra shop.example.com/Sale kinds/b by kubectl-create")
}

// forbidden: kinds that may not be read are trouble by name, and the rest is compared.
func (c clusters) forbidden(t *testing.T) {
	c.from.WriteAs(t, "kubectl-create", strings.ReplaceAll(shop, "NS", "shop"))
	c.copy(t, only("shop"))
	c.to.WriteAs(t, "kubectl-edit", strings.ReplaceAll(aConfigMap+"{colour: green}}", "NS", "shop"))
	c.to.WriteAs(t, "kubectl-create", `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: some}
rules:
  - {apiGroups: ["", apps, rbac.authorization.k8s.io, networking.k8s.io], resources: [namespaces, configmaps, deployments, networkpolicies, serviceaccounts, services, persistentvolumeclaims], verbs: [get, list]}
  - {apiGroups: [rbac.authorization.k8s.io], resources: [roles], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: some}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: some}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: viewer}]
`)
	c.b = viewer(t, c.to)
	rules := only("shop")
	rules.Only[0].Kinds = []string{"Secret", "ConfigMap", "Deployment", "CronJob"}
	report := c.compare(t, rules)
	if diff := cmp.Diff([]string{"changed ConfigMap shop/settings", `  data.colour: "blue" -> "green" by kubectl-edit`}, lines(report)); diff != "" {
		t.Errorf("what may be read (-want +got):\n%s", diff)
	}
	var got []string
	for _, trouble := range report.Trouble {
		got = append(got, trouble.Cluster+" "+trouble.Kind+": "+trouble.Error)
	}
	want := []string{
		`green cronjobs.batch: cannot list cronjobs.batch: cronjobs.batch is forbidden: User "viewer" cannot list resource "cronjobs" in API group "batch" at the cluster scope`,
		`green customresourcedefinitions.apiextensions.k8s.io: cannot list customresourcedefinitions.apiextensions.k8s.io: customresourcedefinitions.apiextensions.k8s.io is forbidden: User "viewer" cannot list resource "customresourcedefinitions" in API group "apiextensions.k8s.io" at the cluster scope`,
		`green secrets: cannot list secrets: secrets is forbidden: User "viewer" cannot list resource "secrets" in API group "" at the cluster scope`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("trouble (-want +got):\n%s", diff)
	}
	if err := report.Err(); fault.CodeOf(err) != fault.Trouble || fault.ExitStatus(err) != 2 {
		t.Errorf("got %v", err)
	}
}

// frozen: a cluster that does not answer is no trouble with kinds.
func (c clusters) frozen(t *testing.T) {
	c.from.Freeze(t)
	if _, err := Compare(t.Context(), c.a, c.b, only("shop")); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

// again: what a list has not shown is looked for before it is told.
func (c clusters) again(t *testing.T) {
	c.from.WriteAs(t, "kubectl-create", strings.ReplaceAll(shop, "NS", "again"))
	c.copy(t, only("again"))
	resource := kube.Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, Kind: "ConfigMap", Namespaced: true}
	copying, err := model.New(t.Context(), c.a, c.b, decide.Rules{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := c.a.Get(t.Context(), kubetest.Objects(t, strings.ReplaceAll(aConfigMap+"{}}", "NS", "again"))[0])
	if err != nil || obj == nil {
		t.Fatal(obj, err)
	}
	for name, test := range map[string]struct {
		before int32 // differences that were looked at again
		doubt  bool
		want   int
	}{"first": {}, "late": {before: lookedAtAgain, want: 1}, "late, in disorder": {before: lookedAtAgain, doubt: true}} {
		for _, pair := range [][2]*unstructured.Unstructured{{obj, nil}, {nil, obj}} {
			w := walk{comparer: &comparer{from: c.a, to: c.b, model: copying}, kind: kind{resource: resource, from: true, to: true}, found: newCollector("", "")}
			w.again.Store(test.before)
			if err := w.judge(t.Context(), pair[0], pair[1], test.doubt); err != nil {
				t.Fatal(err)
			}
			if got := w.found.result().Count(); got != test.want {
				t.Errorf("%s: %d differences, want %d", name, got, test.want)
			}
		}
	}
}

// brought: what comes with a cluster is no difference, whether or not the other one has the like.
func (c clusters) brought(t *testing.T) {
	class := "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: class-%s}, provisioner: %s}"
	c.from.WriteAs(t, "kubectl-create", fmt.Sprintf(class, "both", "a"))
	c.to.WriteAs(t, "kubectl-create", fmt.Sprintf(class, "both", "b")+"\n---\n"+fmt.Sprintf(class, "theirs", "b"))
	report := c.compare(t, decide.Rules{Only: []spec.Selector{{Names: []string{"class-*"}}}})
	want := []string{
		"except storage.k8s.io/StorageClass class-both: the other cluster has its own", `  provisioner: "a" -> "b" by kubectl-create`,
		"except storage.k8s.io/StorageClass class-theirs: the other cluster has its own",
	}
	if diff := cmp.Diff(want, lines(report)); diff != "" || report.Compared != 2 {
		t.Errorf("compared %d (-want +got):\n%s", report.Compared, diff)
	}
}

// viewer connects to a server as a user who may do what was granted to him, and nothing else.
func viewer(t *testing.T, s *kubetest.Server) *kube.Cluster {
	t.Helper()
	text, err := os.ReadFile(s.Access.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	access := cluster.Access{Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), Context: s.Access.Context}
	text = bytes.ReplaceAll(text, []byte("user: {token"), []byte("user: {as: viewer, token"))
	if err := os.WriteFile(access.Kubeconfig, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := kube.Connect(access)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestServed: what does not answer is trouble, but for metrics, which nobody copies.
func TestServed(t *testing.T) {
	group := func(name string) string {
		return `{"metadata": {"name": "` + name + `"}, "versions": [{"version": "v1", "freshness": "Stale", "resources": []}]}`
	}
	answer := func(groups ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
			fmt.Fprintf(w, `{"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": [%s]}`, strings.Join(groups, ","))
		}
	}
	server := kubetest.Answer(t, map[string]http.HandlerFunc{
		"/api":  answer(`{"metadata": {"name": ""}, "versions": [{"version": "v1", "freshness": "Current", "resources": [{"resource": "secrets", "responseKind": {"group": "", "version": "v1", "kind": "Secret"}, "scope": "Namespaced", "verbs": ["create", "list", "patch"]}]}]}`),
		"/apis": answer(group("metrics.k8s.io"), group("custom.metrics.k8s.io"), group("shop.example.com")),
	})
	found := newCollector("", "")
	resources, err := served(t.Context(), server.Connect(t), found)
	if err != nil || len(resources) != 1 {
		t.Errorf("served: %v, %v", resources, err)
	}
	want := []Trouble{{Kind: "shop.example.com/v1", Cluster: "canned", Error: "its own API server does not answer"}}
	if diff := cmp.Diff(want, found.result().Trouble); diff != "" {
		t.Errorf("trouble (-want +got):\n%s", diff)
	}
}
