package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
)

// readyInterval is how often objects that are not ready are looked at.
const readyInterval = 500 * time.Millisecond

// state is what was seen of one object.
type state struct {
	ready  bool
	failed bool   // it will not become ready by itself
	why    string // what it waits for, or why it failed
}

// WaitReady waits until every object is ready (kstatus), and until ctx ends at the longest; give it a deadline. Progress is
// told whenever what is waited for changes. An object that cannot become ready, or does not in time, is an error of code
// fault.Failed whose message has the cause in words; Explain has the whole story. An API server that does not answer is
// fault.Unavailable.
func (c *Cluster) WaitReady(ctx context.Context, objs []*unstructured.Unstructured, progress cluster.Progress) error {
	waiting := objs
	watch := newPatience(time.Now)
	last := "the objects were not looked at"
	told := ""
	err := poll(ctx, readyInterval, func(ctx context.Context) (bool, error) {
		states, err := c.look(ctx, waiting, watch)
		if err != nil {
			return false, err
		}
		var rest []*unstructured.Unstructured
		for i, obj := range waiting {
			if states[i].failed {
				return false, fault.New(fault.Failed, "%s is not ready: %s", ident.Of(obj), states[i].why).
					WithHint("see its pods and events: kubectl --context %s describe %s", c.access.Context, describeTarget(obj))
			}
			if !states[i].ready {
				if len(rest) == 0 {
					last = fmt.Sprintf("%s: %s", ident.Of(obj), states[i].why)
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
func (c *Cluster) look(ctx context.Context, objs []*unstructured.Unstructured, watch *patience) ([]state, error) {
	states := make([]state, len(objs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, obj := range objs {
		group.Go(func() error {
			found, err := c.Get(ctx, obj)
			if err != nil {
				return err
			}
			if found == nil {
				states[i] = state{why: "it is not there yet"}
				return nil
			}
			if states[i] = stateOf(found); states[i].ready {
				young, err := c.justStarted(ctx, found, watch)
				if young {
					states[i] = state{why: "its pods have only just started"}
				}
				return err
			}
			hopeless, err := c.hopeless(ctx, found, watch)
			if err == nil && hopeless != "" {
				states[i] = state{failed: true, why: hopeless}
			}
			return err
		})
	}
	return states, group.Wait()
}

// patience remembers since when something has been wrong without a break.
type patience struct {
	now   func() time.Time
	lock  sync.Mutex
	since map[string]time.Time
}

func newPatience(now func() time.Time) *patience {
	return &patience{now: now, since: map[string]time.Time{}}
}

// over reports whether the named trouble has been there for the given time. A trouble that is not there is forgotten.
func (p *patience) over(name string, there bool, limit time.Duration) bool {
	p.lock.Lock()
	defer p.lock.Unlock()
	if !there {
		delete(p.since, name)
		return false
	}
	begin, known := p.since[name]
	if !known {
		begin = p.now()
		p.since[name] = begin
	}
	return p.now().Sub(begin) >= limit
}
