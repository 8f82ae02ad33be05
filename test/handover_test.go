package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// office is what only one cluster may run: a CronJob that is due every minute, and a singleton with an autoscaler.
const office = `
{apiVersion: v1, kind: Namespace, metadata: {name: office}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick, namespace: office}
spec:
  schedule: "* * * * *"
  successfulJobsHistoryLimit: 20
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: tick, image: "registry.crossfade.local/test/gardener:v1", args: [work]}]}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: queue, namespace: office, labels: {crossfade.dev/singleton: "true"}}
spec:
  selector: {matchLabels: {app: queue}}
  template: {metadata: {labels: {app: queue}}, spec: {containers: [{name: queue, image: "registry.crossfade.local/test/gardener:v1", args: [sleep]}]}}
---
{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: queue, namespace: office}, spec: {minReplicas: 1, maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: queue}}}
`

// handsOver hands over to the second cluster and back, each time while a CronJob is due: every minute of it is run, and by one cluster.
func (p *pair) handsOver(t *testing.T) {
	p.apply("blue", office)
	p.mustKubectl("blue", "", "-n", "office", "rollout", "status", "deployment/queue", "--timeout=1m")
	if _, o := p.copy("-n", "office"); o.status != 0 {
		t.Fatalf("exit %d\n%s", o.status, o.stderr)
	}
	p.acts(t, "blue", "green")
	handOver := func(from, to string) {
		t.Helper()
		<-time.After(time.Until(time.Now().Truncate(time.Minute).Add(58 * time.Second))) // at once when that has passed
		begin := time.Now()
		o := p.must("hand-over", "--kubeconfig", p.kubeconfig, "--from", from, "--to", to, "-o", "json")
		t.Logf("handed over from %s to %s within %v\n%s", from, to, time.Since(begin), o.stderr)
		if !strings.Contains(o.stdout, `"active": "`+to+`"`) {
			t.Errorf("%s is active, says the command: %s", to, o.stdout)
		}
		p.mustKubectl(to, "", "-n", "office", "rollout", "status", "deployment/queue", "--timeout=1m")
		p.acts(t, to, from)
	}
	handOver("blue", "green")
	handOver("green", "blue")
	p.mustKubectl("blue", "", "-n", "office", "wait", "--for=create", p.runOf(time.Now().Truncate(time.Minute)), "--timeout=90s")
	p.eachMinuteOnce(t)
}

// runOf is the Job of a minute, as its controller names it.
func (p *pair) runOf(minute time.Time) string { return fmt.Sprintf("job/tick-%d", minute.Unix()/60) }

// acts wants one cluster to act, and to know it, and the other one neither.
func (p *pair) acts(t *testing.T, active, standby string) {
	t.Helper()
	for cluster, want := range map[string]string{active: "false 1", standby: "true 0"} {
		got := p.mustKubectl(cluster, "", "-n", "office", "get", "cronjob/tick", "-o", "jsonpath={.spec.suspend}") + " " +
			p.mustKubectl(cluster, "", "-n", "office", "get", "deployment/queue", "-o", "jsonpath={.spec.replicas}")
		if got != want {
			t.Errorf("%s acts: suspended and replicas are %s, want %s", cluster, got, want)
		}
	}
	if pods := p.mustKubectl(standby, "", "-n", "office", "get", "pods", "-l", "app=queue", "-o", "name"); pods != "" {
		t.Errorf("in %s there still runs %s", standby, pods)
	}
	told, err := p.kubectl(active, "", "-n", "crossfade-system", "get", "configmap/active-generation", "-o", "jsonpath={.data.isActive}")
	if err == nil && told != "true" {
		t.Errorf("%s is told %q", active, told)
	}
}

// eachMinuteOnce wants every minute from the first that was run to the last to have been run by exactly one cluster.
func (p *pair) eachMinuteOnce(t *testing.T) {
	t.Helper()
	by := map[int64][]string{}
	var minutes []int64
	for _, cluster := range []string{"blue", "green"} {
		var jobs struct {
			Items []struct {
				Metadata struct{ Annotations map[string]string }
			}
		}
		if err := json.Unmarshal([]byte(p.mustKubectl(cluster, "", "-n", "office", "get", "jobs", "-o", "json")), &jobs); err != nil {
			t.Fatal(err)
		}
		for _, job := range jobs.Items {
			due, err := time.Parse(time.RFC3339, job.Metadata.Annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"])
			if err != nil {
				t.Fatal(err)
			}
			minute := due.Unix() / 60
			by[minute], minutes = append(by[minute], cluster), append(minutes, minute)
		}
	}
	t.Logf("run by minute: %v", by)
	for minute := slices.Min(minutes); minute <= slices.Max(minutes); minute++ {
		if len(by[minute]) != 1 {
			t.Errorf("the schedule of %s was run by %v, want one cluster", time.Unix(60*minute, 0).UTC().Format(time.TimeOnly), by[minute])
		}
	}
	if len(by) < 2 {
		t.Errorf("the schedule was run %d times only", len(by))
	}
}
