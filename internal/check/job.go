package check

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/workload"
	"github.com/crossfade-dev/crossfade/internal/render"
	"github.com/crossfade-dev/crossfade/internal/spec"
)

// cleanUpTimeout bounds the removal of a Job after its check, which happens also when the check was cancelled.
const cleanUpTimeout = 15 * time.Second

// jobProbe prepares a Job. Its name is made of the run's and the check's, so that a run that was killed finds it again
// instead of starting a second one.
func jobProbe(name string, j spec.JobCheck, t Target) (func(context.Context) (string, error), error) {
	namespace := j.Namespace
	if namespace == "" {
		namespace = t.Namespace
	}
	objs, err := render.Objects(spec.Manifests{Files: []string{j.Manifest}}, render.Options{Dir: t.Dir, Namespace: namespace})
	if err != nil {
		return nil, err
	}
	if len(objs) != 1 || objs[0].GroupVersionKind().GroupKind().String() != "Job.batch" {
		return nil, fmt.Errorf("the manifest %s must hold one Job and nothing else", j.Manifest)
	}
	job := objs[0]
	job.SetName(jobName(job.GetName(), t.Run, t.Environment, t.Generation, name))
	c, err := kube.Connect(t.Access)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (string, error) { return runJob(ctx, c, job) }, nil
}

// jobName is the manifest's name with a digest of what the Job is for; a pod's name must fit after it (63 characters).
func jobName(base string, parts ...string) string {
	digest := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return strings.TrimRight(base[:min(len(base), 40)], "-.") + "-" + hex.EncodeToString(digest[:4])
}

// runJob applies the Job, waits until it has ended, and removes it. While the cluster does not answer it is left, to be
// found again.
func runJob(ctx context.Context, c *kube.Cluster, job *unstructured.Unstructured) (string, error) {
	jobs := []*unstructured.Unstructured{job}
	_, err := c.Apply(ctx, jobs, func(string, ...any) {})
	if err == nil {
		err = waitComplete(ctx, c, job)
	}
	if fault.Retryable(err) || errors.Is(ctx.Err(), context.Canceled) {
		return "", err
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	name := job.GetNamespace() + "/" + job.GetName()
	if err != nil {
		err = fmt.Errorf("job %s: %w: %s", name, err, strings.Join(workload.Explain(ending, c, jobs), " | "))
	}
	if removal := c.Delete(ending, job); removal != nil && err == nil {
		return "", removal
	}
	return fmt.Sprintf("job %s completed", name), err
}

// waitComplete waits until the Job has completed; one that failed is an error at once.
func waitComplete(ctx context.Context, c *kube.Cluster, job *unstructured.Unstructured) error {
	ticker := time.NewTicker(retryInterval)
	defer ticker.Stop()
	for {
		found, err := c.Get(ctx, job)
		if err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("did not complete in time")
			}
			return err
		}
		switch outcome, message := ended(found); outcome {
		case "Complete":
			return nil
		case "Failed":
			return fmt.Errorf("failed: %s", message)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("did not complete in time")
		case <-ticker.C:
		}
	}
}

// ended returns the condition that ends a Job, "Complete" or "Failed", and its message; "" while it goes on.
func ended(job *unstructured.Unstructured) (outcome, message string) {
	if job == nil {
		return "Failed", "it was deleted"
	}
	conditions, _, _ := unstructured.NestedSlice(job.Object, "status", "conditions")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		kind, _ := condition["type"].(string)
		if (kind == "Complete" || kind == "Failed") && condition["status"] == "True" {
			message, _ = condition["message"].(string)
			return kind, message
		}
	}
	return "", ""
}
