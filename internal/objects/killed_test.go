package objects_test

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/apiserver"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// TestKilledCluster kills programs of either cluster in the middle of a copy. One that may wait goes on when the program is there
// again; one that may not says which cluster is gone, and the same copy goes on later. Either way everything is there once.
func TestKilledCluster(t *testing.T) {
	t.Parallel()
	from, to := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	a, b := from.Connect(t), to.Connect(t)
	tests := map[string]struct {
		reason   string
		server   *kubetest.Server
		program  string
		patience time.Duration
		want     []string // words of what is said
	}{
		"first":        {"What is read goes away.", from, apiserver.API, time.Minute, []string{"waiting for the cluster a: "}},
		"first, store": {"It answers, and can do nothing.", from, apiserver.Store, time.Minute, []string{"waiting for the cluster a: "}},
		"other":        {"What is written to goes away.", to, apiserver.API, time.Minute, []string{"waiting for the cluster b: "}},
		"impatient":    {"Nobody waits.", to, apiserver.API, 0, nil},
	}
	round := 0
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			round++
			namespace := fmt.Sprintf("killed-%d", round)
			count := fill(t, a, namespace, 400)
			dead := make(chan struct{})
			o, said := options(only(namespace)), &talk{}
			o.Patience, o.Progress = tc.patience, said.progress
			o.Tell = upon(100, func() { tc.server.Kill(tc.program); close(dead) })
			var report outcome.Report
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				report, err = objects.Copy(t.Context(), a, b, o)
			}()
			<-dead
			if tc.patience == 0 {
				<-done
			}
			eventually(t, "it waits", func() bool { return tc.patience == 0 || said.has(tc.want...) })
			tc.server.Revive(t, tc.program)
			<-done
			t.Log(said.said, err, report.Summary())
			if tc.patience == 0 {
				if fault.CodeOf(err) != fault.Unavailable || fault.HintOf(err) == "" {
					t.Errorf("%s want Unavailable with a hint, got %v (%s)", tc.reason, err, fault.HintOf(err))
				}
			} else if err != nil || report.Err() != nil || report.Copied()+report.Unchanged != count {
				t.Errorf("%s %s, %v, %v; want %d objects", tc.reason, report.Summary(), err, report.Err(), count)
			}
			if tc.patience == 0 {
				copyAll(t, a, b, only(namespace))
			}
			checkCopied(t, a, b, namespace)
		})
	}
}

// TestKilledCopy kills processes that copy at random instants. Whatever was done until then, the next goes on; in the end everything
// is there, and nothing was ever made twice.
func TestKilledCopy(t *testing.T) {
	t.Parallel()
	from, to := kubetest.Start(t, "a"), kubetest.Start(t, "b")
	a, b := from.Connect(t), to.Connect(t)
	count := fill(t, a, "killed", 600)
	made := journal(t, b, "killed")
	for killed, more := 0, true; more; killed++ {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s killed", copyVariable, from.Access.Kubeconfig, to.Access.Kubeconfig))
		var talk strings.Builder
		cmd.Stderr = &talk
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, last := bufio.NewScanner(out), 1+rand.IntN(count/4)
		wrote := 0
		for lines.Scan() {
			if wrote++; wrote == last && killed < 6 {
				_ = cmd.Process.Kill()
			}
		}
		if err := cmd.Wait(); err == nil {
			more = false
		} else if cmd.ProcessState.Exited() {
			t.Fatalf("%v: %s", err, talk.String())
		}
		t.Logf("ended after %d lines: %v", wrote, cmd.ProcessState)
	}
	checkCopied(t, a, b, "killed")
	eventually(t, "the journal is complete", func() bool { return len(made()) == count/4 })
	for name, uids := range made() {
		if len(uids) != 1 {
			t.Errorf("%s was made %d times", name, len(uids))
		}
	}
}

// journal notes the UIDs of all Secrets that a cluster ever has in a namespace from here on, by name.
func journal(t *testing.T, c *kube.Cluster, namespace string) (made func() map[string]map[types.UID]bool) {
	t.Helper()
	version := ""
	for _, err := range c.List(t.Context(), secrets, kube.Query{Began: func(now string) { version = now }}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var lock sync.Mutex
	found := map[string]map[types.UID]bool{}
	go func() {
		for t.Context().Err() == nil {
			version, _ = c.Watch(t.Context(), secrets, version, func(change kube.Change) {
				lock.Lock()
				defer lock.Unlock()
				if name := change.Object.GetName(); change.Object.GetNamespace() == namespace {
					if found[name] == nil {
						found[name] = map[types.UID]bool{}
					}
					found[name][change.Object.GetUID()] = true
				}
			})
		}
	}()
	return func() map[string]map[types.UID]bool {
		lock.Lock()
		defer lock.Unlock()
		return maps.Clone(found)
	}
}
