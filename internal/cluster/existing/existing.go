// Package existing gives the generations of an environment two clusters that somebody else made, in turn. It never makes or
// deletes a cluster: a generation moves into one that is empty, and out again.
//
// Which generation is in a cluster is written in the cluster itself, in the ConfigMap crossfade-system/generation.
package existing

import (
	"context"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/contexts"
	"github.com/crossfade-dev/crossfade/internal/kube/endpoint"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// Provider is a cluster.Provider over two contexts of a kubeconfig.
type Provider struct {
	environment string
	options     spec.ExistingCluster
	clusters    []*kube.Cluster // in the order of options.Contexts
}

var _ cluster.Provider = (*Provider)(nil)

// New reads the kubeconfig; it does not ask the clusters anything. A kubeconfig or a context that is not there is an error
// of code fault.Invalid.
func New(options spec.ExistingCluster, environment string) (*Provider, error) {
	if len(options.Contexts) != 2 || options.Contexts[0] == options.Contexts[1] {
		return nil, fault.New(fault.Invalid, "cannot use the clusters of %s: %d contexts are named, wanted two different ones", environment, len(options.Contexts)).
			WithHint("generations take the two in turn; name both in cluster.existing.contexts")
	}
	if options.Live != "" && !slices.Contains(options.Contexts, options.Live) {
		return nil, fault.New(fault.Invalid, "cannot use the clusters of %s: the live context %s is none of the two", environment, options.Live).
			WithHint("name one of %s, or leave it out", strings.Join(options.Contexts, ", "))
	}
	p := &Provider{environment: environment, options: options}
	for _, name := range options.Contexts {
		c, err := kube.Connect(cluster.Access{Kubeconfig: contexts.InUse(options.Kubeconfig), Context: name})
		if err != nil {
			return nil, err
		}
		p.clusters = append(p.clusters, c)
	}
	return p, nil
}

// Observe implements cluster.Provider.
func (p *Provider) Observe(ctx context.Context, generation string) (cluster.Status, error) {
	c, err := p.find(ctx, generation)
	if err != nil || c == nil {
		return cluster.Status{Phase: cluster.Absent}, err
	}
	status := cluster.Status{Phase: cluster.Ready, Access: c.Access()}
	if status.Nodes = p.options.NodeAddresses[c.Access().Context]; len(status.Nodes) > 0 {
		return status, nil
	}
	if status.Nodes, err = endpoint.Nodes(ctx, c); err != nil {
		return cluster.Status{}, err
	}
	if len(status.Nodes) == 0 {
		status.Phase, status.Detail = cluster.Partial, "no node is ready"
	}
	return status, nil
}

// Create implements cluster.Provider: the generation moves into the context that no generation is in. A cluster with
// anything of its users in it is not free; that is an error of code fault.Failed.
func (p *Provider) Create(ctx context.Context, generation string, progress cluster.Progress) error {
	found, err := p.find(ctx, generation)
	if err != nil || found != nil {
		return err
	}
	free, err := p.free(ctx)
	if err != nil {
		return err
	}
	content, err := contentOf(ctx, free)
	if err != nil {
		return err
	}
	if content != "" {
		return fault.New(fault.Failed, "cannot put %s into the cluster %s: it is not empty: %s", generation, free.Access().Context, content).
			WithHint("remove what is in it, or name another context; only kube-*, default and known namespaces of platforms may have content")
	}
	if err := p.mark(ctx, free, marker{Name: generation, Environment: p.environment}); err != nil {
		return err
	}
	progress("%s moved into the cluster %s", generation, free.Access().Context)
	return nil
}

// Live names the generation that serves the users in the context that the options call live: as it is marked, or, before it
// was adopted, PREFIXyymmddHHMM by the age of its cluster, in UTC. It is "" when the options name no live context. It is right
// only until the users have moved for the first time; then their router knows better.
func (p *Provider) Live(ctx context.Context, prefix string) (string, error) {
	i := slices.Index(p.options.Contexts, p.options.Live)
	if i < 0 {
		return "", nil
	}
	m, err := p.read(ctx, p.clusters[i])
	if err != nil {
		return "", err
	}
	if m != nil {
		return m.Name, nil
	}
	system := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": metav1.NamespaceSystem},
	}}
	first, err := p.clusters[i].Get(ctx, system)
	if err != nil || first == nil {
		return "", err
	}
	return prefix + first.GetCreationTimestamp().UTC().Format("0601021504"), nil
}

// Adopt records that a generation is in a context already, at Crossfade's first meeting with an environment that serves
// its users. What was there before stays its owners': Delete will not touch it. Adopting again changes nothing; a context
// that another generation is in is an error of code fault.Failed.
func (p *Provider) Adopt(ctx context.Context, contextName, generation string) error {
	i := slices.Index(p.options.Contexts, contextName)
	if i < 0 {
		return fault.New(fault.Invalid, "cannot adopt the context %s: it is none of %s", contextName, strings.Join(p.options.Contexts, ", "))
	}
	return p.mark(ctx, p.clusters[i], marker{Name: generation, Environment: p.environment})
}

// Delete implements cluster.Provider: it removes what Crossfade has made in the generation's cluster, and then the marker.
// Everything else is left, also objects of others that Crossfade has applied.
func (p *Provider) Delete(ctx context.Context, generation string, progress cluster.Progress) error {
	c, err := p.find(ctx, generation)
	if err != nil || c == nil {
		return err
	}
	if err := c.RemoveCreated(ctx, progress); err != nil {
		return err
	}
	if err := c.Delete(ctx, markerObject(marker{})); err != nil {
		return err
	}
	progress("%s moved out of the cluster %s", generation, c.Access().Context)
	return nil
}

// List implements cluster.Provider.
func (p *Provider) List(ctx context.Context) ([]string, error) {
	var names []string
	for _, c := range p.clusters {
		m, err := p.read(ctx, c)
		if err != nil {
			return nil, err
		}
		if m != nil {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// find returns the cluster that the generation is in; nil when it is in none.
func (p *Provider) find(ctx context.Context, generation string) (*kube.Cluster, error) {
	for _, c := range p.clusters {
		m, err := p.read(ctx, c)
		if err != nil {
			return nil, err
		}
		if m != nil && m.Name == generation {
			return c, nil
		}
	}
	return nil, nil //nolint:nilnil // nil means: in none, and that is documented
}

// free returns the cluster that no generation is in. While there is none in either, the live context is not free: it
// serves the users and waits to be adopted.
func (p *Provider) free(ctx context.Context) (*kube.Cluster, error) {
	names := make([]string, len(p.clusters))
	for i, c := range p.clusters {
		m, err := p.read(ctx, c)
		if err != nil {
			return nil, err
		}
		if m != nil {
			names[i] = m.Name
		}
	}
	var taken []string
	for i, c := range p.clusters {
		switch name := c.Access().Context; {
		case names[i] != "":
			taken = append(taken, names[i]+" is in "+name)
		case name == p.options.Live && names[1-i] == "":
			taken = append(taken, name+" serves the users")
		default:
			return c, nil
		}
	}
	return nil, fault.New(fault.Failed, "cannot find a free cluster for %s: %s", p.environment, strings.Join(taken, ", ")).
		WithHint("retire the generation that is not live: crossfade retire %s GENERATION", p.environment)
}
