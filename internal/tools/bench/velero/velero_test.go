package velero

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

// fakeVelero stands in for Velero: it keeps its arguments, fails where $FAIL says, and as a server has another process run beside it.
const fakeVelero = `#!/bin/sh
echo "$*" >>"$HOME/arguments"
test "$1" != "$FAIL" || { echo "no plugin for that"; exit 3; }
test "$1" = server || exit 0
sleep "$MARK" &
exec sleep "$MARK"
`

// definition is of a kind of Velero's, of any content.
const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[2]s.velero.io}
spec:
  group: velero.io
  scope: Namespaced
  names: {kind: %[1]s, plural: %[2]s}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

// world is an API server with the kinds of Velero, and a program that makes believe.
type world struct {
	*testing.T
	Run
	cluster *kube.Cluster
}

// newWorld makes a world in which backups have a place.
func newWorld(t *testing.T) *world {
	t.Helper()
	server := kubetest.Start(t, "a")
	w := &world{T: t, Run: Run{Access: server.Access, Store: t.TempDir()}, cluster: server.Connect(t)}
	for kind, plural := range map[string]string{"BackupStorageLocation": "backupstoragelocations", "Backup": "backups", "Restore": "restores"} {
		d := kubetest.Objects(t, fmt.Sprintf(definition, kind, plural))[0]
		w.create(d)
		if err := w.cluster.AwaitServed(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	w.create(kubetest.Objects(t, "{apiVersion: v1, kind: Namespace, metadata: {name: velero}}")[0])
	place := resource("BackupStorageLocation", location, map[string]any{})
	place.Object["status"] = map[string]any{"phase": available}
	w.create(place)
	programs := t.TempDir()
	if err := os.WriteFile(filepath.Join(programs, program), []byte(fakeVelero), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(bundle.DirVariable, programs)
	t.Setenv("MARK", fmt.Sprintf("1000.%d", os.Getpid()))
	return w
}

func (w *world) create(obj *unstructured.Unstructured) {
	w.Helper()
	if _, err := w.cluster.Create(w.Context(), obj); err != nil {
		w.Fatal(err)
	}
}

// begin makes everything as before a first run, whose Velero fails at what is named.
func (w *world) begin(t *testing.T, fail string) {
	t.Helper()
	w.Dir = t.TempDir()
	t.Setenv("FAIL", fail)
	for _, kind := range []string{"Backup", "Restore"} {
		if err := w.cluster.Delete(t.Context(), resource(kind, "one", nil)); err != nil {
			t.Fatal(err)
		}
	}
}

// says puts the status on an object that Velero would, once it is there; one that never is there is for the test to find.
func (w *world) says(ctx context.Context, obj *unstructured.Unstructured, status string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := w.cluster.Patch(ctx, obj, fmt.Appendf(nil, `{"status":%s}`, status)); err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// running counts the processes that fakeVelero has become or started.
func running(t *testing.T) int {
	t.Helper()
	count := 0
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, _ := os.ReadFile(file) // it may have ended
		if bytes.Contains(line, []byte(os.Getenv("MARK"))) {
			count++
		}
	}
	return count
}

func TestBackup(t *testing.T) {
	w := newWorld(t)
	tests := map[string]struct {
		reason, fail, status string
		patience             time.Duration
		warnings             int64
		want                 []string // parts of the error
	}{
		"completed": {"Warnings are no failure.", "", `{"phase":"Completed","warnings":3}`, time.Minute, 3, nil},
		"partly":    {"A part of the objects is no backup.", "", `{"phase":"PartiallyFailed","errors":2}`, time.Minute, 0, []string{"it is PartiallyFailed", "errors:2"}},
		"refused":   {"What Velero does not begin with never completes.", "", `{"phase":"FailedValidation","validationErrors":["no place"]}`, time.Minute, 0, []string{"no place"}},
		"slow":      {"Waiting has an end.", "", `{"phase":"InProgress"}`, 3 * time.Second, 0, []string{"backup", "InProgress", "deadline"}},
		"install":   {"What the installation has to say is in the error.", "install", "", time.Minute, 0, []string{"cannot install Velero", "no plugin for that"}},
		"server":    {"A server that has ended is not waited for.", "server", "", time.Minute, 0, []string{"the server has ended: exit status 3", "no plugin for that"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if w.begin(t, tc.fail); tc.fail == "server" {
				w.says(t.Context(), resource("BackupStorageLocation", location, nil), `{"phase":"Unavailable"}`)
				defer w.says(t.Context(), resource("BackupStorageLocation", location, nil), `{"phase":"Available"}`)
			}
			ctx, cancel := context.WithTimeout(t.Context(), tc.patience)
			defer cancel()
			if tc.status != "" {
				go w.says(ctx, resource("Backup", "one", nil), tc.status)
			}
			got, err := w.Backup(ctx, "one", map[string]string{"of": "bench"})
			if (err == nil) != (tc.want == nil) || got.Warnings != tc.warnings || (err == nil) != (got.Took > 0) {
				t.Errorf("%s got %+v, %v", tc.reason, got, err)
			}
			for _, part := range tc.want {
				if err != nil && !strings.Contains(err.Error(), part) {
					t.Errorf("%s want %q in the error, got %v", tc.reason, part, err)
				}
			}
			if left := running(t); left > 0 {
				t.Errorf("%d processes are left", left)
			}
		})
	}
}

// TestRestoreOfNothing: a restore is ordered only when Velero knows of the backup.
func TestRestoreOfNothing(t *testing.T) {
	w := newWorld(t)
	w.begin(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := w.Restore(ctx, "one"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "backup of Velero is not Completed") {
		t.Errorf("got %v", err)
	}
	if restore, err := w.cluster.Get(t.Context(), resource("Restore", "one", nil)); restore != nil || err != nil {
		t.Errorf("a restore was ordered: %v, %v", restore, err)
	}
	if left := running(t); left > 0 {
		t.Errorf("%d processes are left", left)
	}
}

func TestRestore(t *testing.T) {
	w := newWorld(t)
	w.begin(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	backup := resource("Backup", "one", map[string]any{})
	backup.Object["status"] = map[string]any{"phase": completed}
	w.create(backup)
	go w.says(ctx, resource("Restore", "one", nil), `{"phase":"Completed"}`)
	if _, err := w.Restore(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	restore, err := w.cluster.Get(ctx, resource("Restore", "one", nil))
	if err != nil || restore == nil {
		t.Fatal(restore, err)
	}
	if name, _, _ := unstructured.NestedString(restore.Object, "spec", "backupName"); name != "one" {
		t.Errorf("the restore is of %q", name)
	}
	raw, err := os.ReadFile(filepath.Join(w.Dir, "arguments"))
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for line := range strings.Lines(string(raw)) {
		if !strings.Contains(line, "--kubeconfig "+w.Access.Kubeconfig+" --kubecontext a") {
			t.Errorf("it is not told of its cluster: %s", line)
		}
		commands = append(commands, strings.Fields(line)[0])
	}
	if diff := cmp.Diff([]string{"install", "server", "server"}, commands); diff != "" || !strings.Contains(string(raw), "directory="+w.Store) {
		t.Errorf("it was called as %s\n%s", raw, diff)
	}
}

func TestVerdict(t *testing.T) {
	tests := map[string]struct {
		reason, phase string
		want, failed  bool
	}{
		"done":     {"It is what was waited for.", "Completed", true, false},
		"not yet":  {"What goes on is waited for.", "Finalizing", false, false},
		"not seen": {"Velero may not have looked at it yet.", "", false, false},
		"failed":   {"It will not complete.", "Failed", false, true},
		"partial":  {"A part is not what was waited for.", "PartiallyFailed", false, true},
		"finished": {"What is left to do does not mend it.", "FinalizingPartiallyFailed", false, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			obj := resource("Backup", "one", nil)
			if tc.phase != "" {
				obj.Object["status"] = map[string]any{"phase": tc.phase}
			}
			if got, err := verdict(obj, completed); got != tc.want || (err != nil) != tc.failed {
				t.Errorf("%s got %v, %v", tc.reason, got, err)
			}
		})
	}
	if done, err := verdict(nil, completed); done || err != nil {
		t.Errorf("what is not there: %v, %v", done, err)
	}
}

func TestNotBuilt(t *testing.T) {
	t.Setenv(bundle.DirVariable, t.TempDir())
	if _, err := (Run{}).Backup(t.Context(), "one", nil); err == nil || !strings.Contains(err.Error(), "velero bundle") {
		t.Errorf("got %v", err)
	}
}
