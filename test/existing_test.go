package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/edge"
)

// TestExistingClusters rolls over between two clusters that somebody else made: into the first, then, under load, into the
// second. Then everything that Crossfade knows is thrown away, and it adopts the cluster that serves the users.
func TestExistingClusters(t *testing.T) {
	t.Parallel() // it waits, most of its time
	w := newWorld(t, retireAtOnce)
	kubeconfig := filepath.Join(w.config, "kubeconfig")
	w.must("local", "create", "blue", "green", "--kubeconfig", kubeconfig)
	w.replace("production.yaml", "provider: local\n    local: {nodes: 1}", "provider: existing\n    existing: {kubeconfig: ./kubeconfig, contexts: [blue, green]}")
	kubectl := func(context string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "../bin/lab/kubectl", append([]string{"--kubeconfig", kubeconfig, "--context", context}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	generationIn := func(context string) string {
		return kubectl(context, "get", "configmap", "-n", "crossfade-system", "generation", "--ignore-not-found", "-o", "jsonpath={.data.name}")
	}

	w.must("rollover", environment)
	first := w.live()
	_, stop := w.users(100)
	w.must("rollover", environment)
	second := w.live()
	unharmed(t, stop())
	if second == first || generationIn("green") != second || generationIn("blue") != "" {
		t.Fatalf("live is %s after %s; blue has %q and green has %q", second, first, generationIn("blue"), generationIn("green"))
	}

	kubectl("green", "delete", "configmap", "-n", "crossfade-system", "generation")
	w.forget(t)
	w.replace("production.yaml", "contexts: [blue, green]}", "contexts: [blue, green], live: green}")
	w.must("rollover", environment)
	run := w.runs()[0]
	age, err := time.Parse(time.RFC3339, kubectl("green", "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.creationTimestamp}"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "shop" + age.UTC().Format("0601021504"); run.Previous != want || generationIn("blue") != run.Generation {
		t.Errorf("it rolled over from %q to %q in blue with %q; want from %q", run.Previous, run.Generation, generationIn("blue"), want)
	}
}

// forget throws away all that Crossfade knows of the world but its local clusters.
func (w *world) forget(t *testing.T) {
	t.Helper()
	if err := edge.Stop(t.Context(), w.state); err != nil {
		t.Fatal(err)
	}
	if w.records != nil {
		w.records.Close()
		w.records = nil
	}
	files, err := filepath.Glob(filepath.Join(w.state, "record.db*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, filepath.Join(w.state, "edge")) {
		if err := os.RemoveAll(f); err != nil {
			t.Fatal(err)
		}
	}
}
