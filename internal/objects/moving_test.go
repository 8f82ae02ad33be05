package objects_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
	"github.com/crossfade-dev/crossfade/internal/objects"
)

// TestMoving changes objects all the time while they are copied: created, changed, deleted and made again. No copy fails of it, and the
// first one in peace brings the rest.
func TestMoving(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	fill(t, p.a, "moving", 200)
	ctx, stop := context.WithCancel(t.Context())
	var pending sync.WaitGroup
	for i := range 4 {
		pending.Go(func() { shake(ctx, t, p.a, i) })
	}
	wrote := 0
	for range 5 {
		report, err := objects.Copy(t.Context(), p.a, p.b, options(only("moving")))
		if err != nil || report.Err() != nil {
			t.Errorf("%s, %v, %v", report.Summary(), err, report.Err())
		}
		wrote += report.Copied() + report.Deleted
	}
	stop()
	pending.Wait()
	if wrote < 220 {
		t.Errorf("five copies wrote %d times only: nothing moved", wrote)
	}
	copyAll(t, p.a, p.b, only("moving"))
	checkCopied(t, p.a, p.b, "moving")
}

// shake changes, deletes and makes a quarter of the objects of the namespace moving until ctx ends.
func shake(ctx context.Context, t *testing.T, c *kube.Cluster, quarter int) {
	t.Helper()
	for i := 0; ctx.Err() == nil; i++ {
		text := "{apiVersion: v1, kind: ConfigMap, metadata: {name: object-%03d, namespace: moving}, data: {round: '%d'}}"
		obj := kubetest.Objects(t, fmt.Sprintf(text, quarter+4*rand.IntN(60), i))[0]
		var err error
		if rand.IntN(3) == 0 {
			err = c.Delete(ctx, obj)
		} else {
			_, err = c.Write(ctx, obj, nil, true)
		}
		if err != nil && ctx.Err() == nil {
			t.Error(err)
			return
		}
	}
}
