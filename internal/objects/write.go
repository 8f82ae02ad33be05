package objects

import (
	"context"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/workload"
)

// attempts is how often a write is tried while the API server says "not now", with doubling pauses from firstPause.
const (
	attempts   = 5
	firstPause = 100 * time.Millisecond
)

// recreated kinds have fields that cannot be changed, and nothing is lost when they are deleted and made again.
var recreated = []string{"RoleBinding", "ClusterRoleBinding", "ConfigMap", "Secret"}

// write brings one object into the other cluster and counts what came of it. Only a cluster that cannot be reached is an
// error.
func (c *copier) write(ctx context.Context, obj, existing *unstructured.Unstructured) error {
	kube.Stamp(obj, existing)
	if existing != nil {
		keepScale(obj, existing)
		keepRunning(obj, existing)
		if same(obj, existing) {
			c.counted(&c.report.Unchanged)
			return nil
		}
	}
	written, err := c.try(ctx, obj)
	switch {
	case err == nil && existing != nil && written.GetResourceVersion() == existing.GetResourceVersion():
		c.counted(&c.report.Unchanged)
	case err == nil && isDefinition(obj):
		if err := c.established(ctx, obj); err != nil {
			if kube.Unreachable(err) || ctx.Err() != nil {
				return err
			}
			c.failed(obj, err.Error())
			return nil
		}
		c.counted(&c.report.Copied)
	case err == nil:
		c.counted(&c.report.Copied)
	case kube.Unreachable(err) || ctx.Err() != nil:
		return err
	default:
		c.failed(obj, err.Error())
	}
	return nil
}

// try writes, again while the API server is busy, and once more after deleting an object whose difference cannot be written.
func (c *copier) try(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		written, err := c.to.Write(ctx, obj)
		switch {
		case err == nil:
			return written, nil
		case immutable(err, obj) && attempt == 1:
			if err := c.to.Delete(ctx, obj); err != nil {
				return nil, err
			}
		case !fault.Retryable(err) && !quotaCounting(err) || kube.Unreachable(err) || attempt == attempts:
			return nil, err
		default:
			select {
			case <-ctx.Done():
				return nil, err
			case <-time.After(pause):
			}
			pause *= 2
		}
	}
}

// immutable reports whether the error is about a field that cannot be changed, of an object that may be made again.
func immutable(err error, obj *unstructured.Unstructured) bool {
	for _, kind := range recreated {
		if obj.GetKind() == kind && strings.Contains(err.Error(), "immutable") || strings.Contains(err.Error(), "cannot change roleRef") {
			return true
		}
	}
	return false
}

// quotaCounting reports whether a quota refused the object only because it has not counted yet what is there.
func quotaCounting(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "status unknown for quota")
}

// keepScale leaves replicas alone that an autoscaler in the other cluster has set since they were copied.
func keepScale(obj, existing *unstructured.Unstructured) {
	for _, entry := range existing.GetManagedFields() {
		if entry.Subresource != "scale" {
			continue
		}
		if n, found, _ := unstructured.NestedInt64(existing.Object, "spec", "replicas"); found {
			_ = unstructured.SetNestedField(obj.Object, n, "spec", "replicas") // spec is there, as the kind can be scaled
		}
	}
}

// keepRunning never suspends a CronJob that runs in the other cluster: it was handed over since it was copied.
func keepRunning(obj, existing *unstructured.Unstructured) {
	if isCronJob(obj) && !suspended(existing) {
		_ = unstructured.SetNestedField(obj.Object, false, "spec", "suspend") // spec is there, as it was copied
		drop(obj, "metadata", "annotations", WithheldAnnotation)
	}
}

func isDefinition(obj *unstructured.Unstructured) bool {
	return obj.GroupVersionKind().GroupKind().String() == "CustomResourceDefinition.apiextensions.k8s.io"
}

// established waits until the kind that was defined is served.
func (c *copier) established(ctx context.Context, definition *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return workload.WaitReady(ctx, c.to, []*unstructured.Unstructured{definition}, func(string, ...any) {})
}

func (c *copier) counted(counter *int) {
	c.lock.Lock()
	defer c.lock.Unlock()
	*counter++
}

func (c *copier) skipped(reason string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.report.Skipped[reason]++
}

func (c *copier) failed(obj *unstructured.Unstructured, reason string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.report.Failed++; len(c.report.Failures) < maxFailures {
		c.report.Failures = append(c.report.Failures, Failure{Object: ident.Of(obj), Error: reason})
	}
}
