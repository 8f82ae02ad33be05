package kube

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/utils"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
)

// Applied says what applying has changed, by name of object.
type Applied struct {
	Created    []string `json:"created,omitempty"`
	Configured []string `json:"configured,omitempty"`
	Unchanged  []string `json:"unchanged,omitempty"`
	// Taken are fields that somebody had changed by other means and that are as the manifests say again; Kept are replicas
	// that an autoscaler had set and that were left to it.
	Taken []string `json:"taken,omitempty"`
	Kept  []string `json:"kept,omitempty"`
}

// Apply applies objects server-side in stages: definitions, namespaces and cluster roles first, then classes, then the
// rest; each stage is tried as a dry run before anything of it is written, and the first ones are waited for. Applying
// again changes nothing. The objects are not modified. Objects of kinds that the cluster does not serve are named all at once, before
// anything is written.
//
// A field that another server-side applier (a GitOps controller, say) declares with another value is not fought over: that
// is an error of code fault.Failed, and nothing of the stage is written.
func (c *Cluster) Apply(ctx context.Context, objs []*unstructured.Unstructured, progress cluster.Progress) (Applied, error) {
	var applied Applied
	if err := c.mustServe(ctx, objs); err != nil {
		return applied, err
	}
	manager := ssa.NewResourceManager(c.client, nil, ssa.Owner{Field: manager.Crossfade, Group: manager.Crossfade + ".dev"})
	manager.SetConcurrency(parallel)
	for i, stage := range stages(objs) {
		if len(stage) == 0 {
			continue
		}
		ready, err := c.settle(ctx, stage, &applied)
		if err != nil {
			return applied, err
		}
		changes, err := manager.ApplyAll(ctx, ready, ssa.DefaultApplyOptions())
		if err != nil {
			return applied, c.Fault(err, "cannot apply to the cluster %s", c.access.Context)
		}
		applied.add(changes)
		if i == 0 {
			if err := c.waitServed(ctx, stage, progress); err != nil {
				return applied, err
			}
		}
	}
	progress("%s", applied.told(len(objs)))
	return applied, nil
}

// told says what applying so many objects has changed.
func (a Applied) told(objects int) string {
	what := "objects"
	if objects == 1 {
		what = "object"
	}
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{len(a.Created), "created"}, {len(a.Configured), "configured"}, {len(a.Unchanged), "unchanged"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return fmt.Sprintf("applied %d %s: %s", objects, what, strings.Join(parts, ", "))
}

// stages parts objects as ssa does: definitions, classes, the rest.
func stages(objs []*unstructured.Unstructured) [][]*unstructured.Unstructured {
	parts := make([][]*unstructured.Unstructured, 3)
	for _, obj := range objs {
		stage := 2
		switch {
		case utils.IsClusterDefinition(obj):
			stage = 0
		case utils.IsClassDefinition(obj):
			stage = 1
		}
		parts[stage] = append(parts[stage], obj)
	}
	return parts
}

// settle copies the objects, puts their namespaces right, and decides about fields that others have set.
func (c *Cluster) settle(ctx context.Context, objs []*unstructured.Unstructured, applied *Applied) ([]*unstructured.Unstructured, error) {
	var lock sync.Mutex
	ready := make([]*unstructured.Unstructured, len(objs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, original := range objs {
		obj := original.DeepCopy()
		ready[i] = obj
		group.Go(func() error {
			namespaced, err := c.Namespaced(obj.GroupVersionKind())
			if err != nil {
				return err
			}
			if !namespaced {
				obj.SetNamespace("")
			}
			decided, err := c.resolveConflicts(ctx, obj)
			lock.Lock()
			defer lock.Unlock()
			applied.Taken = append(applied.Taken, decided.Taken...)
			applied.Kept = append(applied.Kept, decided.Kept...)
			return err
		})
	}
	return ready, group.Wait()
}

func (a *Applied) add(changes *ssa.ChangeSet) {
	for _, entry := range changes.Entries {
		name := ident.Name(entry.ObjMetadata.GroupKind, entry.ObjMetadata.Namespace, entry.ObjMetadata.Name)
		switch entry.Action {
		case ssa.CreatedAction:
			a.Created = append(a.Created, name)
		case ssa.ConfiguredAction:
			a.Configured = append(a.Configured, name)
		default:
			a.Unchanged = append(a.Unchanged, name)
		}
	}
}

// waitServed waits until definitions are established and the kinds that they define are served, and namespaces are active.
func (c *Cluster) waitServed(ctx context.Context, objs []*unstructured.Unstructured, progress cluster.Progress) error {
	if err := c.Await(ctx, objs, byStatus, progress); err != nil {
		return err
	}
	for _, obj := range objs {
		if !utils.IsCRD(obj) {
			continue
		}
		if err := c.AwaitServed(ctx, obj); err != nil {
			return err
		}
	}
	return nil
}

// AwaitServed waits until the kind that a CustomResourceDefinition defines is served, and until ctx ends at the longest; give it a
// deadline. A definition whose names are taken, or a kind that is not served in time, is an error of code fault.Failed.
func (c *Cluster) AwaitServed(ctx context.Context, definition *unstructured.Unstructured) error {
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind")
	err := poll(ctx, servedInterval, func(ctx context.Context) (bool, error) {
		found, err := c.Get(ctx, definition)
		if err != nil || found == nil {
			return false, err
		}
		switch state := StateOf(found); {
		case state.Failed:
			return false, fault.New(fault.Failed, "cannot use the kind %s.%s: %s", kind, group, state.Why)
		case !state.Ready:
			return false, nil
		}
		_, err = c.mapper.RESTMapping(schema.GroupKind{Group: group, Kind: kind})
		if meta.IsNoMatchError(err) {
			return false, nil
		}
		return err == nil, err
	})
	if ctx.Err() != nil {
		return fault.New(fault.Failed, "cannot use the kind %s.%s: the API server did not begin to serve it in time", kind, group)
	}
	if err != nil {
		return c.Fault(err, "cannot use the kind %s.%s", kind, group)
	}
	return nil
}

// servedInterval is how often it is looked whether a kind is served: everything waits for that, mostly for less than a second.
const servedInterval = 50 * time.Millisecond

// poll observes until the condition holds, an error comes or ctx ends; it observes at once, and then at the interval.
func poll(ctx context.Context, interval time.Duration, observe func(context.Context) (bool, error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if done, err := observe(ctx); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
