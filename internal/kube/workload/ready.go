// Package workload tells when the objects of a cluster are ready, and why they are not, by looking at their pods too: a
// status alone lags behind pods that crash, and never says that waiting is in vain.
package workload

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
)

// WaitReady waits until every object is ready (kstatus) and its pods bear it out, and until ctx ends at the longest; give it
// a deadline. Progress is told whenever what is waited for changes. An object that cannot become ready, or does not in time,
// is an error of code fault.Failed whose message has the cause in words; Explain has the whole story. An API server that
// does not answer is fault.Unavailable.
func WaitReady(ctx context.Context, c *kube.Cluster, objs []*unstructured.Unstructured, progress cluster.Progress) error {
	watch := newPatience(time.Now)
	return c.Await(ctx, objs, func(ctx context.Context, found *unstructured.Unstructured) (kube.State, error) {
		return judge(ctx, c, found, watch)
	}, progress)
}

// judge corrects the state that an object's status tells by what its pods do.
func judge(ctx context.Context, c *kube.Cluster, found *unstructured.Unstructured, watch *patience) (kube.State, error) {
	state := kube.StateOf(found)
	if state.Ready {
		young, err := justStarted(ctx, c, found, watch)
		if young {
			state = kube.State{Why: "its pods have only just started"}
		}
		return state, err
	}
	what, hopeless, err := trouble(ctx, c, found, watch)
	switch {
	case err != nil || what == "":
	case hopeless:
		state = kube.State{Failed: true, Why: what}
	default:
		state.Why += "; " + what
	}
	return state, err
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
