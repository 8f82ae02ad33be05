package step

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossfade-dev/crossfade/internal/cluster"
)

// clusters is a cluster.Provider in memory. Its kubeconfig leads to nobody who answers: what is behind it is not for unit
// tests.
type clusters struct {
	standing map[string]cluster.Phase
	access   cluster.Access            // of every one, but for
	accesses map[string]cluster.Access // by generation
	nodes    []string                  // of every one; nil for 127.0.0.1
	calls    []string                  // what changed something, or was to
	undying  bool                      // Delete has no effect
	err      error                     // of every call
}

var _ cluster.Provider = (*clusters)(nil)

const kubeconfig = `{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: c}}],
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}], users: [{name: c, user: {}}]}`

func newClusters(t *testing.T, ready ...string) *clusters {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	ok(t, os.WriteFile(file, []byte(kubeconfig), 0o600))
	c := &clusters{standing: map[string]cluster.Phase{}, access: cluster.Access{Kubeconfig: file, Context: "c"}}
	for _, name := range ready {
		c.standing[name] = cluster.Ready
	}
	return c
}

func (c *clusters) Observe(_ context.Context, generation string) (cluster.Status, error) {
	phase, known := c.standing[generation]
	if !known {
		return cluster.Status{Phase: cluster.Absent}, c.err
	}
	access, own := c.accesses[generation]
	if !own {
		access = c.access
	}
	nodes := c.nodes
	if nodes == nil {
		nodes = []string{"127.0.0.1"}
	}
	return cluster.Status{Phase: phase, Access: access, Nodes: nodes}, c.err
}

func (c *clusters) Create(_ context.Context, generation string, progress cluster.Progress) error {
	c.calls = append(c.calls, "create "+generation)
	if c.err == nil && c.standing[generation] != cluster.Ready {
		c.standing[generation] = cluster.Ready
		progress("made %s", generation)
	}
	return c.err
}

func (c *clusters) Delete(_ context.Context, generation string, progress cluster.Progress) error {
	c.calls = append(c.calls, "delete "+generation)
	if _, known := c.standing[generation]; known && c.err == nil && !c.undying {
		delete(c.standing, generation)
		progress("deleted %s", generation)
	}
	return c.err
}

func (c *clusters) List(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(c.standing)), c.err
}

// serving is clusters of which one served the users before Crossfade came.
type serving struct {
	*clusters
	live  string
	asked int
}

var _ adopter = (*serving)(nil)

func (s *serving) Live(_ context.Context, prefix string) (string, error) {
	s.asked++
	return prefix + s.live, s.err
}

func (s *serving) Adopt(_ context.Context, clusterContext, generation string) error {
	s.calls = append(s.calls, "adopt "+clusterContext+" as "+generation)
	return s.err
}
