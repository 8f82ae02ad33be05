// Package endpoint finds out where a cluster and its Services answer to those who are outside.
package endpoint

import (
	"context"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
)

// page is how many nodes one request lists.
const page = 250

var endpointSlices = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}

// Nodes returns the internal addresses of the nodes that are Ready, in order of the nodes' names.
func Nodes(ctx context.Context, c *kube.Cluster) ([]string, error) {
	nodes, err := listNodes(ctx, c)
	if err != nil {
		return nil, err
	}
	var addresses []string
	for _, node := range nodes {
		if address := nodeAddress(node); address != "" && nodeReady(node) {
			addresses = append(addresses, address)
		}
	}
	return addresses, nil
}

// NodePort returns the port at which every node answers for a port of a Service, chosen by name or number; "" stands for its
// only port. A Service that has none is an error of code fault.Failed.
func NodePort(ctx context.Context, c *kube.Cluster, namespace, service, port string) (int32, error) {
	svc, err := find(ctx, c, namespace, service)
	if err != nil {
		return 0, err
	}
	chosen, err := choosePort(svc, port)
	if err != nil {
		return 0, err
	}
	if chosen.NodePort == 0 {
		return 0, fault.New(fault.Failed, "cannot route to the Service %s/%s: it has no node port (its type is %s)", namespace, service, svc.Spec.Type).
			WithHint("give it the type NodePort or LoadBalancer")
	}
	return chosen.NodePort, nil
}

// OfService returns host:port of everything that answers for a Service from outside the cluster, sorted: its load
// balancer where it has been given one, otherwise its node port at every one of the nodes' addresses. With the traffic
// policy Local only nodes that have a ready pod of it are among them; when none has, the error is of code
// fault.Unavailable.
func OfService(ctx context.Context, c *kube.Cluster, nodes []string, namespace, service, port string) ([]string, error) {
	svc, err := find(ctx, c, namespace, service)
	if err != nil {
		return nil, err
	}
	chosen, err := choosePort(svc, port)
	if err != nil {
		return nil, err
	}
	var endpoints []string
	for _, ingress := range svc.Status.LoadBalancer.Ingress {
		host := ingress.IP
		if host == "" {
			host = ingress.Hostname
		}
		endpoints = append(endpoints, net.JoinHostPort(host, strconv.Itoa(int(chosen.Port))))
	}
	if len(endpoints) > 0 {
		slices.Sort(endpoints)
		return endpoints, nil
	}
	nodePort, err := NodePort(ctx, c, namespace, service, port)
	if err != nil {
		return nil, err
	}
	if svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		if nodes, err = serving(ctx, c, nodes, namespace, service); err != nil {
			return nil, err
		}
	}
	for _, node := range nodes {
		endpoints = append(endpoints, net.JoinHostPort(node, strconv.Itoa(int(nodePort))))
	}
	slices.Sort(endpoints)
	return endpoints, nil
}

// serving keeps the addresses of nodes that have a ready pod of the Service. Addresses that are none of the cluster's own
// (of a forwarder before the nodes, say) cannot be told apart, and stay.
func serving(ctx context.Context, c *kube.Cluster, addresses []string, namespace, service string) ([]string, error) {
	ready := map[string]bool{}
	for obj, err := range c.List(ctx, endpointSlices, kube.Query{Namespace: namespace, Labels: discoveryv1.LabelServiceName + "=" + service}) {
		if err != nil {
			return nil, err
		}
		var slice discoveryv1.EndpointSlice
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &slice); err != nil {
			return nil, c.Fault(err, "cannot read the endpoints of %s/%s", namespace, service)
		}
		for _, endpoint := range slice.Endpoints {
			if endpoint.NodeName != nil && (endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready) {
				ready[*endpoint.NodeName] = true
			}
		}
	}
	nodes, err := listNodes(ctx, c)
	if err != nil {
		return nil, err
	}
	idle := map[string]bool{}
	for _, node := range nodes {
		for _, address := range node.Status.Addresses {
			idle[address.Address] = !ready[node.Name]
		}
	}
	kept := slices.DeleteFunc(slices.Clone(addresses), func(address string) bool { return idle[address] })
	if len(kept) == 0 {
		return nil, fault.New(fault.Unavailable, "cannot route to the Service %s/%s: no node has a ready pod of it", namespace, service).
			WithHint("its externalTrafficPolicy is Local; see why its pods are not ready")
	}
	return kept, nil
}

func find(ctx context.Context, c *kube.Cluster, namespace, name string) (*corev1.Service, error) {
	svc, err := c.Core().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, c.Fault(err, "cannot find the Service %s/%s in the cluster %s", namespace, name, c.Access().Context)
	}
	return svc, nil
}

func choosePort(svc *corev1.Service, port string) (corev1.ServicePort, error) {
	var names []string
	for _, p := range svc.Spec.Ports {
		if port == p.Name && port != "" || port == strconv.Itoa(int(p.Port)) || port == "" && len(svc.Spec.Ports) == 1 {
			return p, nil
		}
		names = append(names, p.Name+" "+strconv.Itoa(int(p.Port)))
	}
	if port == "" {
		return corev1.ServicePort{}, fault.New(fault.Failed, "cannot choose a port of the Service %s/%s: it has %d", svc.Namespace, svc.Name, len(names)).
			WithHint("name one in the route: %q", names)
	}
	return corev1.ServicePort{}, fault.New(fault.Failed, "cannot route to the port %s of the Service %s/%s: it has no such port", port, svc.Namespace, svc.Name).
		WithHint("its ports are %q", names)
}

func listNodes(ctx context.Context, c *kube.Cluster) ([]corev1.Node, error) {
	var nodes []corev1.Node
	options := metav1.ListOptions{Limit: page}
	for {
		list, err := c.Core().Nodes().List(ctx, options)
		if err != nil {
			return nil, c.Fault(err, "cannot list the nodes of the cluster %s", c.Access().Context)
		}
		nodes = append(nodes, list.Items...)
		if options.Continue = list.Continue; options.Continue == "" {
			return nodes, nil
		}
	}
}

func nodeReady(node corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(condition corev1.NodeCondition) bool {
		return condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
	})
}

func nodeAddress(node corev1.Node) string {
	for _, address := range node.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			return address.Address
		}
	}
	return ""
}
