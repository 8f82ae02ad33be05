package workload_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/image"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/endpoint"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/kube/workload"
)

// web is a Deployment of its own namespace, with a Service; image and arguments are to be filled in.
const web = `
{apiVersion: v1, kind: Namespace, metadata: {name: %[1]s}}
---
{apiVersion: v1, kind: Secret, metadata: {name: password, namespace: %[1]s}, stringData: {password: hunter2}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: %[1]s}, spec: {type: NodePort, externalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 80}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: %[1]s}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: %[2]q
          args: %[3]s
          env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: password, key: password}}}]
`

// labCluster makes a cluster of one node with the images pause and coredns, and removes it at the end of the test.
func labCluster(t *testing.T) (c *kube.Cluster, images map[string]string) {
	t.Helper()
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("needs root and a cluster")
	}
	if _, err := bundle.Program("kubelet"); err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "cf") // short: the sockets of a container runtime are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	provider := local.New(local.Options{StateDir: dir})
	t.Cleanup(func() {
		if err := provider.Delete(context.WithoutCancel(t.Context()), "kube", t.Logf); err != nil {
			t.Error(err)
		}
	})
	if err := provider.Create(t.Context(), "kube", t.Logf); err != nil {
		t.Fatal(err)
	}
	images = map[string]string{}
	for _, name := range []string{"pause", "coredns"} {
		path, err := bundle.Program(name)
		if err != nil {
			t.Fatal(err)
		}
		content, err := image.Build(path, image.Options{Path: "/" + name, User: "0:0"})
		if err != nil {
			t.Fatal(err)
		}
		if images[name], err = provider.Push(t.Context(), "test/"+name+":1", content); err != nil {
			t.Fatal(err)
		}
	}
	status, err := provider.Observe(t.Context(), "kube")
	if err != nil {
		t.Fatal(err)
	}
	if c, err = kube.Connect(status.Access); err != nil {
		t.Fatal(err)
	}
	return c, images
}

func TestOnARealCluster(t *testing.T) {
	c, images := labCluster(t)
	tests := map[string]struct {
		image, args string
		want        string // in the error
		diagnosis   []string
	}{
		"good":    {image: images["pause"], args: "[]"},
		"missing": {image: images["pause"][:strings.LastIndex(images["pause"], "@")] + ":nope", args: "[]", want: "cannot be pulled", diagnosis: []string{"0 of 2 pods ready", "ImagePull"}},
		"crash":   {image: images["coredns"], args: "[-conf, /nowhere]", want: "container web crashes again and again", diagnosis: []string{"of 2 pods ready", "exit code 1", "      | ", "/nowhere", "BackOff"}},
	}
	t.Run("workloads", func(t *testing.T) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				objs := kubetest.Objects(t, fmt.Sprintf(web, name, test.image, test.args))
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				if _, err := c.Apply(ctx, objs, t.Logf); err != nil {
					t.Fatal(err)
				}
				err := workload.WaitReady(ctx, c, objs, t.Logf)
				if test.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				if fault.CodeOf(err) != fault.Failed || !strings.Contains(err.Error(), test.want) || ctx.Err() != nil {
					t.Errorf("want Failed early with %q, got %v", test.want, err)
				}
				diagnosis := strings.Join(workload.Explain(t.Context(), c, objs), "\n")
				t.Logf("%v\n%s", err, diagnosis)
				for _, text := range test.diagnosis {
					if !strings.Contains(diagnosis, text) {
						t.Errorf("the diagnosis lacks %q", text)
					}
				}
				if strings.Contains(diagnosis, "hunter2") {
					t.Error("the diagnosis tells a secret")
				}
			})
		}
	})
	if diagnosis := strings.Join(workload.Diagnose(t.Context(), c, "good"), "\n"); !strings.Contains(diagnosis, "container web: ready, 0 restarts") {
		t.Errorf("a diagnosis of what is ready:\n%s", diagnosis)
	}
	addresses, err := endpoint.Nodes(t.Context(), c)
	if err != nil || len(addresses) != 1 {
		t.Fatalf("addresses %v, %v", addresses, err)
	}
	endpoints, err := endpoint.OfService(t.Context(), c, addresses, "good", "web", "")
	if err != nil || len(endpoints) != 1 || !strings.HasPrefix(endpoints[0], addresses[0]+":3") {
		t.Errorf("endpoints %v, %v", endpoints, err)
	}
	if _, err := endpoint.OfService(t.Context(), c, addresses, "missing", "web", ""); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("no pod is ready: want Unavailable, got %v", err)
	}
}
