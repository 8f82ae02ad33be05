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

// soaked is a world under load in which versions v2 to v4 of the shop can be deployed, quickly; noticed says when users noticed something.
func soaked(t *testing.T) (w *world, noticed func(string), stop func()) {
	w = newWorld(t, blueGreenWeb, retireAtOnce, edit{"services.yaml", "drain: 8s", "drain: 1s"},
		edit{"services.yaml", "needs: [orders]\n  kustomize: ./services/web/kustomize", "timeout: 25s\n  needs: [orders]\n  kustomize: ./services/web/kustomize"},
		edit{"services.yaml", "      drain: 1s\n  timeout: 3m", "      drain: 1s"})
	w.must("rollover", environment)
	for _, tag := range []string{"v2", "v3", "v4"} {
		w.push(tag, false)
	}
	w.push("broken", true)
	g, end := w.users(300)
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
// way. No request fails, and what is bad is refused with its cause.
func TestManyDeploys(t *testing.T) {
	w, noticed, stop := soaked(t)
	runs := map[string]string{"web": "v1", "orders": "v1"}
	begun := time.Now()
	n := times(t, deploysVariable, 10)
	for i := range n {
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
	t.Logf("%d deployments, %v each", n, time.Since(begun)/time.Duration(n))
	stop()
}

// TestDeploysKilled kills deployments with SIGKILL at random instants, and starts the same command again until it has ended. What was asked for runs
// then, and no request fails.
func TestDeploysKilled(t *testing.T) {
	w, noticed, stop := soaked(t)
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
			err := w.command(ctx, "deploy", service+"@"+tag, environment).Run()
			killed := ctx.Err() != nil
			cancel()
			if !killed {
				if err != nil {
					t.Fatalf("%s@%s after %d kills: %v", service, tag, kills, err)
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
