package workload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/apierror"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
)

// The bounds of a diagnosis, so that it can be read and recorded.
const (
	maxSick     = 5    // pods told about, of each object
	maxEvents   = 6    // of each object or pod, the latest
	logLines    = 20   // of each container
	logBytes    = 8192 // of each container
	eventsAsked = 200
)

// Explain tells why objects are not ready, in lines to be shown to a person: their state, the pods concerned with their
// reasons, the last events, and the last log lines of containers that run badly (of the run before when one has crashed).
// It tells nothing about objects that are ready, and what cannot be found out is a line too: it has no error. Of Secrets
// and environment variables nothing is ever told; what a program writes to its log is.
func Explain(ctx context.Context, c *kube.Cluster, objs []*unstructured.Unstructured) []string {
	var lines []string
	for _, obj := range objs {
		found, err := c.Get(ctx, obj)
		if err != nil {
			return append(lines, err.Error())
		}
		if found == nil {
			lines = append(lines, ident.Of(obj)+": it is not there")
			continue
		}
		if seen := kube.StateOf(found); !seen.Ready {
			lines = append(lines, fmt.Sprintf("%s: %s", ident.Of(found), seen.Why))
			lines = append(lines, events(ctx, c, found.GetNamespace(), found.GetKind(), found.GetName())...)
			pods, err := podsOf(ctx, c, found)
			pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return podReady(p) && restarts(p) == 0 })
			lines = append(lines, podLines(ctx, c, pods, err)...)
		}
	}
	return lines
}

// Diagnose tells about the pods of a namespace as Explain does, those that are not ready first; of those that are ready it
// tells the end of their logs, as a check that fails may have its reason there.
func Diagnose(ctx context.Context, c *kube.Cluster, namespace string) []string {
	pods, err := listPods(ctx, c, namespace, metav1.ListOptions{})
	slices.SortStableFunc(pods, func(a, b corev1.Pod) int {
		if podReady(a) == podReady(b) {
			return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
		}
		if podReady(a) {
			return 1
		}
		return -1
	})
	return podLines(ctx, c, pods, err)
}

// podLines tells about the first few pods, in their order.
func podLines(ctx context.Context, c *kube.Cluster, pods []corev1.Pod, err error) []string {
	if err != nil {
		return []string{"  " + err.Error()}
	}
	var lines []string
	for i, pod := range pods {
		if i == maxSick {
			return append(lines, fmt.Sprintf("  and %d more pods", len(pods)-maxSick))
		}
		lines = append(lines, fmt.Sprintf("  Pod %s/%s: %s", pod.Namespace, pod.Name, podReason(pod)))
		for _, line := range events(ctx, c, pod.Namespace, "Pod", pod.Name) {
			lines = append(lines, "  "+line)
		}
		for _, container := range containersOf(pod) {
			lines = append(lines, containerLines(ctx, c, pod, container)...)
		}
	}
	return lines
}

func podReady(pod corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodSucceeded {
		return true
	}
	return slices.ContainsFunc(pod.Status.Conditions, func(condition corev1.PodCondition) bool {
		return condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue
	})
}

func restarts(pod corev1.Pod) int32 {
	var count int32
	for _, container := range containersOf(pod) {
		count += container.RestartCount
	}
	return count
}

// podReason says what is wrong with a pod as a whole: why it is not scheduled, or its phase.
func podReason(pod corev1.Pod) string {
	if podReady(pod) {
		return "ready"
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return fmt.Sprintf("%s: %s", condition.Reason, condition.Message)
		}
	}
	if pod.Status.Reason != "" {
		return fmt.Sprintf("%s: %s", pod.Status.Reason, pod.Status.Message)
	}
	return strings.ToLower(string(pod.Status.Phase)) + ", not ready"
}

// containerLines tells about one container, with the end of its log.
func containerLines(ctx context.Context, c *kube.Cluster, pod corev1.Pod, container corev1.ContainerStatus) []string {
	if endedWell(container) {
		return nil
	}
	lines := []string{fmt.Sprintf("    container %s: %s", container.Name, containerReason(container))}
	if container.State.Waiting != nil && container.LastTerminationState.Terminated == nil {
		return lines // it never ran, so there is no log
	}
	for _, line := range lastWords(ctx, c, pod, container) {
		lines = append(lines, "      | "+line)
	}
	return lines
}

// lastWords is the end of the log of the run that says most: the one before for a container that has crashed and waits.
// Which of the two logs the kubelet still has changes from moment to moment, so the other one is asked for when there is none.
func lastWords(ctx context.Context, c *kube.Cluster, pod corev1.Pod, container corev1.ContainerStatus) []string {
	previous := container.State.Waiting != nil
	lines, err := logTail(ctx, c, pod, container.Name, previous)
	if err != nil && (container.RestartCount > 0 || previous) {
		lines, err = logTail(ctx, c, pod, container.Name, !previous)
	}
	if err != nil {
		return []string{"(its log cannot be read: " + apierror.Reason(err) + ")"}
	}
	return lines
}

func containerReason(container corev1.ContainerStatus) string {
	switch state := container.State; {
	case state.Waiting != nil:
		return strings.TrimSuffix(state.Waiting.Reason+": "+state.Waiting.Message, ": ") + exitText(container)
	case state.Terminated != nil:
		return fmt.Sprintf("ended with exit code %d (%s)", state.Terminated.ExitCode, state.Terminated.Reason)
	case container.Ready:
		return fmt.Sprintf("ready, %d restarts%s", container.RestartCount, exitText(container))
	default:
		return fmt.Sprintf("running, not ready, %d restarts%s", container.RestartCount, exitText(container))
	}
}

// noLog is what the kubelet sends, as if it were the log, when it has none any more (pkg/kubelet/kuberuntime).
const noLog = "unable to retrieve container logs for "

// logTail reads the last lines that a container, or its run before, has written.
func logTail(ctx context.Context, c *kube.Cluster, pod corev1.Pod, container string, previous bool) ([]string, error) {
	options := &corev1.PodLogOptions{Container: container, Previous: previous, TailLines: new(int64(logLines))}
	stream, err := c.Core().Pods(pod.Namespace).GetLogs(pod.Name, options).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	raw, err := io.ReadAll(io.LimitReader(stream, 64*logBytes))
	if err != nil && len(raw) == 0 {
		return nil, err
	}
	if len(raw) > logBytes {
		raw = raw[len(raw)-logBytes:]
	}
	text := strings.TrimRight(strings.ToValidUTF8(string(raw), "?"), "\n")
	switch {
	case strings.HasPrefix(text, noLog):
		return nil, errors.New("the kubelet has it no more")
	case text == "":
		return nil, nil
	}
	return strings.Split(text, "\n"), nil
}

// events tells the latest events about one object.
func events(ctx context.Context, c *kube.Cluster, namespace, kind, name string) []string {
	list, err := c.Core().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fmt.Sprintf("involvedObject.kind=%s,involvedObject.name=%s", kind, name), Limit: eventsAsked,
	})
	if err != nil {
		return []string{"  (its events cannot be read: " + apierror.Reason(err) + ")"}
	}
	slices.SortFunc(list.Items, func(a, b corev1.Event) int { return eventTime(a).Compare(eventTime(b)) })
	if extra := len(list.Items) - maxEvents; extra > 0 {
		list.Items = list.Items[extra:]
	}
	var lines []string
	for _, event := range list.Items {
		lines = append(lines, fmt.Sprintf("  %s %s: %s", eventTime(event).Format(time.TimeOnly), event.Reason, strings.Join(strings.Fields(event.Message), " ")))
	}
	return lines
}

func eventTime(event corev1.Event) time.Time {
	return cmp.Or(event.LastTimestamp.Time, event.EventTime.Time, event.CreationTimestamp.Time).UTC()
}
