// Package netns is the network between the nodes of local clusters: every node is a network namespace of its own, with a
// virtual Ethernet cable to a switch, and the machine itself is on that switch too. The switch is a bridge in a namespace of
// its own, so that nothing the machine does with its packets (firewalls, bridge filters of other container tools, forwarding)
// touches those between nodes; the machine's own namespace has one more link, and no packet leaves the machine.
//
//	machine  crossfade0 198.18.0.1 ---- up0
//	                                     |  switch0
//	node     eth0       198.18.0.2 ---- cf0-2
//
// Nothing is remembered: which address a node has is written on its cable, in the switch. A node also has a mount namespace,
// so that what its programs mount and write below /run, /var/log and /var/lib is the node's alone and goes with it.
package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crossfade-dev/crossfade/internal/cluster/local/lockdir"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// switchName is the directory and the tag of the switch.
const switchName = "switch"

// Network is one such network. All processes of a machine that use the same Dir share it.
type Network struct {
	Dir    string       // where the namespaces are kept; made when needed, removed when the last node is gone
	Link   string       // the machine's link to the switch
	Subnet netip.Prefix // an IPv4 network that nothing else uses; its first address is the machine's

	lock *lockdir.Lock // held while the network is changed, by the programs that change it too
}

// Default returns the network of the machine's local clusters. 198.18.0.0/15 is for benchmarks of network devices
// (RFC 2544), so no host of the world has such an address.
func Default() Network {
	return Network{Dir: "/run/crossfade", Link: "crossfade0", Subnet: netip.MustParsePrefix("198.18.0.0/16")}
}

// Gateway returns the machine's address in the network.
func (n Network) Gateway() netip.Addr { return n.Subnet.Masked().Addr().Next() }

// Attach makes a namespace of the given name with an address in the network, or completes it, and returns the address. A name
// keeps its address while the namespace exists; a new one gets the preferred address if that is free. With mounts it
// gets a mount namespace too. Names are at most 200 characters without slashes. Any number of processes may call it at once.
func (n Network) Attach(ctx context.Context, name string, prefer netip.Addr, mounts bool) (netip.Addr, error) {
	lock, err := lockdir.Take(ctx, n.Dir, 0o755)
	if err != nil {
		return netip.Addr{}, fault.New(fault.Failed, "cannot lock the network of local clusters: %w", err)
	}
	defer lock.Release()
	n.lock = lock
	if err := n.ensureSwitch(ctx); err != nil {
		return netip.Addr{}, err
	}
	if err := n.makeNamespaces(ctx, name, mounts); err != nil {
		return netip.Addr{}, err
	}
	cables, err := n.cables(ctx)
	if err != nil {
		return netip.Addr{}, err
	}
	address, plugged := cables[name]
	if plugged {
		if _, err := n.run(ctx, name, "ip", "link", "show", "eth0"); err != nil {
			// The cable is of an earlier namespace of this name, which the kernel has not cleaned up yet.
			_, _ = n.run(ctx, switchName, "ip", "link", "delete", n.cableName(address)) // unless it has by now
			delete(cables, name)
			plugged, prefer = false, address
		}
	}
	if !plugged {
		if address, err = n.plug(ctx, name, prefer, cables); err != nil {
			return netip.Addr{}, err
		}
	}
	err = n.ip(ctx, name,
		"link set lo up",
		fmt.Sprintf("address replace %s dev eth0", netip.PrefixFrom(address, n.Subnet.Bits())),
		"link set eth0 up",
		"route replace default dev eth0", // services have addresses outside the subnet: they must route before they are translated
	)
	return address, err
}

// Detach removes namespaces, and the network when no other is left. Names without a namespace are no error. The caller has
// ended the processes in them.
func (n Network) Detach(ctx context.Context, names ...string) error {
	if _, err := os.Stat(n.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := lockdir.Take(ctx, n.Dir, 0o755)
	if err != nil {
		return fault.New(fault.Failed, "cannot lock the network of local clusters: %w", err)
	}
	n.lock = lock
	cables, err := n.cables(ctx)
	if err != nil {
		lock.Release()
		return err
	}
	for _, name := range names {
		if err := errors.Join(n.unplug(ctx, name, cables), n.removeNamespaces(name)); err != nil {
			lock.Release()
			return err
		}
	}
	left, err := n.Names("")
	if err != nil || len(left) > 0 {
		lock.Release()
		return err
	}
	return n.removeAll(ctx)
}

// Names lists the namespaces whose names begin with the prefix, in order.
func (n Network) Names(prefix string) ([]string, error) {
	entries, err := os.ReadDir(n.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fault.New(fault.Failed, "cannot list the namespaces of local clusters: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != switchName && strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Enter returns the command that runs another, given after it, inside the named namespace and its mount namespace, if it has
// one.
func (n Network) Enter(name string) []string {
	command := []string{Tool("nsenter"), "--net=" + n.file(name, "net")}
	if isMountPoint(n.file(name, "mnt")) {
		command = append(command, "--mount="+n.file(name, "mnt"))
	}
	return append(command, "--")
}

// File returns a path for a file of the namespace's owner, in a directory that only root can enter. It goes with the
// namespace. The path is short enough for a socket.
func (n Network) File(name, file string) string { return n.file(name, file) }

func (n Network) file(name, kind string) string { return filepath.Join(n.Dir, name, kind) }

// ensureSwitch makes the switch and plugs the machine in, whatever is there of both.
func (n Network) ensureSwitch(ctx context.Context) error {
	if !isMountPoint(n.Dir) {
		if err := n.checkSubnet(); err != nil {
			return err
		}
		// Namespaces are kept by mounts, and a mount namespace can only be kept in a private one.
		if err := errors.Join(unix.Mount(n.Dir, n.Dir, "", unix.MS_BIND, ""), unix.Mount("", n.Dir, "", unix.MS_PRIVATE, "")); err != nil {
			return fault.New(fault.Failed, "cannot make %s a private mount: %w", n.Dir, err)
		}
	}
	if err := n.makeNamespaces(ctx, switchName, false); err != nil {
		return err
	}
	if _, err := n.run(ctx, switchName, "ip", "link", "show", "switch0"); err != nil {
		if err := n.ip(ctx, switchName, "link add switch0 type bridge"); err != nil {
			return err
		}
	}
	if _, err := n.run(ctx, switchName, "ip", "link", "show", "up0"); err != nil {
		_, _ = n.run(ctx, "", "ip", "link", "delete", n.Link) // the end of a cable to a switch that is no more, if anything
		if err := n.ip(ctx, "", fmt.Sprintf("link add %s address %s type veth peer name up0 netns %s", n.Link, hardwareAddress(n.Gateway()), n.file(switchName, "net"))); err != nil {
			return err
		}
	}
	err := n.ip(ctx, switchName, "link set switch0 up", "link set up0 master switch0 up")
	if err != nil {
		return err
	}
	return n.ip(ctx, "", fmt.Sprintf("address replace %s dev %s", netip.PrefixFrom(n.Gateway(), n.Subnet.Bits()), n.Link), "link set "+n.Link+" up")
}

// checkSubnet refuses to take a subnet that the machine has an address in already.
func (n Network) checkSubnet() error {
	links, err := net.Interfaces()
	if err != nil {
		return fault.New(fault.Failed, "cannot list the links of this machine: %w", err)
	}
	for _, link := range links {
		addresses, err := link.Addrs()
		if err != nil || link.Name == n.Link {
			continue
		}
		for _, a := range addresses {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && n.Subnet.Overlaps(prefix) {
				return fault.New(fault.Invalid, "cannot make the network of local clusters: the link %s of this machine has the address %s of its subnet %s", link.Name, a, n.Subnet).
					WithHint("take that address off the link, or make the clusters on another machine")
			}
		}
	}
	return nil
}

// removeAll removes the empty network. The lock goes with its directory.
func (n Network) removeAll(ctx context.Context) error {
	lock := n.lock
	_, linkErr := net.InterfaceByName(n.Link)
	if linkErr == nil {
		if err := n.ip(ctx, "", "link delete "+n.Link); err != nil {
			lock.Release()
			return err
		}
	}
	if err := n.removeNamespaces(switchName); err != nil {
		lock.Release()
		return err
	}
	for isMountPoint(n.Dir) {
		if err := unix.Unmount(n.Dir, unix.MNT_DETACH); err != nil {
			lock.Release()
			return fault.New(fault.Failed, "cannot unmount %s: %w", n.Dir, err)
		}
	}
	if err := lock.Remove(); err != nil {
		return fault.New(fault.Failed, "%w", err)
	}
	return nil
}

// cables reads which namespace has which address from the links in the switch, and removes what a killed Attach left of one.
func (n Network) cables(ctx context.Context) (map[string]netip.Addr, error) {
	if !isMountPoint(n.file(switchName, "net")) {
		return nil, nil
	}
	out, err := n.run(ctx, switchName, "ip", "-json", "link", "show")
	if err != nil {
		return nil, err
	}
	links, err := parseLinks(out)
	if err != nil {
		return nil, err
	}
	cables := map[string]netip.Addr{}
	for _, l := range links {
		address, ok := n.addressOf(l.Name)
		switch {
		case !ok: // the bridge, lo, the machine's cable
		case l.Alias == "":
			if err := n.ip(ctx, switchName, "link delete "+l.Name); err != nil {
				return nil, err
			}
		default:
			cables[l.Alias] = address
		}
	}
	return cables, nil
}

// plug connects a namespace to the switch with a cable that is named by the address, and returns the address.
func (n Network) plug(ctx context.Context, name string, prefer netip.Addr, cables map[string]netip.Addr) (netip.Addr, error) {
	var used []netip.Addr
	for _, a := range cables {
		used = append(used, a)
	}
	address, err := n.allocate(prefer, used)
	if err != nil {
		return address, err
	}
	_, _ = n.run(ctx, name, "ip", "link", "delete", "eth0") // of a cable that is in no switch, if anything
	cable := n.cableName(address)
	return address, n.ip(ctx, switchName,
		fmt.Sprintf("link add %s type veth peer name eth0 address %s netns %s", cable, hardwareAddress(address), n.file(name, "net")),
		fmt.Sprintf("link set %s alias %s", cable, name),
		fmt.Sprintf("link set %s master switch0 up", cable),
	)
}

// allocate returns the preferred address if it may be used, else the lowest free one.
func (n Network) allocate(prefer netip.Addr, used []netip.Addr) (netip.Addr, error) {
	free := func(a netip.Addr) bool {
		return n.Subnet.Contains(a) && a.Compare(n.Gateway()) > 0 && n.Subnet.Contains(a.Next()) && !slices.Contains(used, a)
	}
	if prefer.IsValid() && free(prefer) {
		return prefer, nil
	}
	for a := n.Gateway().Next(); n.Subnet.Contains(a); a = a.Next() {
		if free(a) {
			return a, nil
		}
	}
	return netip.Addr{}, fault.New(fault.Failed, "cannot find a free address in %s for another node", n.Subnet).
		WithHint("delete local clusters that are not needed: crossfade local list")
}

func (n Network) unplug(ctx context.Context, name string, cables map[string]netip.Addr) error {
	address, ok := cables[name]
	if !ok {
		return nil
	}
	return n.ip(ctx, switchName, "link delete "+n.cableName(address))
}

// hardwareAddress returns the link address that goes with an address. It is always the same one, because the neighbours of a
// node that is gone remember it, and would talk to nobody for seconds when the address is given to another.
func hardwareAddress(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0xcf, b[0], b[1], b[2], b[3]} // 0x02: locally administered
}

// cableName returns the name of the link in the switch for an address: at most 15 characters, as links must.
func (n Network) cableName(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("cf%d-%d", b[2], b[3])
}

// addressOf is the reverse of cableName.
func (n Network) addressOf(link string) (netip.Addr, bool) {
	var third, fourth uint8
	if count, err := fmt.Sscanf(link, "cf%d-%d", &third, &fourth); err != nil || count != 2 {
		return netip.Addr{}, false
	}
	b := n.Subnet.Addr().As4()
	return netip.AddrFrom4([4]byte{b[0], b[1], third, fourth}), true
}
