package test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/release/image"
)

const shopImage = "registry.crossfade.local/shop/shop"

// blueGreenWeb has the service web deployed as blueGreen, proved at its preview.
var blueGreenWeb = edit{"services.yaml", "kustomize: ./services/web/kustomize", `kustomize: ./services/web/kustomize
  strategy:
    onFailure: remove
    blueGreen:
      checks: [{http: {url: "http://{{.Preview}}/healthz"}}]
      drain: 8s`}

// push pushes a version of the shop that does the same as every other one; broken ones end at once.
func (w *world) push(tag string, broken bool) {
	w.t.Helper()
	program, err := os.ReadFile("../bin/shop")
	if err != nil {
		w.t.Fatal(err)
	}
	if broken {
		clear(program[len(program)/10:]) // what is left of it begins, and crashes
	}
	file := filepath.Join(w.t.TempDir(), "shop")
	if err := os.WriteFile(file, append(program, tag...), 0o700); err != nil { // what follows a program does not matter to it
		w.t.Fatal(err)
	}
	w.must("local", "push", "shop/shop:"+tag, file)
}

// digest is what a tag of the shop's image names.
func (w *world) digest(tag string) string {
	w.t.Helper()
	host, socket := local.New(local.Options{StateDir: w.state}).Registry()
	digest, err := image.Client{Sockets: map[string]string{host: socket}}.Current(w.t.Context(), shopImage, tag)
	if err != nil {
		w.t.Fatal(err)
	}
	return digest
}

// runsImage is the image of the pods of an app in the live generation, but for those that are ending.
func (w *world) runsImage(app string) string {
	w.t.Helper()
	out := w.kubectl(w.live(), "get", "pods", "-A", "-l", "app.kubernetes.io/name="+app, "-o", "json")
	var pods corev1.PodList
	if err := json.Unmarshal([]byte(out), &pods); err != nil {
		w.t.Fatal(err)
	}
	images := map[string]bool{}
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp == nil {
			images[pod.Spec.Containers[0].Image] = true
		}
	}
	if len(images) != 1 {
		w.t.Errorf("%s runs %v, want one image", app, images)
	}
	for image := range images {
		return image
	}
	return ""
}

// history is the releases of a service, the newest first.
func (w *world) history(service string) []record.Release {
	w.t.Helper()
	var releases []record.Release
	if err := json.Unmarshal([]byte(w.must("history", service, environment, "-o", "json").stdout), &releases); err != nil {
		w.t.Fatal(err)
	}
	return releases
}

// serves wants an app to run a version, and nothing else, and the tag that means good to name it.
func (w *world) serves(t *testing.T, app, tag string) {
	t.Helper()
	digest := w.digest(tag)
	if got, want := w.runsImage(app), shopImage+"@"+digest; got != want {
		t.Errorf("%s runs %s, want %s at %s", app, got, tag, want)
	}
	if latest := w.digest("latest"); latest != digest {
		t.Errorf("latest is %s, want %s of %s", latest, digest, tag)
	}
	if last := w.history(app)[0]; !last.Good || last.Version != digest {
		t.Errorf("the last release of %s is %+v, want %s, good", app, last, digest)
	}
}

// TestDeploy deploys versions of two services under load: blue/green and rolling, good and bad, back and again, killed on the way; at
// last a roll-over brings what is good into the next generation. No request fails.
func TestDeploy(t *testing.T) {
	w := newWorld(t, blueGreenWeb, retireAtOnce)
	w.must("rollover", environment)
	for _, tag := range []string{"v2", "v3", "v4"} {
		w.push(tag, false)
	}
	w.push("broken", true)
	_, stop := w.users(100)

	t.Run("BlueGreen", func(t *testing.T) {
		w.must("deploy", "web@v2", environment)
		w.serves(t, "web", "v2")
	})
	t.Run("Rolling", func(t *testing.T) {
		w.must("deploy", "orders@v3", environment)
		w.serves(t, "orders", "v3")
	})
	t.Run("Broken", func(t *testing.T) {
		before := w.fingerprint(w.live())
		o := w.run("deploy", "web@broken", environment)
		if o.status != 1 || !strings.Contains(o.stderr, "container web crashes again and again") {
			t.Errorf("exit %d, want 1 and what is wrong with the pods:\n%s", o.status, o.stderr)
		}
		if now := w.fingerprint(w.live()); now != before {
			t.Errorf("the live version was touched, or something is left of the next one: before\n%s\nnow\n%s", before, now)
		}
	})
	t.Run("BadInput", func(t *testing.T) { w.badDeploys(t) })
	t.Run("Killed", func(t *testing.T) { w.deployKilled(t) })
	t.Run("RollBack", func(t *testing.T) {
		w.must("rollback", "web", environment)
		w.serves(t, "web", "v2")
	})
	t.Run("Restart", func(t *testing.T) {
		w.must("restart", "orders", environment)
		w.serves(t, "orders", "v3")
	})
	t.Run("Several", func(t *testing.T) {
		w.must("deploy", "web@v4", "orders@v4", environment) // of one image: the tag that means good names one version
		w.serves(t, "web", "v4")
		if o := w.run("deploy", "web@v2", "orders@broken", environment); o.status != 1 || !strings.Contains(o.stderr, "1 of 2 deployments failed: orders: ") {
			t.Errorf("one that fails: exit %d, want 1:\n%s", o.status, o.stderr)
		}
		w.serves(t, "web", "v2") // which the other one does not keep from it
		w.must("deploy", "orders@v3", environment)
	})
	t.Run("Queued", func(t *testing.T) { w.deployQueued(t) })
	t.Run("RollOver", func(t *testing.T) {
		ended := make(chan finished, 1)
		go func() { ended <- w.run("deploy", "web@v4", environment) }()
		w.wait(func() bool { return w.open() > 0 })
		w.must("rollover", environment) // which waits for it, and brings what it makes good
		if o := <-ended; o.status != 0 {
			t.Errorf("the deployment before the roll-over: exit %d\n%s%s", o.status, o.stdout, o.stderr)
		}
		for app, tag := range map[string]string{"web": "v4", "orders": "v3"} {
			if got, want := w.runsImage(app), shopImage+"@"+w.digest(tag); got != want {
				t.Errorf("the next generation runs %s of %s, want %s", got, app, want)
			}
		}
	})
	unharmed(t, stop())
}

// badDeploys wants one clear error each, and nothing to be recorded.
func (w *world) badDeploys(t *testing.T) {
	before := len(w.runs())
	for name, tc := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"NoVersion":      {[]string{"deploy", "web", environment}, 2, "names no version"},
		"UnknownVersion": {[]string{"deploy", "web@v404", environment}, 2, "v404"},
		"OtherImage":     {[]string{"deploy", "web@registry.crossfade.local/other/image@sha256:" + strings.Repeat("0", 64), environment}, 2, "other/image"},
		"UnknownService": {[]string{"deploy", "shop@v2", environment}, 2, "shop"},
		"UnknownPlace":   {[]string{"deploy", "web@v2", "staging"}, 2, "staging"},
		"NeverReleased":  {[]string{"rollback", "web", environment, "--to", "v4"}, 2, "never at v4"},
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

// deployQueued asks for three versions while the first is being deployed: that comes to its end, the newest follows, and the one between them
// is superseded.
func (w *world) deployQueued(t *testing.T) {
	ended := make(map[string]chan finished)
	for i, tag := range []string{"v3", "v4", "v2"} {
		ended[tag] = make(chan finished, 1)
		go func() { ended[tag] <- w.run("deploy", "web@"+tag, environment) }()
		w.wait(func() bool { return w.open() > min(i, 1) || len(ended[tag]) > 0 })
	}
	if o := w.run("rollback", "web", environment); o.status != 4 || !strings.Contains(o.stderr, "web v3 is being deployed") {
		t.Errorf("a roll-back while the version before is not known: exit %d, want 4:\n%s", o.status, o.stderr)
	}
	for tag, want := range map[string]int{"v3": 0, "v4": 4, "v2": 0} {
		o := <-ended[tag]
		if o.status != want || (want == 4) != strings.Contains(o.stderr, "superseded by") {
			t.Errorf("%s: exit %d, want %d:\n%s%s", tag, o.status, want, o.stdout, o.stderr)
		}
	}
	w.serves(t, "web", "v2")
}

// wait returns when something holds, and after a minute in any case: what comes next says what is wrong.
func (w *world) wait(holds func() bool) {
	w.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !holds() && time.Now().Before(deadline); {
		<-tick.C
	}
}

// open counts the runs that are under way or wait.
func (w *world) open() int {
	w.t.Helper()
	return len(slices.DeleteFunc(w.runs(), func(r record.Run) bool { return r.Ended != nil }))
}

// deployKilled kills a deployment again and again, each time a bit later, and starts the same command until it has ended.
func (w *world) deployKilled(t *testing.T) {
	kills := 0
	for after := 300 * time.Millisecond; ; after += 1500 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		err := w.command(ctx, "deploy", "web@v4", environment).Run()
		killed := ctx.Err() != nil
		cancel()
		if !killed {
			if err != nil {
				t.Fatalf("after %d kills: %v", kills, err)
			}
			break
		}
		kills++
	}
	t.Logf("killed %d times", kills)
	if kills < 3 {
		t.Errorf("killed %d times, want it to be often", kills)
	}
	w.serves(t, "web", "v4")
	if n := len(w.history("web")); n != 4 { // the first one, v2, the broken one, v4
		t.Errorf("%d releases of web, want 4", n)
	}
}
