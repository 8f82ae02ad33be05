package objects

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
	"github.com/crossfade-dev/crossfade/internal/objects/retry"
)

// turn is one object's turn to be copied.
type turn struct {
	*copier
	tally *outcome.Tally
	from  *unstructured.Unstructured // as it is in its own cluster
	first bool                       // whether it may be put off until everything else is there
	hasty bool                       // whether an owner that is not remembered counts as one that is not there
	last  bool                       // whether what it names by UID and is not there does not come any more
}

// copy writes the object and counts what came of it; existing is what the other cluster has of its name. Only what stops
// everything is an error.
func (t *turn) copy(ctx context.Context, existing *unstructured.Unstructured) error {
	want, missing, err := t.writer.Prepare(ctx, t.from, t.hasty)
	if err == nil && len(missing) > 0 && t.first {
		t.waiting.Owned(t.from, missing, existing == nil)
		return nil
	}
	var action outcome.Action
	var reason string
	if err == nil {
		action, reason, err = t.writer.Put(ctx, t.from, want, existing, t.first)
	}
	switch {
	case err == nil:
		t.tally.Add(t.from, action, reason)
		if t.last && !t.DryRun && len(missing) > 0 {
			t.tally.Note("%s was copied without %s, which the other cluster does not have", ident.Of(t.from), strings.Join(missing, ", "))
		}
		t.waiting.Settled(t.from)
		t.patience.Accepted(action)
		return nil
	case t.patience.Ends(ctx, err):
		return err
	case t.patience.Overwhelmed(err):
		return fault.New(fault.Unavailable, "the cluster %s %w: %w", t.to.Access().Context, retry.ErrOverwhelmed, err).
			WithHint("see whether its disk is full and what its API server logs; the same command goes on then")
	case t.first:
		t.waiting.Failed(t.from)
	default:
		t.tally.Fail(t.from, err)
	}
	return nil
}
