package local_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// TestTwoClustersAtOnce follows two clusters through their life: made at once, used, damaged, repaired, deleted without a trace.
func TestTwoClustersAtOnce(t *testing.T) {
	l := newLab(t)
	provider := l.provider(local.Options{})
	reference := l.pushProbe()
	names := []string{"one", "two"}

	took := l.createAll(names...)
	for name, d := range took {
		t.Logf("every node of %s was Ready after %s", name, d)
		if d > 15*time.Second {
			t.Errorf("the nodes of %s were Ready after %s, want 15s at most", name, d)
		}
	}

	nodes := map[string]string{}
	for _, name := range names {
		status, err := provider.Observe(t.Context(), name)
		l.must(err)
		if status.Phase != cluster.Ready || len(status.Nodes) != 1 || status.Access.Context != name {
			t.Fatalf("%s was observed as %+v", name, status)
		}
		nodes[name] = status.Nodes[0]
		l.deployProbe(name, reference, 1)
	}
	for _, name := range names {
		l.checkProbe(name, nodes[name])
	}
	l.checkVolumeGoes("two")
	l.checkLogs("one")
	l.checkNoop("one")
	l.checkRepair("one", nodes["one"])
	l.checkPowerLoss("two", nodes["two"])

	l.must(provider.Delete(t.Context(), "one", t.Logf))
	if got := l.ask(nodes["two"], "/", nil); !strings.HasPrefix(got, "probe-") {
		t.Errorf("two answered %q after one was deleted", got)
	}
	l.must(provider.Delete(t.Context(), "two", t.Logf))
	if left := l.traces(); len(left) > 0 {
		t.Errorf("left after the last delete:\n%s", strings.Join(left, "\n"))
	}
	l.must(provider.Delete(t.Context(), "two", t.Logf)) // again, of what is not there
}

// createAll makes clusters at the same time, and returns how long each took from its first component to Ready nodes.
func (l *lab) createAll(names ...string) map[string]time.Duration {
	l.Helper()
	took := map[string]time.Duration{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(l.Context())
	for _, name := range names {
		prepared := make(chan struct{}, 10)
		group.Go(func() error {
			return l.provider(local.Options{}).Create(ctx, name, func(format string, args ...any) {
				l.Logf(format, args...)
				prepared <- struct{}{} // at first when all is prepared, and nothing started
			})
		})
		group.Go(func() error {
			select {
			case <-prepared:
			case <-ctx.Done():
				return ctx.Err()
			}
			begun := time.Now()
			for {
				status, err := l.provider(local.Options{}).Observe(ctx, name)
				if err != nil || ctx.Err() != nil {
					return errors.Join(err, ctx.Err())
				}
				if status.Phase == cluster.Ready {
					mu.Lock()
					defer mu.Unlock()
					took[name] = time.Since(begun)
					return nil
				}
				<-time.After(100 * time.Millisecond)
			}
		})
	}
	l.must(group.Wait())
	return took
}

// checkProbe checks what pods of a cluster see: names, services, volumes.
func (l *lab) checkProbe(name, node string) {
	l.Helper()
	pod := l.ask(node, "/", nil)
	got := map[string]string{
		"the API's name": l.ask(node, "/lookup", url.Values{"host": {"kubernetes.default.svc.cluster.local"}}),
		"a short name":   l.ask(node, "/lookup", url.Values{"host": {"kube-dns.kube-system"}}),
		"its service":    l.ask(node, "/get", url.Values{"url": {"http://probe"}}), // a pod that calls itself through its service
		"its volume":     l.ask(node, "/write", url.Values{"file": {"/data/file"}}),
	}
	want := map[string]string{"the API's name": "[10.96.0.1]", "a short name": "[10.96.0.10]", "its service": pod, "its volume": "written"}
	if diff := cmp.Diff(want, got); diff != "" {
		l.Errorf("what a pod of %s sees: %s", name, diff)
	}
	volumes, err := filepath.Glob(filepath.Join(l.state, "local", name, "volumes", "pvc-*", "file"))
	l.must(err)
	if len(volumes) != 1 {
		l.Errorf("the files in the volumes of %s are %q, want one", name, volumes)
	}
}

// checkVolumeGoes deletes the claim of the probe, and with it its volume.
func (l *lab) checkVolumeGoes(name string) {
	l.Helper()
	l.kubectl(name, "", "delete", "deployment,persistentvolumeclaim", "--all", "--timeout=60s")
	l.kubectl(name, "", "wait", "persistentvolume", "--all", "--for=delete", "--timeout=60s")
	dirs, err := filepath.Glob(filepath.Join(l.state, "local", name, "volumes", "*"))
	l.must(err)
	if len(dirs) > 0 {
		l.Errorf("volumes are left without a claim: %q", dirs)
	}
	l.deployProbe(name, l.pushProbe(), 1)
}

// checkLogs reads logs and runs a command, which goes through the API server to the kubelet.
func (l *lab) checkLogs(name string) {
	l.Helper()
	if got := l.kubectl(name, "", "logs", "deployment/probe"); got != "listening\n" {
		l.Errorf("the log of the probe is %q", got)
	}
}

// checkNoop makes a cluster that is there: no process is another one afterwards.
func (l *lab) checkNoop(name string) {
	l.Helper()
	before := l.daemons(name)
	l.must(l.provider(local.Options{}).Create(l.Context(), name, l.Logf))
	if diff := cmp.Diff(before, l.daemons(name)); diff != "" {
		l.Errorf("creating %s again changed its processes: %s", name, diff)
	}
	if err := l.provider(local.Options{Nodes: 2}).Create(l.Context(), name, l.Logf); fault.CodeOf(err) != fault.Invalid {
		l.Errorf("creating %s with more nodes: %v, want an error of code Invalid", name, err)
	}
}

var components = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "provisioner", "containerd", "kubelet", "kube-proxy"}

func (l *lab) daemons(name string) map[string]string {
	l.Helper()
	pids := map[string]string{}
	for _, c := range components {
		pids[c] = l.daemon(name, c)
	}
	return pids
}

// checkRepair kills components of a cluster: creating it again starts them, and just them.
func (l *lab) checkRepair(name, node string) {
	l.Helper()
	before := l.daemons(name)
	pod := l.ask(node, "/", nil)
	for _, c := range []string{"etcd", "kubelet", "containerd"} {
		kill(l.T, before[c])
		delete(before, c)
	}
	status, err := l.provider(local.Options{}).Observe(l.Context(), name)
	l.must(err)
	if status.Phase != cluster.Partial {
		l.Errorf("without etcd %s was observed as %+v", name, status)
	}
	l.must(l.provider(local.Options{}).Create(l.Context(), name, l.Logf))
	after := l.daemons(name)
	for c, pid := range before {
		if after[c] != pid {
			l.Errorf("%s of %s was started again without need", c, name)
		}
	}
	if now := l.ask(node, "/", nil); now != pod {
		l.Errorf("the pod is %s after the repair, and was %s", now, pod)
	}
	l.checkProbe(name, node)
}

// checkPowerLoss takes everything of a cluster but its files away, as the machine's end does, and makes it again.
func (l *lab) checkPowerLoss(name, node string) {
	l.Helper()
	l.must(l.provider(local.Options{}).PowerOff(l.Context(), name))
	l.must(l.provider(local.Options{}).Create(l.Context(), name, l.Logf))
	status, err := l.provider(local.Options{}).Observe(l.Context(), name)
	l.must(err)
	if diff := cmp.Diff([]string{node}, status.Nodes); diff != "" {
		l.Errorf("the nodes of %s moved: %s", name, diff)
	}
	l.kubectl(name, "", "rollout", "status", "deployment/probe", "--timeout=90s")
	l.checkProbe(name, node)
}

// kill kills a process and waits until it is gone.
func kill(t *testing.T, pid string) {
	t.Helper()
	number, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(number, syscall.SIGKILL); err != nil {
		t.Fatalf("cannot kill %s: %v", pid, err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(10 * time.Millisecond) {
		if syscall.Kill(number, 0) != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there 10 s after SIGKILL", pid)
		}
	}
}

// TestThreeNodes checks that pods on different nodes reach each other, and every node answers.
func TestThreeNodes(t *testing.T) {
	l := newLab(t)
	provider := l.provider(local.Options{Nodes: 3})
	l.must(provider.Create(t.Context(), "three", t.Logf))
	l.deployProbe("three", l.pushProbe(), 3)
	status, err := provider.Observe(t.Context(), "three")
	l.must(err)
	if len(status.Nodes) != 3 {
		t.Fatalf("observed %+v, want three nodes", status)
	}
	addresses := strings.Fields(l.kubectl("three", "", "get", "pods", "-l", "app=probe", "-o", "jsonpath={.items[*].status.podIP}"))
	for _, node := range status.Nodes {
		for _, address := range addresses {
			if got := l.ask(node, "/get", url.Values{"url": {"http://" + address + ":8080/"}}); !strings.HasPrefix(got, "probe-") {
				t.Errorf("the pod %s answered %q through %s", address, got, node)
			}
		}
	}
	subnets := l.kubectl("three", "", "get", "nodes", "-o", "jsonpath={.items[*].spec.podCIDR}")
	if want := "10.244.1.0/24 10.244.2.0/24 10.244.3.0/24"; subnets != want {
		t.Errorf("the subnets of pods are %q, want %q", subnets, want)
	}
}

// killedVariable makes this test program a process that creates or deletes the cluster four, to be killed.
const killedVariable = "CROSSFADE_TEST_KILLED"

// TestKilledAtAnyTime kills processes that create and delete a cluster. The next one completes what they began, or removes it.
func TestKilledAtAnyTime(t *testing.T) {
	if act := os.Getenv(killedVariable); act != "" {
		runToBeKilled(t, act)
		return
	}
	l := newLab(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 6 {
		l.runAndKill("create", time.Duration(random.Int64N(int64(3*time.Second))))
		if round%2 == 0 {
			l.runAndKill("delete", time.Duration(random.Int64N(int64(300*time.Millisecond))))
			l.must(l.provider(local.Options{}).Delete(t.Context(), "four", t.Logf))
			if left := l.traces(); len(left) > 0 {
				t.Fatalf("left after a delete that followed killed ones:\n%s", strings.Join(left, "\n"))
			}
		}
	}
	l.must(l.provider(local.Options{}).Create(t.Context(), "four", t.Logf))
	status, err := l.provider(local.Options{}).Observe(t.Context(), "four")
	l.must(err)
	if status.Phase != cluster.Ready {
		t.Errorf("observed %+v after killed creates and one that was not, want it Ready", status)
	}
}

func (l *lab) runAndKill(act string, after time.Duration) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), after)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilledAtAnyTime$")
	cmd.Env = append(os.Environ(), killedVariable+"="+act, "CROSSFADE_TEST_STATE="+l.state)
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() == nil {
		l.Fatalf("%s: %v\n%s", act, err, out)
	}
	l.Logf("killed %s after %s", act, after)
}

func runToBeKilled(t *testing.T, act string) {
	t.Helper()
	provider := local.New(local.Options{StateDir: os.Getenv("CROSSFADE_TEST_STATE")})
	do := provider.Create
	if act == "delete" {
		do = provider.Delete
	}
	if err := do(t.Context(), "four", func(format string, args ...any) { fmt.Printf(format+"\n", args...) }); err != nil {
		t.Fatal(err)
	}
}
