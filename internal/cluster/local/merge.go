package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/cluster/local/kubeconfig"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/lockdir"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// mergedFile notes the kubeconfig files of people that have the cluster's context, one a line.
const mergedFile = "merged-kubeconfigs"

// Merge puts the context of a cluster, named as the cluster, into a kubeconfig file. Delete takes it out again. The cluster
// exists.
func (p *Provider) Merge(ctx context.Context, name, file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return fault.New(fault.Invalid, "cannot use the kubeconfig %s: %w", file, err)
	}
	c := p.cluster(name)
	lock, err := lockdir.Take(ctx, c.dir, 0o700)
	if err != nil {
		return fault.New(fault.Locked, "cannot lock the cluster %s: %w", name, err)
	}
	defer lock.Release()
	record, err := c.readRecord()
	if err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	entry, err := c.entry("admin", record.Nodes)
	if err != nil {
		return err
	}
	// Noted first: a note about a file without the context does no harm, a context that nobody removes does.
	if err := c.noteMerged(file); err != nil {
		return err
	}
	return kubeconfig.Merge(ctx, file, entry)
}

func (c oneCluster) noteMerged(file string) error {
	files, err := c.merged()
	if err != nil {
		return err
	}
	for _, known := range files {
		if known == file {
			return nil
		}
	}
	return writeFile(c.file(mergedFile), []byte(strings.Join(append(files, file), "\n")+"\n"))
}

func (c oneCluster) merged() ([]string, error) {
	raw, err := os.ReadFile(c.file(mergedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fault.New(fault.Failed, "cannot read which kubeconfigs have the cluster %s: %w", c.name, err)
	}
	return strings.FieldsFunc(string(raw), func(r rune) bool { return r == '\n' }), nil
}

// unmergeAll takes the cluster's context out of the kubeconfigs that it was merged into.
func (c oneCluster) unmergeAll(ctx context.Context) error {
	files, err := c.merged()
	if err != nil || len(files) == 0 {
		return err
	}
	entry, err := c.entry("admin", []Node{{}})
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := kubeconfig.Remove(ctx, file, entry); err != nil {
			return err
		}
	}
	return nil
}
