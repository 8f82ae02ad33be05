package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// create makes or completes the cluster. The caller holds its lock. Each step looks first, so all of them run every time.
func (c oneCluster) create(ctx context.Context, progress cluster.Progress) error {
	programs, err := findPrograms()
	if err != nil {
		return err
	}
	record, err := c.decide()
	if err != nil {
		return err
	}
	if c.registryDaemon().Find() != 0 && c.notReady(ctx, record) == "" && c.dnsMissing(ctx) == "" {
		return nil // as it should be
	}
	registry, err := c.startRegistry(ctx)
	if err != nil {
		return err
	}
	if err := c.ensureImages(ctx, programs); err != nil {
		return err
	}
	if record, err = c.ensureNetwork(ctx, record); err != nil {
		return err
	}
	if err := c.ensureCertificates(record.Nodes); err != nil {
		return err
	}
	if err := c.prepareNodes(ctx, record.Nodes, programs, registry); err != nil {
		return err
	}
	progress("prepared the cluster %s: %d node(s), Kubernetes %s", c.name, len(record.Nodes), record.Kubernetes)
	return c.startAll(ctx, record, programs, progress)
}

// decide returns what the cluster is, or is to be, and refuses options that it was not made with.
func (c oneCluster) decide() (record, error) {
	built, err := builtVersion()
	if err != nil {
		return record{}, err
	}
	version, err := chooseVersion(c.options.Kubernetes, built)
	if err != nil {
		return record{}, err
	}
	r, err := c.readRecord()
	if errors.Is(err, fs.ErrNotExist) {
		return record{Name: c.name, Kubernetes: version, Nodes: make([]Node, max(1, c.options.Nodes))}, nil
	} else if err != nil {
		return r, err
	}
	return r, r.mustBe(c.options.Nodes, version)
}

// mustBe refuses to make another cluster of one that exists.
func (r record) mustBe(nodes int, version string) error {
	if nodes != 0 && nodes != len(r.Nodes) {
		return fault.New(fault.Invalid, "cannot make the cluster %s with %d node(s): it has %d", r.Name, nodes, len(r.Nodes)).
			WithHint("delete it first, or choose another name")
	}
	if r.Kubernetes != version {
		return fault.New(fault.Invalid, "cannot run the cluster %s with Kubernetes %s: it was made with %s", r.Name, version, r.Kubernetes).
			WithHint("make a new cluster, and move to it: that is what crossfade is for")
	}
	return nil
}

// ensureNetwork gives every node its namespaces and its address, and writes the record with them.
func (c oneCluster) ensureNetwork(ctx context.Context, r record) (record, error) {
	for i := range r.Nodes {
		address, err := c.network.Attach(ctx, c.host(i+1), r.Nodes[i].Address, true)
		if err != nil {
			return r, err
		}
		r.Nodes[i] = Node{Name: c.nodeName(i + 1), Address: address}
	}
	return r, c.writeRecord(r)
}

func (c oneCluster) prepareNodes(ctx context.Context, nodes []Node, programs programs, registry netip.AddrPort) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, self := range nodes {
		group.Go(func() error {
			if err := c.writeNodeFiles(i+1, self, registry, programs); err != nil {
				return err
			}
			return c.prepareNode(ctx, i+1, nodes)
		})
	}
	return group.Wait()
}

// startAll starts every component, those first that others wait for, and waits until the cluster is ready.
func (c oneCluster) startAll(ctx context.Context, record record, programs programs, progress cluster.Progress) error {
	begun := c.now()
	since := func() time.Duration { return c.now().Sub(begun).Round(100 * time.Millisecond) }
	nodes := record.Nodes
	var all running
	if err := c.start(ctx, &all, programs, 1, c.etcd(), c.apiServer(nodes[0]), c.containerd(1, programs)); err != nil {
		return err
	}
	if err := waitFor(ctx, c.options.ReadyWithin, "the API server of "+c.name, func(ctx context.Context) (string, error) {
		return c.apiMissing(ctx), all.ended()
	}); err != nil {
		return err
	}
	progress("started the API server of %s at %s after %s", c.name, server(nodes), since())
	if err := c.start(ctx, &all, programs, 1, c.controllerManager(), c.scheduler(), c.provisioner()); err != nil {
		return err
	}
	for i, self := range nodes {
		if err := c.startNode(ctx, &all, programs, i+1, self); err != nil {
			return err
		}
	}
	if err := c.applyAddons(ctx, programs); err != nil {
		return err
	}
	if err := waitFor(ctx, c.options.ReadyWithin, "the cluster "+c.name, func(ctx context.Context) (string, error) {
		return c.somethingMissing(ctx, record), all.ended()
	}); err != nil {
		return err
	}
	progress("the cluster %s was ready after %s", c.name, since())
	return nil
}

// startNode starts the components of a node, the kubelet when the container runtime answers: it ends when that does not.
func (c oneCluster) startNode(ctx context.Context, all *running, programs programs, node int, self Node) error {
	if err := c.start(ctx, all, programs, node, c.containerd(node, programs), c.proxy(node)); err != nil {
		return err
	}
	if err := waitFor(ctx, c.options.ReadyWithin, "the container runtime of "+self.Name, func(ctx context.Context) (string, error) {
		// Through the process, because the socket is in the node's mount namespace.
		socket := fmt.Sprintf("/proc/%d/root/run/containerd/containerd.sock", c.daemonFiles(node, "containerd").Find())
		return refused(ctx, "unix", socket), all.ended()
	}); err != nil {
		return err
	}
	if c.daemonFiles(node, "kubelet").Find() == 0 { // it would wait for each group that a dead container left
		c.groups.Prune(c.podGroup(node))
		if err := c.groups.Delegate(c.podGroup(node)); err != nil {
			return fault.New(fault.Failed, "cannot prepare the node %s: %w", self.Name, err)
		}
	}
	return c.start(ctx, all, programs, node, c.kubelet(node, self))
}
