package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/lockdir"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/netns"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/process"
)

// oneCluster is one cluster of a provider.
type oneCluster struct {
	*Provider
	name string
	dir  string
	id   string // on everything of it that is outside of dir
}

func (p *Provider) cluster(name string) oneCluster {
	dir := filepath.Join(p.dir, name)
	return oneCluster{Provider: p, name: name, dir: dir, id: idOf(dir)}
}

// idOf returns the id of the thing whose files are in dir.
func idOf(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:])[:10]
}

func (c oneCluster) file(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

func (c oneCluster) access() cluster.Access {
	return cluster.Access{Kubeconfig: c.file("kubeconfig"), Context: c.name}
}

// exists reports whether there is anything of the cluster.
func (c oneCluster) exists() bool {
	_, err := os.Stat(c.dir)
	if err == nil || c.groups.Exists(c.group()) {
		return true
	}
	hosts, err := c.network.Names(c.id + "-")
	return err != nil || len(hosts) > 0
}

// host names the namespaces of a node, counted from 1.
func (c oneCluster) host(node int) string { return c.id + "-" + strconv.Itoa(node) }

func (c oneCluster) nodeDir(node int) string { return c.file("nodes", strconv.Itoa(node)) }

// groupRoot is the control group above those of all local clusters.
const groupRoot = "crossfade"

// group is the control group of everything in the cluster; groups below it are of one node each.
func (c oneCluster) group() string { return filepath.Join(groupRoot, c.id) }

func (c oneCluster) nodeGroup(node int) string { return filepath.Join(c.group(), strconv.Itoa(node)) }

// podGroup is the control group of the pods of a node.
func (c oneCluster) podGroup(node int) string { return filepath.Join(c.nodeGroup(node), "pods") }

// record is what a cluster was made as. It is written before anything is started.
type record struct {
	Name       string `json:"name"`
	Kubernetes string `json:"kubernetes"`
	Nodes      []Node `json:"nodes"`
}

func (c oneCluster) readRecord() (record, error) {
	var r record
	raw, err := os.ReadFile(c.file("cluster.json"))
	if err != nil {
		return r, fmt.Errorf("cannot read what the cluster %s was made as: %w", c.name, err)
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fault.New(fault.Failed, "cannot read what the cluster %s was made as: %w", c.name, err).
			WithHint("delete the cluster: crossfade local delete %s", c.name)
	}
	return r, nil
}

func (c oneCluster) writeRecord(r record) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fault.New(fault.Failed, "cannot encode the record of the cluster %s: %w", c.name, err)
	}
	return writeFile(c.file("cluster.json"), append(raw, '\n'))
}

// writeFile writes a private file, with the directories above it; it appears complete or not at all.
func writeFile(file string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fault.New(fault.Failed, "cannot make the directory of %s: %w", file, err)
	}
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		return fault.New(fault.Failed, "cannot write %s: %w", file, err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fault.New(fault.Failed, "cannot write %s: %w", file, err)
	}
	return nil
}

// remove ends and removes everything of the cluster. Files go last: while they are there, List names the cluster, and a
// removal that was cut off is done again.
func (c oneCluster) remove(ctx context.Context, lock *lockdir.Lock) error {
	err := c.removeRunning(ctx)
	if err == nil {
		return lock.Remove()
	}
	lock.Release()
	return err
}

func (c oneCluster) removeRunning(ctx context.Context) error {
	if err := c.groups.Remove(ctx, c.group()); err != nil {
		return fault.New(fault.Unavailable, "cannot remove the cluster %s: %w", c.name, err)
	}
	hosts, err := c.network.Names(c.id + "-")
	if err != nil {
		return err
	}
	if err := c.network.Detach(ctx, hosts...); err != nil {
		return err
	}
	return unmountBelow(c.dir)
}

// unmountBelow unmounts whatever is mounted below a directory, the deepest first.
func unmountBelow(dir string) error {
	mounts, err := netns.Mounts(dir)
	if err != nil {
		return fault.New(fault.Failed, "%w", err)
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		if err := unix.Unmount(mounts[i], unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Failed, "cannot unmount %s: %w", mounts[i], err)
		}
	}
	return nil
}

// daemon returns a process of a node, inside the node's namespaces and groups.
func (c oneCluster) daemon(node int, name string, command ...string) (process.Daemon, error) {
	dirs, err := c.groups.Make(filepath.Join(c.nodeGroup(node), "system"))
	if err != nil {
		return process.Daemon{}, fault.New(fault.Failed, "cannot start %s: %w", name, err)
	}
	d := c.daemonFiles(node, name)
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return process.Daemon{}, fault.New(fault.Failed, "cannot start %s: %w", name, err)
	}
	d.WorkDir, d.Cgroups, d.Command = "/", dirs, append(c.network.Enter(c.host(node)), command...)
	return d, nil
}

// daemonFiles returns as much of a process of a node as is needed to find it.
func (c oneCluster) daemonFiles(node int, name string) process.Daemon {
	return process.Daemon{Name: name, Dir: filepath.Join(c.nodeDir(node), "run")}
}
