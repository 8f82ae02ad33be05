package workload

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/crossfade-dev/crossfade/internal/kube"
)

// imagePatience is how long an image may fail to be pulled before waiting for it is given up: a registry may be away for a
// moment, but a wrong name stays wrong. crashLimit is how many restarts in a crash loop are enough.
const (
	imagePatience = 20 * time.Second
	crashLimit    = 3
)

// proof is how long a container without a readiness probe must have run before it is believed: the kubelet calls it ready
// the moment it starts, also when it is about to crash.
const proof = 2 * time.Second

// maxPods bounds how many pods of one workload are looked at.
const maxPods = 100

var replicaSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}

// trouble says what is wrong with the pods of a workload, if anything is, and whether they will not become ready however long one waits.
func trouble(ctx context.Context, c *kube.Cluster, workload *unstructured.Unstructured, watch *patience) (what string, hopeless bool, err error) {
	pods, err := podsOf(ctx, c, workload)
	if err != nil {
		return "", false, err
	}
	for _, pod := range pods {
		for _, container := range containersOf(pod) {
			key := string(pod.UID) + "/" + container.Name
			waits := container.State.Waiting
			noImage := waits != nil && slices.Contains([]string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}, waits.Reason)
			wrong := ""
			tired := watch.over(key, noImage, imagePatience)
			crashed := container.State.Running == nil && container.RestartCount > 0 && !endedWell(container)
			switch {
			case noImage:
				wrong = fmt.Sprintf("pod %s: image %s cannot be pulled: %s", pod.Name, imageOf(pod, container.Name), waits.Message)
			case crashed && container.RestartCount < crashLimit:
				wrong = fmt.Sprintf("pod %s: container %s has crashed%s", pod.Name, container.Name, exitText(container))
			case crashed:
				wrong = fmt.Sprintf("pod %s: container %s crashes again and again (%d restarts%s)",
					pod.Name, container.Name, container.RestartCount, exitText(container))
			}
			if tired || crashed && container.RestartCount >= crashLimit {
				return wrong, true, nil
			}
			what = cmp.Or(what, wrong)
		}
	}
	return what, false, nil
}

// endedWell reports whether a container has done what it was to do, as those that initialise a pod have.
func endedWell(container corev1.ContainerStatus) bool {
	return container.State.Terminated != nil && container.State.Terminated.ExitCode == 0
}

// justStarted reports whether a workload that says it is ready has containers without a readiness probe that do not run, or have
// not run for long enough to be believed: its status lags behind its pods. A container that was seen to run for that long
// without a restart is believed, whatever the clocks of the nodes say.
func justStarted(ctx context.Context, c *kube.Cluster, workload *unstructured.Unstructured, watch *patience) (bool, error) {
	if !unprobed(workload) {
		return false, nil
	}
	pods, err := podsOf(ctx, c, workload)
	if err != nil {
		return false, err
	}
	young := false
	for _, pod := range pods {
		for _, container := range pod.Status.ContainerStatuses {
			running := container.State.Running
			seen := watch.over(fmt.Sprintf("%s/%s/run%d", pod.UID, container.Name, container.RestartCount), running != nil, proof)
			if running == nil || !seen && watch.now().Sub(running.StartedAt.Time) < proof {
				young = true
			}
		}
	}
	return young, nil
}

// unprobed reports whether a workload has a container without a readiness probe.
func unprobed(workload *unstructured.Unstructured) bool {
	containers, _, _ := unstructured.NestedSlice(workload.Object, "spec", "template", "spec", "containers")
	return workload.GroupVersionKind().Group == "apps" && slices.ContainsFunc(containers, func(c any) bool {
		container, _ := c.(map[string]any)
		return container["readinessProbe"] == nil
	})
}

func exitText(container corev1.ContainerStatus) string {
	for _, end := range []*corev1.ContainerStateTerminated{container.State.Terminated, container.LastTerminationState.Terminated} {
		if end == nil {
			continue
		}
		return fmt.Sprintf(", last exit code %d, %s", end.ExitCode, end.Reason)
	}
	return ""
}

func containersOf(pod corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

// imageOf is the image that the manifest names; the one in the status is empty while it cannot be pulled.
func imageOf(pod corev1.Pod, container string) string {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == container {
			return c.Image
		}
	}
	return ""
}

// podsOf lists the pods of the current revision of a workload; none for an object that has no pods.
func podsOf(ctx context.Context, c *kube.Cluster, workload *unstructured.Unstructured) ([]corev1.Pod, error) {
	if workload.GroupVersionKind().GroupKind() == (schema.GroupKind{Kind: "Pod"}) {
		return listPods(ctx, c, workload.GetNamespace(), metav1.ListOptions{FieldSelector: "metadata.name=" + workload.GetName()})
	}
	selector, err := podSelector(ctx, c, workload)
	if err != nil || selector == nil {
		return nil, err
	}
	return listPods(ctx, c, workload.GetNamespace(), metav1.ListOptions{LabelSelector: selector.String()})
}

func listPods(ctx context.Context, c *kube.Cluster, namespace string, options metav1.ListOptions) ([]corev1.Pod, error) {
	options.Limit = maxPods
	list, err := c.Core().Pods(namespace).List(ctx, options)
	if err != nil {
		return nil, c.Fault(err, "cannot list the pods of the namespace %s", namespace)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil }), nil
}

// podSelector selects the pods of a workload's current revision, so that pods of the one it replaces are not blamed.
func podSelector(ctx context.Context, c *kube.Cluster, workload *unstructured.Unstructured) (labels.Selector, error) {
	raw, found, _ := unstructured.NestedMap(workload.Object, "spec", "selector")
	if !found || !slices.Contains([]string{"apps", "batch"}, workload.GroupVersionKind().Group) {
		return nil, nil
	}
	var parsed metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &parsed); err != nil {
		return nil, c.Fault(err, "cannot read the selector of %s", workload.GetName())
	}
	selector, err := metav1.LabelSelectorAsSelector(&parsed)
	if err != nil {
		return nil, c.Fault(err, "cannot read the selector of %s", workload.GetName())
	}
	switch workload.GetKind() {
	case "Deployment":
		return currentReplicaSet(ctx, c, workload, selector)
	case "StatefulSet":
		revision, _, _ := unstructured.NestedString(workload.Object, "status", "updateRevision")
		return with(selector, "controller-revision-hash", revision), nil
	}
	return selector, nil
}

// currentReplicaSet narrows the selector to the ReplicaSet of the Deployment's highest revision.
func currentReplicaSet(ctx context.Context, c *kube.Cluster, deployment *unstructured.Unstructured, selector labels.Selector) (labels.Selector, error) {
	hash, highest := "", -1
	for set, err := range c.List(ctx, replicaSets, kube.Query{Namespace: deployment.GetNamespace(), Labels: selector.String()}) {
		if err != nil {
			return nil, err
		}
		owner := metav1.GetControllerOf(set)
		revision, err := strconv.Atoi(set.GetAnnotations()["deployment.kubernetes.io/revision"])
		if err == nil && owner != nil && owner.UID == deployment.GetUID() && revision > highest {
			hash, highest = set.GetLabels()["pod-template-hash"], revision
		}
	}
	return with(selector, "pod-template-hash", hash), nil
}

func with(selector labels.Selector, key, value string) labels.Selector {
	if value == "" {
		return selector
	}
	requirement, err := labels.NewRequirement(key, selection.Equals, []string{value})
	if err != nil {
		return selector // the value is a label in the cluster already, so it is a valid one
	}
	return selector.Add(*requirement)
}
