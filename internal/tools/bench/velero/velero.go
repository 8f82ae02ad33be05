// Package velero has Velero back up the objects of one API server and restore them into another, as a process beside them: there are no
// nodes that it could run on. It is what a copy is measured against.
package velero

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
)

// Run is what Velero does: all its runs with one store know of the backups of the others.
type Run struct {
	Access cluster.Access
	Dir    string // for its files, which must exist and be empty
	Store  string // directory that backups are in, which must exist
}

// Result is what came of a run.
type Result struct {
	Took     time.Duration // from the order until it was carried out: without the start of Velero
	CPU      time.Duration // processor time of Velero, its start included
	Warnings int64         // that Velero has of what it did
}

// Backup installs and starts Velero, has it back up the objects with a label, without ReplicaSets, which are a matter of their
// Deployments, and stops it. Anything but a complete backup is an error with what Velero has to say.
func (r Run) Backup(ctx context.Context, name string, labels map[string]string) (Result, error) {
	return r.order(ctx, resource("Backup", name, map[string]any{
		"labelSelector": map[string]any{"matchLabels": values(labels)}, "excludedResources": []any{"replicasets.apps"},
		"includeClusterResources": true, "snapshotVolumes": false, "storageLocation": location,
	}), nil)
}

// Restore installs and starts Velero in another cluster, has it restore a backup there, and stops it. Anything but a complete restore is an error
// with what Velero has to say.
func (r Run) Restore(ctx context.Context, backup string) (Result, error) {
	restore := resource("Restore", backup, map[string]any{"backupName": backup, "includeClusterResources": true, "restorePVs": false})
	return r.order(ctx, restore, resource("Backup", backup, nil))
}

// order gives Velero an order once it knows of what must be there before. Waiting ends with ctx.
func (r Run) order(ctx context.Context, order, before *unstructured.Unstructured) (result Result, err error) {
	path, err := bundle.Program(program)
	if err != nil {
		return result, err
	}
	c, err := kube.Connect(r.Access)
	if err != nil {
		return result, err
	}
	if err := r.install(ctx, path); err != nil {
		return result, err
	}
	s, err := r.startWith(ctx, c, path, before)
	if err != nil {
		return result, err
	}
	defer s.stop()
	start := time.Now()
	if _, err := c.Create(ctx, order); err != nil {
		return result, err
	}
	done, err := s.await(ctx, c, order, completed)
	if err != nil {
		return result, err
	}
	result.Took, result.CPU = time.Since(start), s.stop()
	result.Warnings, _, _ = unstructured.NestedInt64(done.Object, "status", "warnings") // there are none when it does not say
	return result, nil
}

// The names of what Velero finds in its namespace.
const (
	namespace = "velero"
	location  = "default"
	bucket    = "bench"
)

// resource is an object that tells Velero what to do.
func resource(kind, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "velero.io/v1", "kind": kind, "metadata": map[string]any{"name": name, "namespace": namespace}, "spec": spec,
	}}
}

func values(labels map[string]string) map[string]any {
	all := map[string]any{}
	for key, value := range labels {
		all[key] = value
	}
	return all
}

// The phases of what Velero does when all is well.
const (
	available = "Available" // of a location
	completed = "Completed"
)

// verdict says whether an object, which need not be there, is in the phase that is waited for. One that never will be is an error.
func verdict(found *unstructured.Unstructured, phase string) (bool, error) {
	if found == nil {
		return false, nil
	}
	switch is, _, _ := unstructured.NestedString(found.Object, "status", "phase"); is {
	case phase:
		return true, nil
	case "Failed", "FailedValidation", "PartiallyFailed", "FinalizingPartiallyFailed", "WaitingForPluginOperationsPartiallyFailed":
		return false, fmt.Errorf("it is %s", is)
	}
	return false, nil
}
