package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/host/sshdtest"
	"github.com/crossfade-dev/crossfade/internal/load"
	"github.com/crossfade-dev/crossfade/internal/nginxctl/nginxtest"
)

// How many deployments and kills there are; make soak has many.
const (
	deploysVariable = "CROSSFADE_SOAK_DEPLOYS"
	killsVariable   = "CROSSFADE_SOAK_KILLS"
)

// times is a number from the environment.
func times(t *testing.T, variable string, unset int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return unset
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no number of times", variable, text)
	}
	return n
}

// way is how users come to the service web, and so how they are led to its next version.
type way struct {
	name  string
	world func(*testing.T) *world
	users func(*world) (*load.Generator, func() load.Report)
}

// ways are by the selectors of its Kubernetes Services alone, by the weights of an HTTPRoute, and by the nginx of a node.
func ways() []way {
	var node *nginxtest.Nginx
	straight := func(w *world) (*load.Generator, func() load.Report) { return w.users(300) }
	return []way{
		{"Services", func(t *testing.T) *world { return newWorld(t, soaking("drain: 1s")...) }, straight},
		{"Gateway", func(t *testing.T) *world {
			w := newWorld(t, soaking("drain: 5s\n      front: {httpRoute: {steps: [50, 100], interval: 1s}}")...)
			w.install()
			for _, e := range gatewayed[:len(gatewayed)-1] {
				w.replace(e.file, e.old, e.now)
			}
			return w
		}, straight},
		{"Nginx", func(t *testing.T) *world {
			s := sshdtest.Start(t)
			there := nginxtest.Start(t, "shop_web")
			node = nginxtest.Start(t, "shop_web")
			return newWorld(t, append(soaking("drain: 3s\n      front: {nginx: {nodePort: 30080, port: http, upstream: shop_web}}"),
				onNodes(s, node, there), edit{"prime/namespaces/limits.yaml", `services.nodeports: "2"`, `services.nodeports: "4"`})...)
		}, func(w *world) (*load.Generator, func() load.Report) { return w.outside(node, 300) }},
	}
}

// soaking is the demo's platform with web as blueGreen, drained as said, and little patience.
func soaking(drain string) []edit {
	return []edit{
		blueGreenWeb, retireAtOnce,
		{"services.yaml", "drain: 8s", drain},
		{"services.yaml", "needs: [orders]\n  kustomize: ./services/web/kustomize", "timeout: 25s\n  needs: [orders]\n  kustomize: ./services/web/kustomize"},
		{"services.yaml", drain + "\n  timeout: 3m", drain},
	}
}

// soaked is a world under load in which versions v2 to v4 of the shop can be deployed; noticed says when users noticed something.
func soaked(t *testing.T, by way) (w *world, noticed func(string), stop func()) {
	w = by.world(t)
	w.must("rollover", environment)
	for _, tag := range []string{"v2", "v3", "v4"} {
		w.push(tag, false)
	}
	w.push("broken", true)
	g, end := by.users(w)
	failed := int64(0)
	noticed = func(when string) {
		now := g.Report().Requests.Failed
		if now == failed {
			return
		}
		pods, err := exec.CommandContext(t.Context(), "../bin/lab/kubectl", "--kubeconfig", filepath.Join(w.state, "local", w.live(), "kubeconfig"), "get", "pods", "-A", "-o", "wide").CombinedOutput()
		load, _ := os.ReadFile("/proc/loadavg")
		t.Errorf("%d requests failed during %s; load %s%s%v", now-failed, when, load, pods, err)
		failed = now
	}
	return w, noticed, func() { unharmed(t, end()) }
}

// bad is a deployment that must be refused, for a cause that is told.
type bad struct {
	name   string
	asked  string // SERVICE@VERSION
	edits  []edit // of the configuration, taken back afterwards
	status int
	says   string
}

const (
	webDeployment = "services/web/kustomize/deployment.yaml"
	webService    = "services/web/kustomize/service.yaml"
)

// nothingGood is a list of what goes wrong with deployments, each in another way.
var nothingGood = []bad{
	{name: "crash loop", asked: "web@broken", status: 1, says: "container web"},
	{name: "no such version", asked: "web@v404", status: 2, says: "v404"},
	{name: "never ready", asked: "web@v4", edits: []edit{{webDeployment, "path: /readyz", "path: /nothing"}}, status: 1, says: "not ready"},
	{name: "no replica", asked: "web@v4", edits: []edit{{webDeployment, "replicas: 2", "replicas: 0"}}, status: 0}, // as many as run are what counts
	{
		name: "preview says no", asked: "web@v4", status: 3, says: "healthz-that-is-not",
		edits: []edit{{"services.yaml", "{{.Preview}}/healthz", "{{.Preview}}/healthz-that-is-not"}},
	},
	{
		name: "users meet an error", asked: "web@v4", status: 3, says: "nowhere",
		edits: []edit{{"services.yaml", "timeout: 25s\n", "timeout: 25s\n  checks: [{http: {route: shop.example.com, path: /nowhere}, timeout: 2s}]\n"}},
	},
	{name: "two Deployments", asked: "web@v4", edits: []edit{{webService, "apiVersion: v1", secondDeployment + "---\napiVersion: v1"}}, status: 2, says: "two Deployments"},
	{
		name: "immutable selector", asked: "orders@v4", status: 2, says: "field is immutable",
		edits: []edit{{"services/orders/chart/templates/_helpers.tpl", "instance: {{ .Release.Name }}", "instance: {{ .Release.Name }}-other"}},
	},
	{name: "wrong value", asked: "orders@v4", edits: []edit{{"services/orders/chart/values.yaml", "cpu: 50m", "cpu: 50 minutes"}}, status: 2, says: "50 minutes"},
	{name: "another image", asked: "web@registry.crossfade.local/other/image@sha256:" + strings.Repeat("0", 64), status: 2, says: "other/image"},
}

const secondDeployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: second}
spec:
  template:
    spec: {containers: [{name: web, image: "registry.crossfade.local/shop/shop:v1"}]}
`

// refused deploys what must not succeed, and wants the cause to be told, and what ran before to run on.
func (w *world) refused(t *testing.T, b bad) {
	t.Helper()
	before := map[string]string{}
	for _, e := range b.edits {
		raw, err := os.ReadFile(filepath.Join(w.config, e.file))
		if err != nil {
			t.Fatal(err)
		}
		before[e.file] = string(raw)
		w.replace(e.file, e.old, e.now)
	}
	o := w.run("deploy", b.asked, environment)
	for file, text := range before {
		if err := os.WriteFile(filepath.Join(w.config, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if o.status != b.status || !strings.Contains(o.stdout+o.stderr, b.says) {
		t.Errorf("%s: exit %d, want %d and %q:\n%s%s", b.name, o.status, b.status, b.says, o.stdout, o.stderr)
	}
}

// TestManyDeploys deploys one version after the other under 300 requests a second, blue/green and rolling in turn, every tenth of them bad in another
// way. No request fails, and what is bad is refused with its cause. When there are many, three in ten are by a Gateway, and three by nginx.
func TestManyDeploys(t *testing.T) {
	n := times(t, deploysVariable, 10)
	some := n * 3 / 10
	if n < 30 {
		some = 0
	}
	begun := 0
	for i, by := range ways() {
		count := some
		if i == 0 {
			count = n - 2*some
		}
		if count > 0 {
			t.Run(by.name, func(t *testing.T) { deployMany(t, by, begun, count) })
		}
		begun += count
	}
}

// deployMany makes the deployments from one number on.
func deployMany(t *testing.T, by way, from, count int) {
	w, noticed, stop := soaked(t, by)
	runs := map[string]string{"web": "v1", "orders": "v1"}
	begun := time.Now()
	for i := from; i < from+count; i++ {
		service := []string{"web", "orders"}[i%2]
		if i%10 == 9 {
			b := nothingGood[i/10%len(nothingGood)]
			w.refused(t, b)
			if b.status == 0 {
				runs["web"] = "v4"
			}
		} else {
			tag := fmt.Sprintf("v%d", 2+(i/2)%3)
			w.must("deploy", service+"@"+tag, environment)
			runs[service] = tag
		}
		noticed(fmt.Sprintf("deployment %d, of %s", i, service))
		for _, service := range []string{"web", "orders"} {
			if got, want := w.runsImage(service), shopImage+"@"+w.digest(runs[service]); got != want && runs[service] != "v1" {
				t.Fatalf("after deployment %d %s runs %s, want %s at %s", i, service, got, runs[service], want)
			}
		}
	}
	t.Logf("%d deployments, %v each", count, time.Since(begun)/time.Duration(count))
	stop()
}

// TestDeploysKilled kills deployments with SIGKILL at random instants, and starts the same command again until it has ended. What was asked for runs
// then, and no request fails.
func TestDeploysKilled(t *testing.T) {
	w, noticed, stop := soaked(t, ways()[0])
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	kills, wanted := 0, times(t, killsVariable, 5)
	for i := 0; kills < wanted; i++ {
		service, tag := []string{"web", "orders"}[i%2], fmt.Sprintf("v%d", 2+(i/2)%3)
		for tries := 0; ; tries++ {
			after := time.Duration(random.Int64N(int64(6 * time.Second)))
			if kills == wanted || tries > 20 {
				after = 5 * time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), after)
			out, err := w.command(ctx, "deploy", service+"@"+tag, environment).CombinedOutput()
			killed := ctx.Err() != nil
			cancel()
			if !killed {
				if err != nil {
					t.Fatalf("%s@%s after %d kills: %v\n%s", service, tag, kills, err, out)
				}
				break
			}
			kills++
		}
		w.serves(t, service, tag)
		noticed(fmt.Sprintf("%s@%s, after %d kills", service, tag, kills))
	}
	t.Logf("killed %d times", kills)
	stop()
}
