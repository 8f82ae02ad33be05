package local

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/crossfade-dev/crossfade/internal/cluster/local/netns"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/node"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// prepareNode makes the node's namespaces what its programs need. Doing it again changes nothing.
func (c oneCluster) prepareNode(ctx context.Context, number int, nodes []Node) error {
	if err := os.MkdirAll(c.nodeDir(number), 0o700); err != nil {
		return fault.New(fault.Failed, "cannot prepare the node %s: %w", nodes[number-1].Name, err)
	}
	routes := []string{node.PodSubnet.String()}
	for i, other := range nodes {
		if i+1 != number {
			routes = append(routes, node.PodSubnetOf(i+1).String(), other.Address.String())
		}
	}
	for _, script := range []struct {
		text string
		args []string
	}{
		{node.MountScript, []string{c.nodeDir(number), c.dir, c.network.Dir}},
		{node.SettingsScript, routes},
	} {
		command := append(c.network.Enter(c.host(number)), "/bin/sh", "-c", script.text, "sh")
		if _, err := netns.Output(ctx, "", append(command, script.args...)...); err != nil {
			return fault.New(fault.Failed, "cannot prepare the node %s: %w", nodes[number-1].Name, err)
		}
	}
	return nil
}

// writeNodeFiles writes the configuration of a node's programs.
func (c oneCluster) writeNodeFiles(number int, self Node, registry netip.AddrPort, programs programs) error {
	files := node.Node{
		Name: self.Name, Address: self.Address, Dir: c.nodeDir(number), Certificates: c.file("pki"),
		Pods: node.PodSubnetOf(number), PodGroup: c.podGroup(number), Programs: programs.dir,
		PauseImage: programs.image("pause"), RegistryName: registryName, Registry: registry,
	}.Files()
	for name, content := range files {
		if err := writeFile(filepath.Join(c.nodeDir(number), name), []byte(content)); err != nil {
			return err
		}
	}
	return nil
}

// nodeName names a node, counted from 1.
func (c oneCluster) nodeName(node int) string { return c.name + "-" + strconv.Itoa(node) }
