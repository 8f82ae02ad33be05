package endpoint

import (
	"context"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	watching "k8s.io/apimachinery/pkg/watch"

	"github.com/crossfade-dev/crossfade/internal/kube"
)

// State says of nodes, by name, where each answers: its internal address while it is Ready, and "" otherwise.
type State map[string]string

// add notes a node.
func (s State) add(node corev1.Node) {
	s[node.Name] = ""
	if nodeReady(node) {
		s[node.Name] = nodeAddress(node)
	}
}

// StateOf returns the state of a cluster's nodes.
func StateOf(ctx context.Context, c *kube.Cluster) (State, error) {
	s, _, err := stateOf(ctx, c)
	return s, err
}

// stateOf returns it with the version of the cluster that it is of.
func stateOf(ctx context.Context, c *kube.Cluster) (State, string, error) {
	s, version := State{}, ""
	options := metav1.ListOptions{Limit: page}
	for {
		list, err := c.Core().Nodes().List(ctx, options)
		if err != nil {
			return nil, "", c.Fault(err, "cannot list the nodes of the cluster %s", c.Access().Context)
		}
		for _, node := range list.Items {
			s.add(node)
		}
		version = list.ResourceVersion
		if options.Continue = list.Continue; options.Continue == "" {
			return s, version, nil
		}
	}
}

// Changed waits until the nodes of a cluster are no longer in a state, for at most some whole seconds.
func Changed(ctx context.Context, c *kube.Cluster, from State, limit time.Duration) error {
	now, version, err := stateOf(ctx, c)
	if err != nil || !maps.Equal(now, from) {
		return err
	}
	seconds := int64(limit / time.Second)
	watch, err := c.Core().Nodes().Watch(ctx, metav1.ListOptions{ResourceVersion: version, TimeoutSeconds: &seconds})
	if err != nil {
		return c.Fault(err, "cannot watch the nodes of the cluster %s", c.Access().Context)
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		node, is := event.Object.(*corev1.Node)
		if !is {
			return nil // an error of the watch: whoever asks again lists them first
		}
		if now.add(*node); event.Type == watching.Deleted {
			delete(now, node.Name)
		}
		if !maps.Equal(now, from) {
			return nil
		}
	}
	return nil
}

// Answering keeps those of some addresses whose nodes are Ready. Addresses that are none of the nodes' own (of a forwarder before them, say)
// cannot be told apart, and stay.
func Answering(ctx context.Context, c *kube.Cluster, addresses []string) ([]string, error) {
	nodes, err := listNodes(ctx, c)
	if err != nil {
		return nil, err
	}
	silent := map[string]bool{}
	for _, node := range nodes {
		for _, address := range node.Status.Addresses {
			silent[address.Address] = !nodeReady(node)
		}
	}
	return slices.DeleteFunc(slices.Clone(addresses), func(address string) bool { return silent[address] }), nil
}
