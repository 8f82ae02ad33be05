package lag

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// The kinds whose objects are changed: two of Kubernetes itself and one that a crowd defines.
var kinds = []struct {
	schema.GroupVersionResource
	kind string
}{
	{schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, "ConfigMap"},
	{schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, "Secret"},
	{schema.GroupVersionResource{Group: "bench.example.com", Version: "v1", Resource: "coupons"}, "Coupon"},
}

const (
	namespace  = "changes"
	annotation = "bench.example.com/change" // the number of the latest change
	hands      = 16                         // changes at once
	perHand    = 8                          // objects that are there at once
	settled    = 30 * time.Second           // after the last change
)

// Load is what is done to the first cluster.
type Load struct {
	PerSecond int
	For       time.Duration
}

// Measure makes, changes and deletes objects of one cluster, which must have the kinds of a crowd, and returns how long that took to show
// in the other, shortest first. Changes that do not show within half a minute are an error, and so is a load that could not be made.
func Measure(ctx context.Context, from, to dynamic.Interface, load Load) ([]time.Duration, error) {
	m := &meter{from: from, to: to, ledger: newLedger()}
	space := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace}}}
	if _, err := from.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(ctx, space, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, k := range kinds {
		w, err := to.Resource(k.GroupVersionResource).Namespace(namespace).Watch(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		defer w.Stop()
		go m.look(w)
	}
	if err := m.load(ctx, load); err != nil {
		return nil, err
	}
	return m.result(ctx)
}

// meter is one measurement.
type meter struct {
	from, to dynamic.Interface
	ledger   *ledger
}

// look notes what a watch at the other cluster tells.
func (m *meter) look(w watch.Interface) {
	for event := range w.ResultChan() {
		obj, ok := event.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		number, _ := strconv.Atoi(obj.GetAnnotations()[annotation]) // every object has one
		if event.Type == watch.Deleted {
			number = gone
		}
		m.ledger.saw(key(obj), number, time.Now())
	}
}

func key(obj *unstructured.Unstructured) string { return obj.GetKind() + " " + obj.GetName() }

// load gives each hand its changes at their times, whether or not the ones before are done.
func (m *meter) load(ctx context.Context, load Load) error {
	group, ctx := errgroup.WithContext(ctx)
	work := make([]chan int, hands)
	for i := range work {
		work[i] = make(chan int, load.PerSecond) // a second's delay of them all, and more
		h := &hand{meter: m, Rand: rand.New(rand.NewPCG(uint64(i), 3)), name: fmt.Sprintf("hand-%d", i)}
		group.Go(func() error { return h.work(ctx, work[i]) })
	}
	group.Go(func() error {
		defer func() {
			for _, w := range work {
				close(w)
			}
		}()
		tick := time.NewTicker(time.Second / time.Duration(load.PerSecond))
		defer tick.Stop()
		for number := range int(load.For.Seconds() * float64(load.PerSecond)) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
			select {
			case work[number%hands] <- number + 1:
			default:
				return fmt.Errorf("the first cluster does not take %d changes a second", load.PerSecond)
			}
		}
		return nil
	})
	return group.Wait()
}

// hand makes changes one after the other, to objects of its own.
type hand struct {
	*meter
	*rand.Rand
	name string
	made int
	objs []*unstructured.Unstructured
}

func (h *hand) work(ctx context.Context, numbers <-chan int) error {
	for number := range numbers {
		var err error
		switch {
		case len(h.objs) < perHand:
			err = h.create(ctx, number)
		case h.IntN(10) == 0:
			err = h.remove(ctx)
		default:
			err = h.change(ctx, number)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *hand) create(ctx context.Context, number int) error {
	h.made++
	k := kinds[h.made%len(kinds)]
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": k.GroupVersion().String(), "kind": k.kind}}
	obj.SetName(fmt.Sprintf("%s-%d", h.name, h.made))
	obj.SetAnnotations(map[string]string{annotation: strconv.Itoa(number)})
	if _, err := h.resource(obj).Create(ctx, obj, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
		return err
	}
	h.objs = append(h.objs, obj)
	h.ledger.changed(key(obj), number, time.Now())
	return nil
}

func (h *hand) change(ctx context.Context, number int) error {
	obj := h.objs[h.IntN(len(h.objs))]
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"%d"}}}`, annotation, number)
	if _, err := h.resource(obj).Patch(ctx, obj.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		return err
	}
	h.ledger.changed(key(obj), number, time.Now())
	return nil
}

func (h *hand) remove(ctx context.Context) error {
	i := h.IntN(len(h.objs))
	obj := h.objs[i]
	if err := h.resource(obj).Delete(ctx, obj.GetName(), metav1.DeleteOptions{}); err != nil {
		return err
	}
	h.ledger.changed(key(obj), gone, time.Now())
	h.objs = append(h.objs[:i], h.objs[i+1:]...)
	return nil
}

func (h *hand) resource(obj *unstructured.Unstructured) dynamic.ResourceInterface {
	for _, k := range kinds {
		if k.kind == obj.GetKind() {
			return h.from.Resource(k.GroupVersionResource).Namespace(namespace)
		}
	}
	return nil
}

// result waits until every change has been seen.
func (m *meter) result(ctx context.Context) ([]time.Duration, error) {
	deadline := time.NewTimer(settled)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		times, unseen := m.ledger.times()
		if unseen == 0 {
			return times, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline.C:
			return nil, fmt.Errorf("%d of %d changes do not show in the other cluster after %s", unseen, unseen+len(times), settled)
		case <-tick.C:
		}
	}
}
