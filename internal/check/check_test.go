package check_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/check"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

func silent(string, ...any) {}

func short(c spec.Check) spec.Check {
	c.Timeout = spec.Duration(300 * time.Millisecond)
	return c
}

// shop answers as the tests want it to.
func shop(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/broken":
			http.Error(w, "no database\nat all "+strings.Repeat("é", 300), http.StatusInternalServerError)
		default:
			fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.Header.Get("X-Generation"), r.URL.Path)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestHTTP(t *testing.T) {
	url := shop(t).URL
	target := check.Target{
		Generation: "g2", Ingress: strings.TrimPrefix(url, "http://"),
		Route: func(host string) (string, string, error) { return url, "pre-live." + host, nil },
	}
	tests := map[string]struct {
		check spec.HTTPCheck
		code  fault.Code
		want  string
	}{
		"answers":         {check: spec.HTTPCheck{URL: url}},
		"a template":      {check: spec.HTTPCheck{URL: "http://{{.Ingress}}/x", Headers: map[string]string{"X-Generation": "{{.Generation}}"}, Contains: " g2 /x"}},
		"a route":         {check: spec.HTTPCheck{Route: "shop.example.com", Path: "/a", Contains: "GET pre-live.shop.example.com  /a"}},
		"a method":        {check: spec.HTTPCheck{URL: url, Method: "PUT", Contains: "PUT"}},
		"a redirect":      {check: spec.HTTPCheck{URL: url + "/moved", Status: 302}},
		"is not followed": {check: spec.HTTPCheck{URL: url + "/moved"}, code: fault.Refused, want: "answered 302, wanted 200"},
		"an error":        {check: spec.HTTPCheck{URL: url + "/broken"}, code: fault.Refused, want: "check smoke: GET " + url + "/broken answered 500, wanted 200: no database at all é"},
		"another text":    {check: spec.HTTPCheck{URL: url, Contains: "blue"}, code: fault.Refused, want: `answered 200 without "blue": GET`},
		"nobody there":    {check: spec.HTTPCheck{URL: "http://127.0.0.1:1/"}, code: fault.Refused, want: "did not answer: dial tcp 127.0.0.1:1: connect: connection refused"},
		"a bad template":  {check: spec.HTTPCheck{URL: "http://{{.Nobody}}/"}, code: fault.Invalid, want: `no entry for key "Nobody"`},
		"no URL":          {check: spec.HTTPCheck{URL: "shop"}, code: fault.Invalid, want: `"shop" is not an http or https URL`},
		"a password":      {check: spec.HTTPCheck{URL: "http://me:secret@127.0.0.1:1/"}, code: fault.Refused, want: "http://me:xxxxx@127.0.0.1:1/"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := check.Hold(t.Context(), []spec.Check{short(spec.Check{Name: "smoke", HTTP: &test.check})}, target, silent)
			expect(t, err, test.code, test.want)
		})
	}
}

func expect(t *testing.T, err error, code fault.Code, text string) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Fatalf("want %q, got %q: %v", code, fault.CodeOf(err), err)
	}
	if err != nil && (!strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") || fault.HintOf(err) == "") {
		t.Errorf("want one line with %q and a hint, got %v (%s)", text, err, fault.HintOf(err))
	}
}

// TestHoldTriesAgain: a check that does not hold at first is tried until it does; Once is not patient.
func TestHoldTriesAgain(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	c := spec.Check{HTTP: &spec.HTTPCheck{URL: server.URL}}
	if _, err := check.Once(t.Context(), c, check.Target{}); fault.CodeOf(err) != fault.Refused {
		t.Errorf("once: %v", err)
	}
	results, err := check.Hold(t.Context(), []spec.Check{c}, check.Target{}, silent)
	if err != nil || results[0].Attempts != 2 || results[0].Name != "http "+server.URL {
		t.Errorf("%+v, %v", results, err)
	}
}

func TestHoldIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := spec.Check{HTTP: &spec.HTTPCheck{URL: "http://127.0.0.1:1/"}}
	_, err := check.Hold(ctx, []spec.Check{c}, check.Target{}, func(string, ...any) { cancel() })
	if fault.CodeOf(err) != fault.Interrupted {
		t.Errorf("want Interrupted, got %v", err)
	}
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "config")
	text := "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: x}}, {name: b, context: {cluster: z}}], clusters: [{name: x, cluster: {server: 'https://x'}}, {name: z, cluster: {server: 'https://y'}}]}"
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	target := check.Target{Environment: "production", Generation: "g2", Dir: dir, Access: cluster.Access{Kubeconfig: kubeconfig, Context: "b"}}
	tests := map[string]struct {
		args []string
		code fault.Code
		want string
	}{
		"ends well":      {args: []string{"true"}},
		"environment":    {args: []string{"sh", "-c", `test "$CROSSFADE_ENVIRONMENT $CROSSFADE_GENERATION {{.Generation}}" = "production g2 g2"`}},
		"kubeconfig":     {args: []string{"sh", "-c", `grep -q "current-context: b" $KUBECONFIG && ! grep -q https://x $KUBECONFIG && test $(stat -c %a $KUBECONFIG) = 600`}},
		"directory":      {args: []string{"test", "-f", "config"}},
		"fails":          {args: []string{"sh", "-c", "seq 30; exit 3"}, code: fault.Refused, want: "ended with exit status 3: 11 | 12 |"},
		"takes too long": {args: []string{"sh", "-c", "echo begun; sleep 60"}, code: fault.Refused, want: "did not end in time: begun"},
		"is not there":   {args: []string{"no-such-program"}, code: fault.Invalid, want: "cannot run the check's command no-such-program"},
		"is empty":       {code: fault.Invalid, want: "the command is empty"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := check.Hold(t.Context(), []spec.Check{short(spec.Check{Command: &spec.CommandCheck{Args: test.args}})}, target, silent)
			expect(t, err, test.code, test.want)
		})
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestCommandKillsItsChildren: nothing of a command lives on after its check.
func TestCommandKillsItsChildren(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	c := short(spec.Check{Command: &spec.CommandCheck{Args: []string{"sh", "-c", "sleep 60 & echo $! >" + file + "; wait"}}})
	if _, err := check.Hold(t.Context(), []spec.Check{c}, check.Target{}, silent); fault.CodeOf(err) != fault.Refused {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); running(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the child %d is still running", pid)
		}
	}
}

// running reports whether a process is there and has not ended (a zombie waits for its parent, whoever that is now).
func running(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(raw), ") Z ")
}

const migrate = "{apiVersion: batch/v1, kind: Job, metadata: {name: smoke}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: c}]}}}}"

func TestJob(t *testing.T) {
	server := kubetest.Start(t, "a")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "job.yaml"), []byte(migrate), 0o600); err != nil {
		t.Fatal(err)
	}
	target := check.Target{Run: "r1", Environment: "production", Generation: "g2", Namespace: "default", Dir: dir, Access: server.Access}
	tests := map[string]struct {
		status  string
		code    fault.Code
		want    string
		timeout time.Duration
	}{
		"completes": {status: "{startTime: '2026-01-01T00:00:00Z', completionTime: '2026-01-01T00:00:01Z', succeeded: 1, conditions: [{type: SuccessCriteriaMet, status: 'True'}, {type: Complete, status: 'True'}]}", timeout: 20 * time.Second},
		"fails":     {status: "{startTime: '2026-01-01T00:00:00Z', failed: 1, conditions: [{type: FailureTarget, status: 'True'}, {type: Failed, status: 'True', message: too bad}]}", timeout: 20 * time.Second, code: fault.Refused, want: "failed: too bad"},
		"hangs":     {timeout: time.Second, code: fault.Refused, want: "did not complete in time"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := spec.Check{Name: name, Timeout: spec.Duration(test.timeout), Job: &spec.JobCheck{Manifest: "job.yaml"}}
			done := make(chan error, 1)
			go func() {
				_, err := check.Hold(t.Context(), []spec.Check{c}, target, silent)
				done <- err
			}()
			if test.status != "" {
				server.EndJob(t, "default", test.status)
			}
			expect(t, <-done, test.code, test.want)
			if left := server.Jobs(t, "default"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestParity: a generation that is as the one before holds; one that is not is tried until it is, and then named.
func TestParity(t *testing.T) {
	old, next := kubetest.Start(t, "old"), kubetest.Start(t, "next")
	const settings = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {colour: %s}}"
	old.WriteAs(t, "kubectl-create", fmt.Sprintf(settings, "blue"))
	from := old.Connect(t)
	target := check.Target{Environment: "production", Access: next.Access, Original: func(context.Context) (*kube.Cluster, decide.Rules, error) {
		return from, decide.Rules{Copy: spec.Copy{Exclude: []spec.Selector{{Namespaces: []string{"private"}}}}}, nil
	}}
	hold := func(target check.Target, exclude ...spec.Selector) error {
		c := spec.Check{Name: "parity", Timeout: spec.Duration(3 * time.Second), Parity: &spec.ParityCheck{Exclude: exclude}}
		_, err := check.Hold(t.Context(), []spec.Check{c}, target, silent)
		return err
	}
	if err := hold(check.Target{}); err != nil {
		t.Errorf("a first generation: %v", err)
	}
	err := hold(target)
	expect(t, err, fault.Refused, "check parity: old and next differ in 2 of 2 objects: 2 missing; the first is ConfigMap shop/settings: missing")
	if want := "crossfade diff --from " + old.Access.Kubeconfig + ":old --to " + next.Access.Kubeconfig + ":next --env production shows everything"; fault.HintOf(err) != want {
		t.Errorf("hint %q, want %q", fault.HintOf(err), want)
	}
	next.WriteAs(t, "kubectl-create", fmt.Sprintf(settings, "blue"))
	if err := hold(target); err != nil {
		t.Errorf("the same: %v", err)
	}
	next.WriteAs(t, "kubectl-edit", fmt.Sprintf(settings, "green"))
	expect(t, hold(target), fault.Refused, "old and next differ in 1 of 2 objects: 1 different; the first is ConfigMap shop/settings: different, data.colour")
	if err := hold(target, spec.Selector{Names: []string{"settings"}}); err != nil {
		t.Errorf("what may differ: %v", err)
	}
	old.WriteAs(t, "kubectl-create", "{apiVersion: v1, kind: Namespace, metadata: {name: private}}")
	if err := hold(target, spec.Selector{Names: []string{"settings"}}); err != nil {
		t.Errorf("what is not copied: %v", err)
	}
}
