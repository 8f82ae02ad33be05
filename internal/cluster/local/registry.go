package local

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/crossfade-dev/crossfade/internal/cluster/local/image"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/process"
)

const (
	// registryName is the host name of the registry inside of clusters; no name server knows it.
	registryName = "registry.crossfade.local"
	registryPort = 5000
	// registryDir is its directory beside those of the clusters, under a name that no cluster can have.
	registryDir = "_registry"
)

// Registry starts the registry of the state directory's clusters unless it runs, and returns it when it answers.
func (p *Provider) Registry(ctx context.Context) (image.Registry, error) {
	address, err := p.startRegistry(ctx)
	return image.Registry{Address: address.String(), Name: registryName}, err
}

// Push pushes an image as "repository:tag" to the registry of the state directory's clusters, and returns the reference by
// digest for use in manifests. Pushing the same image again changes nothing. The images stay until the state directory goes.
func (p *Provider) Push(ctx context.Context, reference string, content v1.Image) (string, error) {
	registry, err := p.Registry(ctx)
	if err != nil {
		return "", err
	}
	return registry.Push(ctx, reference, content)
}

func (p *Provider) registryHost() string {
	return idOf(filepath.Join(p.dir, registryDir)) + "-registry"
}

func (p *Provider) registryGroup() string {
	return filepath.Join("crossfade", idOf(filepath.Join(p.dir, registryDir)))
}

func (p *Provider) startRegistry(ctx context.Context) (netip.AddrPort, error) {
	if err := p.checkMachine(); err != nil {
		return netip.AddrPort{}, err
	}
	programs, err := findPrograms()
	if err != nil {
		return netip.AddrPort{}, err
	}
	dir := filepath.Join(p.dir, registryDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return netip.AddrPort{}, fault.New(fault.Failed, "cannot make the registry's directory: %w", err)
	}
	lock, err := process.Lock(ctx, filepath.Join(dir, "start.lock"))
	if err != nil {
		return netip.AddrPort{}, fault.New(fault.Failed, "cannot start the registry: %w", err)
	}
	defer lock.Close()
	address, err := p.network.Attach(ctx, p.registryHost(), netip.Addr{}, false)
	if err != nil {
		return netip.AddrPort{}, err
	}
	listen := netip.AddrPortFrom(address, registryPort)
	groups, err := p.groups.Make(p.registryGroup())
	if err != nil {
		return listen, fault.New(fault.Failed, "cannot start the registry: %w", err)
	}
	daemon := process.Daemon{
		Name: "registry", Dir: dir, WorkDir: "/", Cgroups: groups,
		Command: append(p.network.Enter(p.registryHost()), programs.path("registry"), "--listen", listen.String(), "--dir", filepath.Join(dir, "images")),
	}
	if _, err := daemon.Start(ctx); err != nil {
		return listen, fault.New(fault.Failed, "cannot start the registry: %w", err)
	}
	return listen, waitFor(ctx, 15*time.Second, "the registry to answer (its log is "+daemon.LogFile()+")", func(ctx context.Context) string {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", listen.String())
		if err != nil {
			return err.Error()
		}
		conn.Close()
		return ""
	})
}

// StopRegistry ends the registry, and with it the network when no other cluster of the machine uses it. Images stay. A
// registry that does not run is not an error. The next Push or Create starts it again.
func (p *Provider) StopRegistry(ctx context.Context) error {
	if err := p.groups.Remove(ctx, p.registryGroup()); err != nil {
		return fault.New(fault.Unavailable, "cannot end the registry: %w", err)
	}
	return p.network.Detach(ctx, p.registryHost())
}

// ensureImages pushes the images that every cluster needs, unless they are there.
func (p *Provider) ensureImages(ctx context.Context, programs programs) error {
	registry, err := p.Registry(ctx)
	if err != nil {
		return err
	}
	for name, user := range map[string]string{"pause": "65535:65535", "coredns": "0:0"} {
		reference := "crossfade/" + name + ":" + programs.tag()
		if there, err := registry.Has(ctx, reference); err != nil || there {
			if err != nil {
				return err
			}
			continue
		}
		content, err := image.Build(programs.path(name), image.Options{Path: "/" + name, User: user})
		if err != nil {
			return err
		}
		if _, err := registry.Push(ctx, reference, content); err != nil {
			return err
		}
	}
	return nil
}
