package kube

import (
	"bytes"
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Output runs a program in a container of a pod and returns what it prints; give ctx a deadline. A program that is not in the image, that fails, or that
// the user of the context may not run is an error of code fault.Failed.
func (c *Cluster) Output(ctx context.Context, namespace, pod, container string, command ...string) ([]byte, error) {
	config, err := restConfig(c.access)
	if err != nil {
		return nil, err
	}
	request := c.core.RESTClient().Get().Namespace(namespace).Resource("pods").Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(config, "GET", request.URL().String())
	if err != nil {
		return nil, c.Fault(err, "cannot run %s in pod %s/%s", command[0], namespace, pod)
	}
	var out, wrong bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &wrong})
	if err != nil && strings.Contains(err.Error(), "executable file not found") {
		return nil, fault.New(fault.Failed, "the image of %s in pod %s/%s has no %s", container, namespace, pod, command[0])
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot run %s in pod %s/%s: %w: %s", command[0], namespace, pod, err, strings.TrimSpace(wrong.String()))
	}
	return out.Bytes(), nil
}
