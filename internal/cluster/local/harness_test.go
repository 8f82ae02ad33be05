package local_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/image"
)

// lab is a state directory with clusters that go with the test.
type lab struct {
	*testing.T
	state string
}

// newLab makes a lab. Where it may not, it skips the test, except in CI.
func newLab(t *testing.T) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("real clusters take a minute: not with -short")
	}
	if reason := cannot(); reason != "" && os.Getenv("CI") == "" {
		t.Skip(reason)
	} else if reason != "" {
		t.Fatal(reason)
	}
	l := &lab{T: t, state: t.TempDir()}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := l.provider(local.Options{}).Clear(ctx, t.Logf); err != nil {
			t.Error(err)
		}
	})
	return l
}

func cannot() string {
	if os.Geteuid() != 0 {
		return "real clusters need root"
	}
	if _, err := bundle.Program("kubelet"); err != nil {
		return err.Error() + ": run make build"
	}
	return ""
}

func (l *lab) provider(o local.Options) *local.Provider {
	o.StateDir = l.state
	return local.New(o)
}

// must fails the test on an error.
func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// kubectl runs the lab's kubectl and returns its output.
func (l *lab) kubectl(name, stdin string, args ...string) string {
	l.Helper()
	program, err := bundle.Program("kubectl")
	l.must(err)
	cmd := exec.CommandContext(l.Context(), program, append([]string{"--kubeconfig", filepath.Join(l.state, "local", name, "kubeconfig"), "--context", name}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		l.Fatalf("kubectl %s on %s: %v: %s", strings.Join(args, " "), name, err, complaints.String())
	}
	return string(out)
}

// pushProbe builds the probe, pushes it and returns its reference.
func (l *lab) pushProbe() string {
	l.Helper()
	program := filepath.Join(l.TempDir(), "probe")
	cmd := exec.CommandContext(l.Context(), "go", "build", "-o", program, "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		l.Fatalf("cannot build the probe: %v\n%s", err, out)
	}
	content, err := image.Build(program, image.Options{})
	l.must(err)
	reference, err := l.provider(local.Options{}).Push(l.Context(), "test/probe:v1", content)
	l.must(err)
	return reference
}

// deployProbe deploys the probe to a cluster and waits until it serves.
func (l *lab) deployProbe(name, reference string, replicas int) {
	l.Helper()
	raw, err := os.ReadFile("testdata/probe.yaml")
	l.must(err)
	manifest := strings.NewReplacer("IMAGE", reference, "REPLICAS", fmt.Sprint(replicas)).Replace(string(raw))
	l.kubectl(name, manifest, "apply", "-f", "-")
	l.kubectl(name, "", "rollout", "status", "deployment/probe", "--timeout=90s")
}

// ask asks the probe through the NodePort of a node. It tries for a while: the port opens a moment after the pod is ready.
func (l *lab) ask(node, path string, query url.Values) string {
	l.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var last string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		resp, err := client.Get("http://" + node + ":30080" + path + "?" + query.Encode())
		if err != nil {
			last = err.Error()
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK {
			return string(body)
		}
		last = fmt.Sprintf("%s: %s", resp.Status, body)
	}
	l.Fatalf("%s of the probe at %s: %s", path, node, last)
	return ""
}

// daemon returns the pid of a component of a cluster's first node.
func (l *lab) daemon(name, component string) string {
	l.Helper()
	raw, err := os.ReadFile(filepath.Join(l.state, "local", name, "nodes", "1", "run", component+".pid"))
	l.must(err)
	return strings.TrimSpace(string(raw))
}

// traces lists what there is of the lab on the machine outside of its directory: processes, mounts, namespaces, cables, groups.
func (l *lab) traces() []string {
	l.Helper()
	var found []string
	// The ids of this lab's things are on namespaces and groups; processes are in those, or carry the directory's name.
	ours := map[string]bool{}
	for _, name := range []string{"_registry", "one", "two", "three", "four"} {
		ours[local.ID(filepath.Join(l.state, "local", name))] = true
	}
	isOurs := func(s string) bool {
		if strings.Contains(s, l.state) {
			return true
		}
		for id := range ours {
			if strings.Contains(s, id) {
				return true
			}
		}
		return false
	}
	for _, pattern := range []string{"/run/crossfade/*", "/sys/fs/cgroup/crossfade/*", "/sys/fs/cgroup/*/crossfade/*", "/var/log/containers/*", "/var/log/pods/*"} {
		paths, err := filepath.Glob(pattern)
		l.must(err)
		found = append(found, slices.DeleteFunc(paths, func(p string) bool { return !isOurs(p) })...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	l.must(err)
	for line := range strings.Lines(string(mounts)) {
		if isOurs(line) {
			found = append(found, "mount "+line)
		}
	}
	for pid, about := range processes(l.T) {
		if pid != fmt.Sprint(os.Getpid()) && isOurs(about) {
			found = append(found, fmt.Sprintf("process %s: %.300q", pid, about))
		}
	}
	cables, _ := exec.CommandContext(l.Context(), "nsenter", "--net=/run/crossfade/switch/net", "ip", "-oneline", "link").Output() // no switch, no cables
	for line := range strings.Lines(string(cables)) {
		if isOurs(line) {
			found = append(found, "cable "+line)
		}
	}
	return found
}

// processes reads what is known of each process: its arguments, environment, groups and mounts.
func processes(t *testing.T) map[string]string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, dir := range dirs {
		if stat, err := os.ReadFile(filepath.Join(dir, "stat")); err != nil || bytes.Contains(stat, []byte(") Z ")) {
			continue // it has ended, and waits to be reaped by its parent
		}
		var about strings.Builder
		for _, file := range []string{"cmdline", "environ", "cgroup"} {
			raw, err := os.ReadFile(filepath.Join(dir, file))
			if err == nil { // else it has ended
				about.Write(raw)
			}
		}
		all[filepath.Base(dir)] = about.String()
	}
	return all
}
