package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// Push pushes an image as "repository:tag" to the registry of the state directory's clusters, starting it if need be, and
// returns the reference by digest for use in manifests. Pushing the same image again changes nothing. The images stay when
// the clusters go, until Clear. The registry runs until the last cluster goes, or Clear.
func (p *Provider) Push(ctx context.Context, reference string, content v1.Image) (string, error) {
	if _, err := p.startRegistry(ctx); err != nil {
		return "", err
	}
	return p.registry().Push(ctx, reference, content)
}

// Registry returns the name of the state directory's registry, and the socket at which it takes writes while it runs.
func (p *Provider) Registry() (host, socket string) {
	r := p.registry()
	return r.Name, r.Socket
}

// registry returns the registry to push to, whether or not it runs. Clusters read it by its address.
func (p *Provider) registry() image.Registry {
	return image.Registry{Socket: p.network.File(p.registryHost(), "push"), Name: registryName}
}

func (p *Provider) registryID() string { return idOf(filepath.Join(p.dir, registryDir)) }

func (p *Provider) registryHost() string { return p.registryID() + "-registry" }

func (p *Provider) registryGroup() string { return filepath.Join(groupRoot, p.registryID()) }

// registryDaemon is the process. Only its name and directory are needed to find it.
func (p *Provider) registryDaemon() process.Daemon {
	return process.Daemon{Name: "registry", Dir: filepath.Join(p.dir, registryDir), WorkDir: "/"}
}

// startRegistry starts the registry unless it runs, and returns the address at which nodes read it once it answers.
func (p *Provider) startRegistry(ctx context.Context) (netip.AddrPort, error) {
	if err := p.checkMachine(); err != nil {
		return netip.AddrPort{}, err
	}
	programs, err := findPrograms()
	if err != nil {
		return netip.AddrPort{}, err
	}
	daemon := p.registryDaemon()
	if err := os.MkdirAll(daemon.Dir, 0o700); err != nil {
		return netip.AddrPort{}, fault.New(fault.Failed, "cannot make the registry's directory: %w", err)
	}
	lock, err := process.Lock(ctx, filepath.Join(daemon.Dir, "change.lock"))
	if err != nil {
		return netip.AddrPort{}, fault.New(fault.Locked, "cannot start the registry: %w", err)
	}
	defer lock.Close()
	address, err := p.network.Attach(ctx, p.registryHost(), netip.Addr{}, false)
	if err != nil {
		return netip.AddrPort{}, err
	}
	listen := netip.AddrPortFrom(address, registryPort)
	if daemon.Cgroups, err = p.groups.Make(p.registryGroup()); err != nil {
		return listen, fault.New(fault.Failed, "cannot start the registry: %w", err)
	}
	daemon.Command = append(p.network.Enter(p.registryHost()), programs.path("registry"),
		"--listen", listen.String(), "--socket", p.registry().Socket, "--dir", filepath.Join(daemon.Dir, "images"))
	pid, err := daemon.Start(ctx)
	if err != nil {
		return listen, fault.New(fault.Failed, "cannot start the registry: %w", err)
	}
	return listen, waitFor(ctx, 15*time.Second, "the registry", func(ctx context.Context) (string, error) {
		if reason := refused(ctx, "tcp", listen.String()) + refused(ctx, "unix", p.registry().Socket); reason != "" {
			return reason, ended(daemon, pid)
		}
		return "", nil
	})
}

// refused says why an address does not take connections, or "".
func refused(ctx context.Context, network, address string) string {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return err.Error()
	}
	conn.Close()
	return ""
}

// stopUnusedRegistry ends the registry when no cluster is left. A Create makes its cluster's directory before it asks for the
// registry, so under the lock it is clear which came first.
func (p *Provider) stopUnusedRegistry(ctx context.Context) error {
	if _, err := os.Stat(p.registryDaemon().Dir); errors.Is(err, fs.ErrNotExist) {
		return p.stopRegistry(ctx)
	}
	lock, err := process.Lock(ctx, filepath.Join(p.registryDaemon().Dir, "change.lock"))
	if err != nil {
		return fault.New(fault.Locked, "cannot end the registry: %w", err)
	}
	defer lock.Close()
	if left, err := p.List(ctx); err != nil || len(left) > 0 {
		return err
	}
	return p.stopRegistry(ctx)
}

// stopRegistry ends the registry, and with it the network when nothing else of the machine uses it. Images stay.
func (p *Provider) stopRegistry(ctx context.Context) error {
	if err := p.groups.Remove(ctx, p.registryGroup()); err != nil {
		return fault.New(fault.Unavailable, "cannot end the registry: %w", err)
	}
	return p.network.Detach(ctx, p.registryHost())
}

// ensureImages pushes the images that every cluster needs, unless they are there. The registry runs.
func (p *Provider) ensureImages(ctx context.Context, programs programs) error {
	for name, user := range map[string]string{"pause": "65535:65535", "coredns": "0:0"} {
		reference := "crossfade/" + name + ":" + programs.tag()
		there, err := p.registry().Has(ctx, reference)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		content, err := image.Build(programs.path(name), image.Options{Path: "/" + name, User: user})
		if err != nil {
			return err
		}
		if _, err := p.registry().Push(ctx, reference, content); err != nil {
			return fmt.Errorf("cannot prepare the images of local clusters: %w", err)
		}
	}
	return nil
}
