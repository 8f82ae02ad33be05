package release

import (
	"bufio"
	"bytes"
	"context"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/release/colour"
)

// Connections counts the TCP connections to the version of a colour that are established at the ports to which the Services lead. The pods are asked for
// what their kernel knows (proc_pid_net(5)); when an image has no cat, that is an error of code fault.Failed. What of the front may still lead
// somebody there counts, too: it may be about to connect.
func (b *BlueGreen) Connections(ctx context.Context, c colour.Colour) (int, error) {
	count, err := b.draining(ctx)
	if err != nil {
		return 0, err
	}
	which, err := b.selector(ctx, c)
	if err != nil {
		return 0, err
	}
	namespace := b.Parts.Workload.GetNamespace()
	list, err := b.Cluster.Core().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: which})
	if err != nil {
		return 0, b.Cluster.Fault(err, "cannot list the pods of the namespace %s", namespace)
	}
	for _, pod := range list.Items {
		if pod.Status.Phase != corev1.PodRunning {
			continue
		}
		ports, err := b.ports(pod)
		if err != nil {
			return 0, err
		}
		n, err := b.connected(ctx, pod, ports)
		if err != nil {
			return 0, err
		}
		count += n
	}
	return count, nil
}

// ports are those of a pod to which the Services lead.
func (b *BlueGreen) ports(pod corev1.Pod) (map[int32]bool, error) {
	ports := map[int32]bool{}
	for _, obj := range b.Parts.Services {
		var service corev1.Service
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &service); err != nil {
			return nil, fault.New(fault.Failed, "cannot read %s: %w", ident.Of(obj), err)
		}
		for _, port := range service.Spec.Ports {
			switch {
			case port.TargetPort.StrVal != "":
				for _, container := range pod.Spec.Containers {
					for _, p := range container.Ports {
						ports[p.ContainerPort] = ports[p.ContainerPort] || p.Name == port.TargetPort.StrVal
					}
				}
			case port.TargetPort.IntVal != 0:
				ports[port.TargetPort.IntVal] = true
			default:
				ports[port.Port] = true
			}
		}
	}
	return ports, nil
}

// connected counts the connections of a pod at some ports. Its containers share a network: any that can tell is asked.
func (b *BlueGreen) connected(ctx context.Context, pod corev1.Pod, ports map[int32]bool) (n int, err error) {
	for _, container := range pod.Spec.Containers {
		var table, more []byte
		if table, err = b.Cluster.Output(ctx, pod.Namespace, pod.Name, container.Name, "cat", "/proc/net/tcp"); err != nil {
			continue
		}
		more, err = b.Cluster.Output(ctx, pod.Namespace, pod.Name, container.Name, "cat", "/proc/net/tcp6")
		if err != nil && !strings.Contains(strings.ToLower(err.Error()), "no such file") { // as a kernel without IPv6 has none
			continue
		}
		return established(table, ports) + established(more, ports), nil
	}
	return 0, err
}

// established counts the connections in a table of the kernel that are established at some local ports. A line of it has the local address as its second
// word, ADDRESS:PORT in hexadecimal, and the state as its fourth; 01 is established.
func established(table []byte, ports map[int32]bool) int {
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 4 || words[3] != "01" {
			continue
		}
		_, hex, _ := strings.Cut(words[1], ":")
		if port, err := strconv.ParseUint(hex, 16, 16); err == nil && ports[int32(port)] { //nolint:gosec // 16 bits fit
			n++
		}
	}
	return n
}
