package demo

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossfade-dev/crossfade/demo/platform"
	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/cluster/local"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/image"
	"github.com/crossfade-dev/crossfade/internal/edge"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/workload"
	"github.com/crossfade-dev/crossfade/internal/render"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// PushShop makes the shop's image and puts it where the local clusters of a state directory find it.
func PushShop(ctx context.Context, stateDir string) error {
	program, err := bundle.Program("shop")
	if err != nil {
		return err
	}
	shop, err := image.Build(program, image.Options{Path: "/shop"})
	if err != nil {
		return err
	}
	_, repository, _ := strings.Cut(platform.Image, "/") // without the host: clusters know the registry by it
	_, err = local.New(local.Options{StateDir: stateDir}).Push(ctx, repository, shop)
	return err
}

// configure writes the demo's configuration, with the edge at the given address.
func configure(dir, listen string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fault.New(fault.Failed, "cannot write the demo's configuration: %w", err)
	}
	if err := platform.WriteTo(dir); err != nil {
		return fault.New(fault.Failed, "%w", err)
	}
	file := filepath.Join(dir, "platform.yaml")
	raw, err := os.ReadFile(file)
	if err != nil {
		return fault.New(fault.Failed, "cannot write the demo's configuration: %w", err)
	}
	raw = bytes.ReplaceAll(raw, []byte(edge.DefaultListen), []byte(listen))
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return fault.New(fault.Failed, "cannot write the demo's configuration: %w", err)
	}
	return nil
}

// ByHand applies to a generation of a state directory what somebody put there by hand, and waits until it is ready: objects
// that no pipeline owns. dir is the directory of the configuration.
func ByHand(ctx context.Context, stateDir, dir, generation string) error {
	status, err := local.New(local.Options{StateDir: stateDir}).Observe(ctx, generation)
	if err != nil {
		return err
	}
	if status.Phase != cluster.Ready {
		return fault.New(fault.Failed, "cluster %s is not ready: %s", generation, status.Detail)
	}
	c, err := kube.Connect(status.Access)
	if err != nil {
		return err
	}
	objs, err := render.Objects(spec.Manifests{Files: []string{filepath.Join(dir, platform.Existing)}}, render.Options{})
	if err != nil {
		return err
	}
	quiet := func(string, ...any) {}
	if _, err := c.Apply(ctx, objs, quiet); err != nil {
		return err
	}
	return workload.WaitReady(ctx, c, objs, quiet)
}
