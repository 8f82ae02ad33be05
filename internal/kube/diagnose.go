package kube

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

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

// Diagnose tells why objects are not ready, in lines to be shown to a person: their state, the pods concerned with their
// reasons, the last events, and the last log lines of containers that run badly (of the run before when one has crashed).
// It tells nothing about objects that are ready, and what cannot be found out is a line too: it has no error. Of Secrets
// and environment variables nothing is ever told; what a program writes to its log is.
func (c *Cluster) Diagnose(ctx context.Context, objs []*unstructured.Unstructured) []string {
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
		if seen := stateOf(found); !seen.ready {
			lines = append(lines, fmt.Sprintf("%s: %s", ident.Of(found), seen.why))
			lines = append(lines, c.events(ctx, found.GetNamespace(), found.GetKind(), found.GetName())...)
			lines = append(lines, c.sickPods(ctx, found)...)
		}
	}
	return lines
}

func (c *Cluster) sickPods(ctx context.Context, workload *unstructured.Unstructured) []string {
	pods, err := c.podsOf(ctx, workload)
	if err != nil {
		return []string{"  " + err.Error()}
	}
	var lines []string
	told := 0
	for _, pod := range pods {
		if podReady(pod) {
			continue
		}
		if told++; told > maxSick {
			return append(lines, "  and more pods that are not ready")
		}
		lines = append(lines, fmt.Sprintf("  Pod %s/%s: %s", pod.Namespace, pod.Name, podReason(pod)))
		for _, line := range c.events(ctx, pod.Namespace, "Pod", pod.Name) {
			lines = append(lines, "  "+line)
		}
		for _, container := range containersOf(pod) {
			lines = append(lines, c.containerLines(ctx, pod, container)...)
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

// podReason says what is wrong with a pod as a whole: why it is not scheduled, or its phase.
func podReason(pod corev1.Pod) string {
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

// containerLines tells about one container that is not as it should be, with the end of its log.
func (c *Cluster) containerLines(ctx context.Context, pod corev1.Pod, container corev1.ContainerStatus) []string {
	state := container.State
	if container.Ready || state.Terminated != nil && state.Terminated.ExitCode == 0 {
		return nil
	}
	lines := []string{fmt.Sprintf("    container %s: %s", container.Name, containerReason(container))}
	crashed := state.Running == nil && container.LastTerminationState.Terminated != nil
	if state.Running == nil && state.Terminated == nil && !crashed {
		return lines // it never ran, so there is no log
	}
	for _, line := range c.logTail(ctx, pod, container.Name, crashed) {
		lines = append(lines, "      | "+line)
	}
	return lines
}

func containerReason(container corev1.ContainerStatus) string {
	switch state := container.State; {
	case state.Waiting != nil:
		return strings.TrimSuffix(fmt.Sprintf("%s: %s", state.Waiting.Reason, state.Waiting.Message), ": ") + exitText(container)
	case state.Terminated != nil:
		return fmt.Sprintf("ended with exit code %d (%s)", state.Terminated.ExitCode, state.Terminated.Reason)
	default:
		return fmt.Sprintf("running, not ready, %d restarts%s", container.RestartCount, exitText(container))
	}
}

// logTail reads the last lines that a container, or its run before, has written.
func (c *Cluster) logTail(ctx context.Context, pod corev1.Pod, container string, previous bool) []string {
	options := &corev1.PodLogOptions{Container: container, Previous: previous, TailLines: new(int64(logLines))}
	stream, err := c.core.Pods(pod.Namespace).GetLogs(pod.Name, options).Stream(ctx)
	if err != nil {
		return []string{"(its log cannot be read: " + reason(err) + ")"}
	}
	defer stream.Close()
	raw, err := io.ReadAll(io.LimitReader(stream, 64*logBytes))
	if err != nil && len(raw) == 0 {
		return []string{"(its log cannot be read: " + reason(err) + ")"}
	}
	if len(raw) > logBytes {
		raw = raw[len(raw)-logBytes:]
	}
	text := strings.TrimRight(strings.ToValidUTF8(string(raw), "?"), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// events tells the latest events about one object.
func (c *Cluster) events(ctx context.Context, namespace, kind, name string) []string {
	list, err := c.core.Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fmt.Sprintf("involvedObject.kind=%s,involvedObject.name=%s", kind, name), Limit: eventsAsked,
	})
	if err != nil {
		return []string{"  (its events cannot be read: " + reason(err) + ")"}
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

func convert(raw map[string]any, into any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(raw, into)
}
