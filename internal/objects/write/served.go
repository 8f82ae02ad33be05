package write

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/objects/definition"
)

// servedWithin bounds how long the other cluster may take to serve a kind that was defined.
const servedWithin = 30 * time.Second

// established waits until a kind that was defined is served, in every version that its definition says.
func (w *Writer) established(ctx context.Context, obj *unstructured.Unstructured) error {
	if !definition.Is(obj) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, servedWithin)
	defer cancel()
	if err := w.To.AwaitServed(ctx, obj); err != nil {
		return err
	}
	for _, kind := range definition.Served(obj) {
		if err := w.serves(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

// serves waits until the other cluster serves a kind in a version.
func (w *Writer) serves(ctx context.Context, kind schema.GroupVersionKind) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := w.To.Namespaced(kind)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
