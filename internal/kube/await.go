package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
)

// readyInterval is how often objects that are not ready are looked at.
const readyInterval = 500 * time.Millisecond

// Judge says how an object that is there is doing, as StateOf does. It is called by many goroutines at once; an error ends
// the wait.
type Judge func(ctx context.Context, found *unstructured.Unstructured) (State, error)

// byStatus judges an object by nothing but its own status.
func byStatus(_ context.Context, found *unstructured.Unstructured) (State, error) {
	return StateOf(found), nil
}

// Await waits until every object is there and ready in the eyes of the judge, and until ctx ends at the longest; give it a
// deadline. Workloads are waited for with workload.WaitReady, which looks at their pods too. Progress is told whenever what
// is waited for changes. An object that has failed, or is not ready in time, is an error of code fault.Failed whose message
// has the cause in words. An API server that does not answer is fault.Unavailable.
func (c *Cluster) Await(ctx context.Context, objs []*unstructured.Unstructured, judge Judge, progress cluster.Progress) error {
	waiting := objs
	last := "the objects were not looked at"
	told := ""
	err := poll(ctx, readyInterval, func(ctx context.Context) (bool, error) {
		states, err := c.look(ctx, waiting, judge)
		if err != nil {
			return false, err
		}
		var rest []*unstructured.Unstructured
		for i, obj := range waiting {
			if states[i].Failed {
				return false, fault.New(fault.Failed, "%s is not ready: %s", ident.Of(obj), states[i].Why).
					WithHint("see its pods and events: kubectl --context %s describe %s", c.access.Context, describeTarget(obj))
			}
			if !states[i].Ready {
				if len(rest) == 0 {
					last = fmt.Sprintf("%s: %s", ident.Of(obj), states[i].Why)
				}
				rest = append(rest, obj)
			}
		}
		if waiting = rest; len(rest) == 0 {
			return true, nil
		}
		if text := waitText(last, len(rest)); text != told {
			told = text
			progress("%s", text)
		}
		return false, nil
	})
	if err == nil || ctx.Err() == nil {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fault.New(fault.Interrupted, "the wait for %d objects was interrupted: %w", len(waiting), ctx.Err())
	}
	return fault.New(fault.Failed, "not ready in time: %s", waitText(last, len(waiting))).
		WithHint("see its pods and events, or give it a longer timeout")
}

func waitText(first string, count int) string {
	if count > 1 {
		return fmt.Sprintf("waiting for %s (and %d more)", first, count-1)
	}
	return "waiting for " + first
}

// describeTarget is how kubectl is told about the object.
func describeTarget(obj *unstructured.Unstructured) string {
	if obj.GetNamespace() == "" {
		return fmt.Sprintf("%s %s", obj.GetKind(), obj.GetName())
	}
	return fmt.Sprintf("-n %s %s %s", obj.GetNamespace(), obj.GetKind(), obj.GetName())
}

// look observes every object once.
func (c *Cluster) look(ctx context.Context, objs []*unstructured.Unstructured, judge Judge) ([]State, error) {
	states := make([]State, len(objs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, obj := range objs {
		group.Go(func() error {
			found, err := c.Get(ctx, obj)
			if err != nil {
				return err
			}
			if found == nil {
				states[i] = State{Why: "it is not there yet"}
				return nil
			}
			states[i], err = judge(ctx, found)
			return err
		})
	}
	return states, group.Wait()
}
