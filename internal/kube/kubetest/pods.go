package kubetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
)

const node = "node-1"

// RunPods does for pods, until the test ends, what a scheduler and a kubelet do as far as their status tells: they run on a node, are ready
// at an address (that of the i-th pod of all), and end at once. Those with the label sick never become ready.
func (s *Server) RunPods(t *testing.T, address func(i int) string) {
	t.Helper()
	s.WriteAs(t, "kubelet", "{apiVersion: v1, kind: Node, metadata: {name: "+node+"}}")
	core := s.Connect(t).Core()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	t.Cleanup(func() { stop(); <-ended })
	go func() {
		defer close(ended)
		for tick := time.NewTicker(50 * time.Millisecond); ctx.Err() == nil; {
			nurse(ctx, core, address)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
}

// nurse is one round over all pods. What fails is tried again in the next one.
func nurse(ctx context.Context, core typed.CoreV1Interface, address func(int) string) {
	alive := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":%q}]}}`, time.Now().UTC().Format(time.RFC3339))
	_, _ = core.Nodes().Patch(ctx, node, types.MergePatchType, alive, metav1.PatchOptions{}, "status")
	list, err := core.Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for i, pod := range list.Items {
		in := core.Pods(pod.Namespace)
		switch {
		case pod.DeletionTimestamp != nil:
			_ = in.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
		case pod.Spec.NodeName == "":
			_ = in.Bind(ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}, metav1.CreateOptions{})
		case pod.Status.Phase != corev1.PodRunning && pod.Labels["sick"] == "":
			_, _ = in.Patch(ctx, pod.Name, types.MergePatchType, running(address(i), pod), metav1.PatchOptions{}, "status")
		}
	}
}

// running is the status of a pod that has been ready for long.
func running(ip string, pod corev1.Pod) []byte {
	return fmt.Appendf(nil, `{"status":{"phase":"Running","podIP":%[1]q,"podIPs":[{"ip":%[1]q}],"conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{
		"name":%[2]q,"ready":true,"image":"x","imageID":"x","restartCount":0,"state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}}]}}`,
		ip, pod.Spec.Containers[0].Name)
}
