// Package local makes clusters of real, unmodified upstream Kubernetes on this machine, without a container engine: the
// programs of the lab bundle, each node in a network and a mount namespace of its own, all processes of a cluster in control
// groups below the cluster's.
//
// A cluster's files are in STATE/local/NAME. What else there is of it carries its id, a hash of that path: namespaces
// (package netns) and control groups (package cgroup). So it is found again, completed or removed by any process at any
// time, and clusters of different state directories do not meet.
package local

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/cgroup"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/lockdir"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/netns"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Options says where local clusters are and what new ones are like.
type Options struct {
	// StateDir is the state directory of Crossfade; clusters are below its directory "local".
	StateDir string
	// Nodes is the number of nodes of a cluster, the first of which is also its control plane. 0 is 1 for a new cluster, and
	// as many as it has for an existing one.
	Nodes int
	// Kubernetes is the version to run, like v1.36.3. Empty is the one that is built, or as it is for an existing cluster.
	Kubernetes string
	// ReadyWithin bounds the wait for a cluster to become ready. 0 is three minutes.
	ReadyWithin time.Duration
}

// Provider makes local clusters. It implements cluster.Provider; generations are names of clusters.
type Provider struct {
	options Options
	dir     string // the directory with a directory for each cluster
	network netns.Network
	groups  cgroup.Machine
	now     func() time.Time
}

var _ cluster.Provider = (*Provider)(nil)

// New returns the provider of the local clusters of a state directory. It makes nothing and checks nothing: methods that need
// what the machine does not have say so, with code Invalid and a hint.
func New(o Options) *Provider {
	if o.ReadyWithin == 0 {
		o.ReadyWithin = 3 * time.Minute
	}
	dir := filepath.Join(o.StateDir, "local")
	if abs, err := filepath.Abs(dir); err == nil { // fails only without a working directory
		dir = abs
	}
	return &Provider{options: o, dir: dir, network: netns.Default(), groups: cgroup.Detect(), now: time.Now}
}

// clusterName is what a cluster may be called: part of host names and labels.
var clusterName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$`)

func checkName(name string) error {
	if !clusterName.MatchString(name) {
		return fault.New(fault.Invalid, "cannot name a cluster %q", name).
			WithHint("use up to 42 lower-case letters, digits and dashes, with a letter or digit at both ends")
	}
	return nil
}

// mostNodes is how many nodes have a subnet for their pods, with room to spare. Few machines carry a tenth of it.
const mostNodes = 200

// checkOptions refuses options that no cluster can have.
func (p *Provider) checkOptions() error {
	if p.options.Nodes < 0 || p.options.Nodes > mostNodes {
		return fault.New(fault.Invalid, "cannot make a cluster with %d nodes", p.options.Nodes).WithHint("use 1 to %d", mostNodes)
	}
	built, err := builtVersion()
	if err != nil {
		return err
	}
	_, err = chooseVersion(p.options.Kubernetes, built)
	return err
}

// Observe reports on a cluster, as cluster.Provider says. It asks the API server and waits for it at most two seconds.
func (p *Provider) Observe(ctx context.Context, name string) (cluster.Status, error) {
	if err := checkName(name); err != nil {
		return cluster.Status{}, err
	}
	c := p.cluster(name)
	if !c.exists() {
		return cluster.Status{Phase: cluster.Absent}, nil
	}
	status := cluster.Status{Phase: cluster.Partial, Access: c.access()}
	record, err := c.readRecord()
	if errors.Is(err, fs.ErrNotExist) {
		status.Detail = "it was begun, and not completed"
		return status, nil
	} else if err != nil {
		return status, err
	}
	for _, n := range record.Nodes {
		status.Nodes = append(status.Nodes, n.Address.String())
	}
	if reason := c.notReady(ctx, record); reason != "" {
		status.Detail = reason
		return status, nil
	}
	status.Phase = cluster.Ready
	return status, nil
}

// Create makes a cluster or completes one, as cluster.Provider says: whatever does not run of it is started.
func (p *Provider) Create(ctx context.Context, name string, progress cluster.Progress) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := p.checkMachine(); err != nil {
		return err
	}
	if err := p.checkOptions(); err != nil { // before anything is made
		return err
	}
	c := p.cluster(name)
	lock, err := lockdir.Take(ctx, c.dir, 0o700)
	if err != nil {
		return fault.New(fault.Locked, "cannot lock the cluster %s: %w", name, err)
	}
	defer lock.Release()
	return c.create(ctx, progress)
}

// Delete removes a cluster and all that there is of it, as cluster.Provider says. With the last cluster of the state directory
// its registry ends as well; the images in it stay.
func (p *Provider) Delete(ctx context.Context, name string, progress cluster.Progress) error {
	if err := checkName(name); err != nil {
		return err
	}
	c := p.cluster(name)
	if c.exists() {
		lock, err := lockdir.Take(ctx, c.dir, 0o700)
		if err != nil {
			return fault.New(fault.Locked, "cannot lock the cluster %s: %w", name, err)
		}
		if err := c.unmergeAll(ctx); err != nil {
			lock.Release()
			return err
		}
		if err := c.remove(ctx, lock); err != nil {
			return err
		}
		progress("removed the cluster %s", name)
	}
	return p.stopUnusedRegistry(ctx)
}

// Clear deletes every cluster of the state directory, its registry, and the images in it. It may be called at any time, and
// again after having been cut off; it must not run beside a Create or a Push of the same state directory.
func (p *Provider) Clear(ctx context.Context, progress cluster.Progress) error {
	names, err := p.List(ctx)
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, name := range names {
		group.Go(func() error { return p.Delete(groupCtx, name, progress) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := p.stopRegistry(ctx); err != nil { // Push starts it without a cluster
		return err
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return fault.New(fault.Failed, "cannot remove the files of local clusters: %w", err)
	}
	return nil
}

// List names the clusters that are not Absent, in order.
func (p *Provider) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fault.New(fault.Failed, "cannot list the local clusters: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && clusterName.MatchString(e.Name()) { // the registry's directory has a name that no cluster has
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Cluster is a local cluster as it was made and as it is observed.
type Cluster struct {
	Name       string `json:"name"`
	Kubernetes string `json:"kubernetes,omitempty"` // its version
	cluster.Status
}

// Describe observes all clusters of the state directory, in order of name.
func (p *Provider) Describe(ctx context.Context) ([]Cluster, error) {
	names, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	described := make([]Cluster, len(names))
	group, ctx := errgroup.WithContext(ctx)
	for i, name := range names {
		group.Go(func() error {
			status, err := p.Observe(ctx, name)
			if err != nil {
				return err
			}
			record, _ := p.cluster(name).readRecord() // Observe has said what is wrong with it
			described[i] = Cluster{Name: name, Kubernetes: record.Kubernetes, Status: status}
			return nil
		})
	}
	return described, group.Wait()
}

// Node is one node of a cluster.
type Node struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"` // its NodePorts answer there
}
