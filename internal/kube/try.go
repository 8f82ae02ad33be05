package kube

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/fluxcd/pkg/ssa"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/apierror"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/kube/manager"
)

// Try asks the API server whether it would take objects as Apply writes them, and changes nothing. One that it would never take, for a field
// that is wrong, a node port that is taken, or a change of what cannot be changed, is an error of code fault.Invalid. What cannot be told
// before other objects are there, such as their namespace, is left to Apply.
func (c *Cluster) Try(ctx context.Context, objs []*unstructured.Unstructured) error {
	manager := ssa.NewResourceManager(c.client, nil, ssa.Owner{Field: manager.Crossfade, Group: manager.Crossfade + ".dev"})
	failed := make([]error, len(objs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, obj := range objs {
		group.Go(func() error {
			_, _, _, failed[i] = manager.Diff(ctx, obj.DeepCopy(), ssa.DefaultDiffOptions())
			return nil
		})
	}
	_ = group.Wait() // what failed is in failed, so that the first in order is told
	for i, err := range failed {
		var status *apierrors.StatusError
		if errors.As(err, &status) && (apierrors.IsInvalid(status) || apierror.Unreadable(status)) {
			why := apierror.Reason(status)
			if apierror.Unreadable(status) {
				why = cmp.Or(noQuantity("", objs[i].Object), why)
			}
			return fault.New(fault.Invalid, "the cluster %s would not take %s: %s", c.access.Context, ident.Of(objs[i]), why).
				WithHint("%s", wayOut(status.Error()))
		}
	}
	return nil
}

// wayOut says what to do about an object that the API server would never take, by what it says of it.
func wayOut(said string) string {
	switch {
	case strings.Contains(said, "field is immutable"), strings.Contains(said, "are forbidden"):
		return "what runs cannot be changed like this: leave the field as it was, give the object another name, or let a roll-over begin with it"
	case strings.Contains(said, "already allocated"):
		return "another Service has it; choose another, or leave it to the cluster"
	default:
		return "put the manifest right"
	}
}
