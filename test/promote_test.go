package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/crossfade-dev/crossfade/internal/history"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// testing is the stage before production: the same services, with a smaller configuration.
const testingEnvironment = `apiVersion: crossfade.dev/v1alpha1
kind: Environment
metadata: {name: testing}
spec:
  prefix: try
  cluster: {provider: local, timeout: 5m}
  prime:
    - {name: namespaces, kustomize: ./prime/namespaces, timeout: 1m}
    - {name: products, needs: [namespaces], files: [./prime/products], timeout: 1m}
  services:
    - name: orders
    - name: web
  routes:
    - {host: test.example.com, router: edge, service: web, port: http, health: /healthz}
  verify:
    - name: web reaches orders
      http: {route: test.example.com, path: /healthz, contains: ok}
---
apiVersion: crossfade.dev/v1alpha1
kind: Stack
metadata: {name: shop}
spec: {services: [web, orders]}
`

// productionOverlay is what web is in production alone.
const productionOverlay = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../../services/web/kustomize]
patches:
  - target: {kind: Deployment, name: web}
    patch: |
      - {op: add, path: /spec/template/metadata/annotations, value: {example.com/stage: production}}
`

// staged is a world with two stages, both live at the first version.
func staged(t *testing.T) *world {
	w := newWorld(t, blueGreenWeb, retireAtOnce,
		edit{"services.yaml", "drain: 8s", "drain: 1s"},
		edit{"platform.yaml", "spec:\n", "spec:\n  stages: [testing, production]\n"},
		edit{"production.yaml", "    - name: web\n", "    - {name: web, kustomize: ./overlays/web}\n"},
		edit{"production.yaml", "  gate:\n", "  promotion:\n    soak: 1s\n    checks: [{http: {route: test.example.com, path: /healthz}}]\n    approve: other\n\n  gate:\n"},
	)
	writeFile(t, filepath.Join(w.config, "testing.yaml"), testingEnvironment)
	if err := os.MkdirAll(filepath.Join(w.config, "overlays/web"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(w.config, "overlays/web/kustomization.yaml"), productionOverlay)
	var both sync.WaitGroup
	for _, stage := range []string{"testing", environment} {
		both.Go(func() {
			if o := w.run("rollover", stage); o.status != 0 {
				t.Errorf("rollover %s: exit %d\n%s", stage, o.status, o.stderr)
			}
		})
	}
	both.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return w
}

// TestPromote brings versions from testing to production, one service and a set: approved by another person, killed on the way, and undone as a whole
// where production says no.
func TestPromote(t *testing.T) {
	w := staged(t)
	for _, tag := range []string{"v2", "v3", "v4"} {
		w.push(tag, false)
	}
	t.Run("Nothing", func(t *testing.T) { w.badPromotions(t) })
	t.Run("Service", func(t *testing.T) {
		w.must("deploy", "web@v2", "testing")
		if o := w.run("promote", "--set", "shop", environment); o.status != 1 || !strings.Contains(o.stderr, "never verified together") {
			t.Errorf("orders was never at a digest: exit %d\n%s", o.status, o.stderr)
		}
		if o := w.approved(t, "web", environment); o.status != 0 {
			t.Fatalf("exit %d\n%s", o.status, o.stderr)
		}
		w.serves(t, "web", "v2")
		if now, then := w.annotation(t, environment), w.annotation(t, "testing"); now != "production" || then != "" {
			t.Errorf("web is configured as %q in production, and as %q in testing", now, then)
		}
		if o := w.must("promote", "web", environment); !strings.Contains(o.stderr, "already") {
			t.Errorf("it is there already: %s", o.stderr)
		}
	})
	t.Run("Set", func(t *testing.T) {
		w.must("deploy", "orders@v3", "web@v3", "testing") // the last one to be proved is proved with the other
		w.promoted(t, "--set", "shop", environment)
		w.serves(t, "web", "v3")
		w.serves(t, "orders", "v3")
	})
	t.Run("SetRefused", func(t *testing.T) {
		w.must("deploy", "orders@v4", "web@v4", "testing")
		w.replace("production.yaml", "contains: The shop}", "contains: Another shop}\n      timeout: 2s")
		if o := w.approved(t, "--set", "shop", environment); o.status != 3 || !strings.Contains(o.stderr, "check front page") {
			t.Errorf("production says no: exit %d\n%s", o.status, o.stderr)
		}
		for _, service := range []string{"web", "orders"} {
			if got, want := w.runsImage(service), shopImage+"@"+w.digest("v3"); got != want {
				t.Errorf("%s runs %s, want %s of v3 again: no mixed set may stay", service, got, want)
			}
		}
	})
	t.Run("Skipped", func(t *testing.T) {
		if o := w.run("deploy", "orders@v2", environment); o.status != 2 || !strings.Contains(o.stderr, "never good in testing") {
			t.Errorf("a stage was skipped without a reason: exit %d\n%s", o.status, o.stderr)
		}
	})
	t.Run("History", func(t *testing.T) { w.toldPromotions(t) })
}

// badPromotions wants one clear error each, and nothing to be recorded.
func (w *world) badPromotions(t *testing.T) {
	before := len(w.runs())
	for name, tc := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"NotByDigest":  {[]string{"promote", "web", environment}, 1, "not by a digest"},
		"NotTogether":  {[]string{"promote", "--set", "shop", environment}, 1, "never verified together"},
		"FirstStage":   {[]string{"promote", "web", "testing"}, 2, "the first stage"},
		"NotThere":     {[]string{"promote", "worker", environment}, 2, "no stage before production has worker"},
		"UnknownSet":   {[]string{"promote", "--set", "shpo", environment}, 2, "did you mean shop?"},
		"UnknownStage": {[]string{"promote", "web", environment, "--from", "production"}, 2, "not a stage before production"},
		"NoReason":     {[]string{"deploy", "web@v2", environment}, 2, "never good in testing"},
		"EmptyReason":  {[]string{"deploy", "web@v2", environment, "--reason", " "}, 2, "--reason TEXT"},
	} {
		o := w.run(tc.args...)
		if o.status != tc.status || !strings.Contains(o.stderr, tc.says) || !strings.Contains(o.stderr, "hint: ") {
			t.Errorf("%s: exit %d, want %d and %q:\n%s", name, o.status, tc.status, tc.says, o.stderr)
		}
	}
	if after := len(w.runs()); after != before {
		t.Errorf("%d runs were recorded", after-before)
	}
}

// as is a command of somebody.
func (w *world) as(ctx context.Context, person string, args ...string) *exec.Cmd {
	cmd := w.command(ctx, args...)
	cmd.Env = append(cmd.Env, "CROSSFADE_USER="+person)
	return cmd
}

// promoted promotes, is killed while it waits for an approval, and goes on when the same command is started again.
func (w *world) promoted(t *testing.T, args ...string) {
	t.Helper()
	killed := w.as(t.Context(), "anna", append([]string{"promote"}, args...)...)
	var said strings.Builder
	killed.Stderr = &said
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	run := w.waits(t, &said)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	if o, err := w.as(t.Context(), "anna@elsewhere", "approve", run).CombinedOutput(); err == nil || !strings.Contains(string(o), "by somebody other than anna, root@") {
		t.Errorf("its author approved it: %v\n%s", err, o)
	}
	if o := w.approved(t, args...); o.status != 0 {
		t.Fatalf("promote %v: exit %d\n%s\n%s", args, o.status, o.stderr, w.logs())
	}
	if last := w.runs()[0]; last.ID != run {
		t.Errorf("%s has carried out what %s began", last.ID, run)
	}
}

// approved promotes, with an approval by somebody else.
func (w *world) approved(t *testing.T, args ...string) finished {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := w.as(ctx, "anna", append([]string{"promote"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if o, err := w.as(ctx, "bea", "approve", w.waits(t, &errs)).CombinedOutput(); err != nil {
		t.Errorf("cannot approve: %v\n%s", err, o)
	}
	_ = cmd.Wait()
	return finished{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// waits returns the run that waits for an approval, as soon as one does; said is what its command says, for the message when none does.
func (w *world) waits(t *testing.T, said fmt.Stringer) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if last := w.runs()[0]; last.State == record.Waiting {
			return last.ID
		}
	}
	t.Fatalf("no run waits for an approval: %+v\n%s", w.runs()[0], said)
	return ""
}

// annotation is what the overlay of production puts on the pods of web.
func (w *world) annotation(t *testing.T, stage string) string {
	t.Helper()
	var all []struct{ Shares map[string]int }
	if err := json.Unmarshal([]byte(w.must("status", stage, "-o", "json").stdout), &all); err != nil {
		t.Fatal(err)
	}
	for generation := range all[0].Shares {
		out := w.kubectl(generation, "get", "pods", "-A", "-l", "app.kubernetes.io/name=web", "-o", "json")
		var pods corev1.PodList
		if err := json.Unmarshal([]byte(out), &pods); err != nil {
			t.Fatal(err)
		}
		return pods.Items[0].Annotations["example.com/stage"]
	}
	return ""
}

// toldPromotions wants the history to say who, what, from where, with whose approval and how it was proved.
func (w *world) toldPromotions(t *testing.T) {
	told := func(service, tag string) history.Entry { // of production, the latest
		var all []history.Entry
		if err := json.Unmarshal([]byte(w.must("history", service, "-o", "json").stdout), &all); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(e history.Entry) bool { return e.Environment == environment && e.Tag == tag })
		if i < 0 {
			t.Fatalf("nothing is told of %s %s", service, tag)
		}
		return all[i]
	}
	for _, e := range told("web", "v3").Steps {
		if e.Step == "verify" && e.Took == 0 {
			t.Errorf("how long %s took is not told", e.Step)
		}
	}
	set := told("web", "v3")
	if !set.Good || set.By != "anna" || set.From != "testing" || set.Set != "shop" || !slices.Equal(set.ApprovedBy, []string{"bea"}) {
		t.Errorf("of the set is told %+v", set)
	}
	for _, check := range []string{"verify", "preview/web", "gate"} {
		if !slices.ContainsFunc(set.Checks, func(c history.Check) bool { return c.Step == check && c.Detail != "" }) {
			t.Errorf("no check of %s is told: %+v", check, set.Checks)
		}
	}
	if bad := told("web", "v4"); bad.Good || bad.State != record.SwitchedBack {
		t.Errorf("of what was undone is told %+v", bad)
	}
	t.Log(w.must("history", "web").stdout)
	t.Log(w.must("logs", set.Run).stdout)
}
