package local

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/crossfade-dev/crossfade/internal/cluster/local/netns"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/node"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// client returns a client with the rights of an administrator.
func (c oneCluster) client() (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.file("kubeconfig"))
	if err != nil {
		return nil, fmt.Errorf("cannot read the kubeconfig: %w", err)
	}
	config.Timeout = 5 * time.Second
	config.QPS = -1 // waiting is bounded by what we wait for
	return kubernetes.NewForConfig(config)
}

// apiMissing says why the API server is not ready, or "".
func (c oneCluster) apiMissing(ctx context.Context) string {
	client, err := c.client()
	if err != nil {
		return err.Error()
	}
	var status int
	err = client.RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status).Error()
	if err != nil && status != http.StatusOK {
		return err.Error()
	}
	return ""
}

// notReady says why the cluster is not ready, or "". It looks once, for two seconds at most.
func (c oneCluster) notReady(ctx context.Context, r record) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if name := c.dead(r); name != "" {
		return name + " does not run"
	}
	if reason := c.apiMissing(ctx); reason != "" {
		return reason
	}
	return c.nodesMissing(ctx, r)
}

// dead names a component of the cluster that does not run, or "".
func (c oneCluster) dead(r record) string {
	all := map[int][]string{1: {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "provisioner"}}
	for node := 1; node <= len(r.Nodes); node++ {
		all[node] = append(all[node], "containerd", "kubelet", "kube-proxy")
		for _, name := range all[node] {
			if c.daemonFiles(node, name).Find() == 0 {
				return name
			}
		}
	}
	return ""
}

// nodesMissing says which nodes are not Ready, or "".
func (c oneCluster) nodesMissing(ctx context.Context, r record) string {
	client, err := c.client()
	if err != nil {
		return err.Error()
	}
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for i, n := range r.Nodes {
		at := slices.IndexFunc(list.Items, func(item corev1.Node) bool { return item.Name == n.Name })
		if at < 0 {
			return "the node " + n.Name + " has not registered"
		}
		if reason := nodeMissing(list.Items[at], c.kubeletStart(i+1)); reason != "" {
			return reason
		}
	}
	return ""
}

// kubeletStart returns when the kubelet of a node was started, in whole seconds, as times in Kubernetes are.
func (c oneCluster) kubeletStart(node int) time.Time {
	info, err := os.Stat(c.daemonFiles(node, "kubelet").PIDFile())
	if err != nil {
		return time.Time{}
	}
	return info.ModTime().Truncate(time.Second)
}

// nodeMissing says why a node is not Ready, or "". What a kubelet said that is no more does not count: the API server
// remembers it for most of a minute.
func nodeMissing(n corev1.Node, started time.Time) string {
	for _, condition := range n.Status.Conditions {
		switch {
		case condition.Type != corev1.NodeReady:
		case condition.LastHeartbeatTime.Time.Before(started):
			return "the kubelet of the node " + n.Name + " has not reported since its start"
		case condition.Status != corev1.ConditionTrue:
			return fmt.Sprintf("the node %s is not ready: %s", n.Name, condition.Message)
		default:
			return ""
		}
	}
	return "the node " + n.Name + " has not reported"
}

// somethingMissing says what keeps a started cluster from being ready, or "". It completes nodes as they register.
func (c oneCluster) somethingMissing(ctx context.Context, r record) string {
	for _, look := range []func() string{
		func() string { return c.completeNodes(ctx, r) },
		func() string { return c.nodesMissing(ctx, r) },
		func() string { return c.dnsMissing(ctx) },
	} {
		if reason := look(); reason != "" {
			return reason
		}
	}
	return ""
}

// dnsMissing says why names do not resolve on the first node, or "". It asks as a pod would.
func (c oneCluster) dnsMissing(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return c.network.Dial(ctx, c.host(1), network, netip.AddrPortFrom(node.DNSService, 53))
	}}
	if _, err := resolver.LookupHost(ctx, "kubernetes.default.svc."+node.ClusterDomain+"."); err != nil {
		return "the name server does not answer: " + err.Error()
	}
	return ""
}

// completeNodes gives nodes what their kubelets may not say themselves: the control plane's role, and the subnet of the pods.
func (c oneCluster) completeNodes(ctx context.Context, r record) string {
	client, err := c.client()
	if err != nil {
		return err.Error()
	}
	for i, n := range r.Nodes {
		found, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if found.Spec.PodCIDR != "" {
			continue
		}
		role := "worker"
		if i == 0 {
			role = "control-plane"
		}
		subnet := node.PodSubnetOf(i + 1).String()
		patch, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"labels": map[string]string{"node-role.kubernetes.io/" + role: ""}},
			"spec":     map[string]any{"podCIDR": subnet, "podCIDRs": []string{subnet}},
		})
		if err != nil {
			return err.Error()
		}
		if _, err := client.CoreV1().Nodes().Patch(ctx, n.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return err.Error()
		}
	}
	return ""
}

// applyAddons applies the name server and the storage class. It may run again at any time.
func (c oneCluster) applyAddons(ctx context.Context, programs programs) error {
	manifest := strings.NewReplacer("IMAGE", programs.image("coredns"), "DNS_ADDRESS", node.DNSService.String(), "DOMAIN", node.ClusterDomain).Replace(addonsManifest)
	_, err := netns.Output(ctx, manifest, programs.path("kubectl"), "--kubeconfig", c.file("kubeconfig"),
		"apply", "--server-side", "--force-conflicts", "--field-manager=crossfade-local", "-f", "-")
	if err != nil {
		return fault.New(fault.Unavailable, "cannot apply the addons of %s: %w", c.name, err)
	}
	return nil
}
