package local

import (
	"context"
	"errors"
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
	if c.notReady(ctx, record) == "" && c.allRun(record) {
		return nil // as it should be
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
	if err := c.prepareNodes(ctx, record.Nodes, programs); err != nil {
		return err
	}
	progress("prepared the cluster %s with %d node(s), Kubernetes %s", c.name, len(record.Nodes), record.Kubernetes)
	return c.startAll(ctx, record, programs, progress)
}

// startAll starts every component, those first that others wait for, and waits until the cluster is ready.
func (c oneCluster) startAll(ctx context.Context, record record, programs programs, progress cluster.Progress) error {
	started := c.now()
	nodes := record.Nodes
	first := []component{c.etcd(), c.apiServer(nodes[0]), c.containerd(1, programs)}
	for _, what := range first {
		if err := c.start(ctx, 1, programs, what); err != nil {
			return err
		}
	}
	if err := waitFor(ctx, c.options.ReadyWithin, "the API server of "+c.name+" (its log is "+c.logFile(1, "kube-apiserver")+")", c.apiMissing); err != nil {
		return err
	}
	progress("started the API server of %s at %s, %s after its start", c.name, server(nodes), c.now().Sub(started).Round(100*time.Millisecond))
	for _, what := range []component{c.controllerManager(), c.scheduler(), c.provisioner()} {
		if err := c.start(ctx, 1, programs, what); err != nil {
			return err
		}
	}
	for i, self := range nodes {
		for _, what := range []component{c.containerd(i+1, programs), c.kubelet(i+1, self), c.proxy(i + 1)} {
			if err := c.start(ctx, i+1, programs, what); err != nil {
				return err
			}
		}
	}
	if err := c.applyAddons(ctx, programs); err != nil {
		return err
	}
	if err := c.waitReady(ctx, record); err != nil {
		return err
	}
	progress("the cluster %s was ready %s after its start", c.name, c.now().Sub(started).Round(100*time.Millisecond))
	return nil
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
	if c.options.Nodes != 0 && c.options.Nodes != len(r.Nodes) {
		return r, fault.New(fault.Invalid, "cannot make the cluster %s with %d node(s): it has %d", c.name, c.options.Nodes, len(r.Nodes)).
			WithHint("delete it first, or choose another name")
	}
	if r.Kubernetes != version {
		return r, fault.New(fault.Invalid, "cannot run the cluster %s with Kubernetes %s: it was made with %s", c.name, version, r.Kubernetes).
			WithHint("make a new cluster, and move to it: that is what crossfade is for")
	}
	return r, nil
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

func (c oneCluster) prepareNodes(ctx context.Context, nodes []Node, programs programs) error {
	registry, err := c.startRegistry(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, self := range nodes {
		group.Go(func() error {
			if err := c.writeNodeFiles(i+1, self, netip.AddrPort(registry), programs); err != nil {
				return err
			}
			return c.prepareNode(ctx, i+1, nodes)
		})
	}
	return group.Wait()
}
