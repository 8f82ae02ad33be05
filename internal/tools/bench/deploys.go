package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/engine"
)

// fleet is many services on one machine that are deployed at once, by us and by kubectl.
type fleet struct {
	dir        string
	services   []string
	kubeconfig string
}

const fleetPlatform = `apiVersion: crossfade.dev/v1alpha1
kind: Platform
metadata: {name: fleet}
spec: {}
---
apiVersion: crossfade.dev/v1alpha1
kind: Environment
metadata: {name: production}
spec:
  cluster: {provider: local}
  prime: [{name: namespace, files: [./manifests/namespace.yaml]}]
  services: [%s]
`

const fleetService = `---
apiVersion: crossfade.dev/v1alpha1
kind: Service
metadata: {name: %[1]s}
spec: {namespace: fleet, image: registry.crossfade.local/shop/shop, files: [./manifests/%[1]s.yaml], timeout: 10m}
`

const fleetObjects = `apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: fleet}
spec:
  replicas: 1
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: orders
          image: registry.crossfade.local/shop/shop:%[2]s
          args: [orders]
          env: [{name: API_KEY, value: key}]
          readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
          resources: {requests: {cpu: 5m, memory: 16Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: fleet}
spec: {selector: {app: %[1]s}, ports: [{port: 8080}]}
`

// deploys measures how long a number of services take to come to their next version at once, each way twice.
func deploys(count int) func(context.Context) ([]number, error) {
	return func(ctx context.Context) ([]number, error) {
		f, err := newFleet(ctx, count)
		if err != nil {
			return nil, err
		}
		defer f.close()
		var ours, theirs time.Duration
		for i, measure := range []func(context.Context, string) error{f.kubectl, f.crossfade, f.crossfade, f.kubectl} {
			tag := fmt.Sprintf("v%d", i+2)
			if err := f.push(ctx, tag); err != nil {
				return nil, err
			}
			say("deploying %d services at %s", count, tag)
			begun := time.Now()
			if err := measure(ctx, tag); err != nil {
				return nil, err
			}
			if took := time.Since(begun); i == 0 || i == 3 {
				theirs += took
			} else {
				ours += took
			}
		}
		return []number{{
			What: fmt.Sprintf("%d services deployed at once, twice", count), Ours: show(ours), Theirs: "kubectl apply, rollout status: " + show(theirs),
			Ratio: ours.Seconds() / theirs.Seconds(), Hold: "<= 1.2", Holds: ours.Seconds() <= 1.2*theirs.Seconds(),
		}}, nil
	}
}

func newFleet(ctx context.Context, count int) (*fleet, error) {
	dir, err := os.MkdirTemp("", "crossfade-bench-")
	if err != nil {
		return nil, err
	}
	f := &fleet{dir: dir}
	if err := errors.Join(os.MkdirAll(filepath.Join(f.config(), "manifests"), 0o700), os.Mkdir(f.state(), 0o700)); err != nil {
		return nil, err
	}
	if err := f.set(ctx, count); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// set sets the fleet up, at its first version.
func (f *fleet) set(ctx context.Context, count int) error {
	refs, documents := "", ""
	for i := range count {
		name := fmt.Sprintf("s%02d", i)
		f.services = append(f.services, name)
		refs += "{name: " + name + "}, "
		documents += fmt.Sprintf(fleetService, name)
		if err := f.write("manifests/"+name+".yaml", fmt.Sprintf(fleetObjects, name, "v1")); err != nil {
			return err
		}
	}
	if err := f.write("manifests/namespace.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: fleet}}\n"); err != nil {
		return err
	}
	if err := f.write("platform.yaml", fmt.Sprintf(fleetPlatform, refs)+documents); err != nil {
		return err
	}
	if err := f.push(ctx, "v1"); err != nil {
		return err
	}
	say("building a cluster with %d services", count)
	if err := f.run(ctx, "rollover", "production"); err != nil {
		return err
	}
	out, err := f.command(ctx, "local", "list", "-o", "json").Output()
	if err != nil {
		return err
	}
	var clusters []struct{ Access cluster.Access }
	if err := json.Unmarshal(out, &clusters); err != nil || len(clusters) != 1 {
		return fmt.Errorf("cannot find the cluster in %s: %w", out, err)
	}
	f.kubeconfig = clusters[0].Access.Kubeconfig
	return nil
}

func (f *fleet) write(name, content string) error {
	return os.WriteFile(filepath.Join(f.config(), name), []byte(content), 0o600)
}

func (f *fleet) config() string { return filepath.Join(f.dir, "config") }

func (f *fleet) state() string { return filepath.Join(f.dir, "state") }

// close takes everything away, however far it came.
func (f *fleet) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	err := errors.Join(local.New(local.Options{StateDir: f.state()}).Clear(ctx, func(string, ...any) {}), engine.Stop(ctx, f.state()))
	if err == nil {
		err = os.RemoveAll(f.dir)
	}
	if err != nil {
		say("something is left in %s: %v", f.dir, err)
	}
}

func (f *fleet) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, program, append(args, "--state", f.state(), "-f", f.config())...)
}

func (f *fleet) run(ctx context.Context, args ...string) error {
	if out, err := f.command(ctx, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("crossfade %v: %w: %s", args, err, tail(out))
	}
	return nil
}

func tail(out []byte) []byte { return out[max(0, len(out)-2000):] }

// push pushes a version of the program that all services run. What follows a program does not matter to it.
func (f *fleet) push(ctx context.Context, tag string) error {
	content, err := os.ReadFile("bin/shop")
	if err != nil {
		return err
	}
	file := filepath.Join(f.dir, "shop")
	if err := os.WriteFile(file, append(content, tag...), 0o700); err != nil {
		return err
	}
	return f.run(ctx, "local", "push", "shop/shop:"+tag, file)
}

// crossfade deploys all services at a version.
func (f *fleet) crossfade(ctx context.Context, tag string) error {
	args := []string{"deploy"}
	for _, s := range f.services {
		args = append(args, s+"@"+tag)
	}
	return f.run(ctx, append(args, "production")...)
}

// kubectl does what somebody does who has nothing else: it applies the manifests of every service at the version, and waits for each.
func (f *fleet) kubectl(ctx context.Context, tag string) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range f.services {
		group.Go(func() error {
			for _, args := range [][]string{
				{"apply", "--server-side", "--field-manager=crossfade", "-f", "-"},
				{"-n", "fleet", "rollout", "status", "deployment/" + s, "--timeout=10m"},
			} {
				cmd := exec.CommandContext(ctx, "bin/lab/kubectl", append([]string{"--kubeconfig", f.kubeconfig}, args...)...)
				cmd.Stdin = bytes.NewBufferString(fmt.Sprintf(fleetObjects, s, tag))
				if out, err := cmd.CombinedOutput(); err != nil {
					return fmt.Errorf("kubectl %v: %w: %s", args, err, tail(out))
				}
			}
			return nil
		})
	}
	return group.Wait()
}
