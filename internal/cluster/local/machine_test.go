package local

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/process"
)

func TestMissingTools(t *testing.T) {
	cases := map[string]struct{ missing, message, hint string }{
		"none":       {},
		"one":        {"nft", "cannot make local clusters: this machine has no nft", "apt-get install nftables"},
		"of one deb": {"nsenter unshare", "cannot make local clusters: this machine has no nsenter, unshare", "apt-get install util-linux"},
		"several":    {"runc nft ip", "cannot make local clusters: this machine has no runc, nft, ip", "apt-get install runc nftables iproute2"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := missingTools(func(tool string) bool { return !strings.Contains(" "+tc.missing+" ", " "+tool+" ") })
			if tc.missing == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			got := []string{string(fault.CodeOf(err)), err.Error(), fault.HintOf(err)}
			if diff := cmp.Diff([]string{"invalid", tc.message, tc.hint}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestChooseVersion(t *testing.T) {
	for asked, want := range map[string]string{"": "v1.36.3", "v1.36.3": "v1.36.3", "1.36.3": "v1.36.3", "v1.35.0": "", "1.36": ""} {
		got, err := chooseVersion(asked, "v1.36.3")
		if got != want {
			t.Errorf("asked for %q it is %q, want %q", asked, got, want)
		}
		if want == "" && (fault.CodeOf(err) != fault.Invalid || !strings.Contains(fault.HintOf(err), "v1.36.3")) {
			t.Errorf("asked for %q: %v, want an error of code Invalid with what is built", asked, err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"blue": true, "production-20261121-0103": true, "a": true, "1": true, strings.Repeat("a", 42): true,
		"": false, "Blue": false, "a_b": false, "-a": false, "a-": false, "a/b": false, "..": false, "a.b": false, strings.Repeat("a", 43): false,
	} {
		if err := checkName(name); (err == nil) != good {
			t.Errorf("%q: %v, want it good: %v", name, err, good)
		}
	}
}

// TestBadNamesReachNothing checks that no method does anything with a name that is a path to elsewhere.
func TestBadNamesReachNothing(t *testing.T) {
	state := t.TempDir()
	provider := New(Options{StateDir: filepath.Join(state, "s")})
	keep := filepath.Join(state, "s", "keep")
	if err := os.MkdirAll(keep, 0o700); err != nil {
		t.Fatal(err)
	}
	const name = "../keep"
	_, observed := provider.Observe(t.Context(), name)
	for _, err := range []error{observed, provider.Create(t.Context(), name, t.Logf), provider.Delete(t.Context(), name, t.Logf)} {
		if fault.CodeOf(err) != fault.Invalid {
			t.Errorf("got %v, want an error of code Invalid", err)
		}
	}
	if _, err := os.Stat(keep); err != nil {
		t.Error(err)
	}
}

func TestOptionsThatNoClusterHas(t *testing.T) {
	for _, o := range []Options{{Nodes: -1}, {Nodes: 201}} {
		o.StateDir = t.TempDir()
		if err := New(o).checkOptions(); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%+v: %v, want an error of code Invalid", o, err)
		}
	}
}

func TestAbsent(t *testing.T) {
	provider := New(Options{StateDir: filepath.Join(t.TempDir(), "never")})
	status, err := provider.Observe(t.Context(), "blue")
	if diff := cmp.Diff(cluster.Status{Phase: cluster.Absent}, status); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if names, err := provider.List(t.Context()); len(names) > 0 || err != nil {
		t.Errorf("listed %v, %v", names, err)
	}
	if err := provider.Delete(t.Context(), "blue", t.Logf); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(provider.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking made something: %v", err)
	}
}

func TestBegunAndNotCompleted(t *testing.T) {
	provider := New(Options{StateDir: t.TempDir()})
	c := provider.cluster("blue")
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	status, err := provider.Observe(t.Context(), "blue")
	if err != nil || status.Phase != cluster.Partial {
		t.Errorf("observed %+v, %v", status, err)
	}
	want := record{Name: "blue", Kubernetes: "v1.36.3", Nodes: []Node{{"blue-1", netip.MustParseAddr("198.18.0.2")}}}
	if err := c.writeRecord(want); err != nil {
		t.Fatal(err)
	}
	got, err := c.readRecord()
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if status, err = provider.Observe(t.Context(), "blue"); err != nil || status.Detail == "" || status.Phase != cluster.Partial {
		t.Errorf("observed %+v, %v, want it partial, with the reason", status, err)
	}
	if names, err := provider.List(t.Context()); err != nil || len(names) != 1 {
		t.Errorf("listed %v, %v", names, err)
	}
}

func TestMustBe(t *testing.T) {
	r := record{Name: "blue", Kubernetes: "v1.36.3", Nodes: make([]Node, 2)}
	for _, tc := range []struct {
		nodes   int
		version string
		want    fault.Code
	}{{0, "v1.36.3", ""}, {2, "v1.36.3", ""}, {1, "v1.36.3", fault.Invalid}, {0, "v1.37.0", fault.Invalid}} {
		if got := fault.CodeOf(r.mustBe(tc.nodes, tc.version)); got != tc.want {
			t.Errorf("%d nodes of %s: %q, want %q", tc.nodes, tc.version, got, tc.want)
		}
	}
}

func TestIDsDiffer(t *testing.T) {
	a, b := New(Options{StateDir: "/state/a"}), New(Options{StateDir: "/state/b"})
	ids := map[string]string{}
	for what, id := range map[string]string{"a/x": a.cluster("x").id, "b/x": b.cluster("x").id, "a/y": a.cluster("y").id, "a's registry": a.registryID()} {
		if other, taken := ids[id]; taken {
			t.Errorf("%s and %s have the same id", what, other)
		}
		ids[id] = what
	}
	if again := New(Options{StateDir: "/state/../state/a/"}).cluster("x").id; ids[again] != "a/x" {
		t.Errorf("the same directory by another path has another id")
	}
}

func TestNodeMissing(t *testing.T) {
	started := time.Date(2026, 11, 21, 1, 0, 0, 0, time.UTC)
	condition := func(status corev1.ConditionStatus, heard time.Time) []corev1.NodeCondition {
		return []corev1.NodeCondition{
			{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, LastHeartbeatTime: metav1.NewTime(heard)},
			{Type: corev1.NodeReady, Status: status, Message: "why", LastHeartbeatTime: metav1.NewTime(heard)},
		}
	}
	cases := map[string]struct {
		conditions []corev1.NodeCondition
		want       string
	}{
		"ready":                {condition(corev1.ConditionTrue, started.Add(time.Second)), ""},
		"ready, at once":       {condition(corev1.ConditionTrue, started), ""},
		"ready, before it was": {condition(corev1.ConditionTrue, started.Add(-time.Second)), "the kubelet of the node one-1 has not reported since its start"},
		"not ready":            {condition(corev1.ConditionFalse, started), "the node one-1 is not ready: why"},
		"unknown":              {condition(corev1.ConditionUnknown, started), "the node one-1 is not ready: why"},
		"silent":               {nil, "the node one-1 has not reported"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "one-1"}, Status: corev1.NodeStatus{Conditions: tc.conditions}}
			if got := nodeMissing(n, started); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestWaitFor(t *testing.T) {
	looks := 0
	err := waitFor(t.Context(), time.Minute, "it", func(context.Context) (string, error) {
		looks++
		return map[bool]string{true: "not yet"}[looks < 3], nil
	})
	if err != nil || looks != 3 {
		t.Errorf("%d looks, %v", looks, err)
	}
	err = waitFor(t.Context(), 20*time.Millisecond, "it", func(context.Context) (string, error) { return "still not", nil })
	if fault.CodeOf(err) != fault.Unavailable || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "still not") {
		t.Errorf("at the deadline: %v", err)
	}
	dead := fmt.Errorf("dead")
	if err = waitFor(t.Context(), time.Minute, "it", func(context.Context) (string, error) { return "x", dead }); !errors.Is(err, dead) {
		t.Errorf("when it cannot come any more: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err = waitFor(ctx, time.Minute, "it", func(context.Context) (string, error) { return "x", nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("when it is cancelled: %v", err)
	}
}

func TestEnded(t *testing.T) {
	d := process.Daemon{Name: "kubelet", Dir: t.TempDir()}
	if err := ended(d, os.Getpid()); err != nil {
		t.Errorf("a running process: %v", err)
	}
	const never = 1 << 30
	if err := ended(d, never); err == nil || !strings.Contains(err.Error(), "kubelet ended: it said nothing") {
		t.Errorf("without a log: %v", err)
	}
	if err := os.WriteFile(d.LogFile(), []byte("first\nlast words\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ended(d, never); err == nil || err.Error() != "kubelet ended: last words" || !strings.Contains(fault.HintOf(err), d.LogFile()) {
		t.Errorf("with a log: %v", err)
	}
}
