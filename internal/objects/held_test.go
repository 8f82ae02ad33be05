package objects

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func waiter(name, text string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"a": text}}}
	obj.SetNamespace("shop")
	obj.SetName(name)
	return obj
}

// TestHeld: of objects that wait some are held with their content, so that memory does not grow with their number or their size.
func TestHeld(t *testing.T) {
	l := &later{}
	for i := range heldWhole + 10 {
		l.owned(waiter(fmt.Sprintf("a-%05d", i), "x"), []string{"ConfigMap shop/owner"}, true)
	}
	l.owned(waiter("a-00000", "y"), []string{"ConfigMap shop/owner"}, false) // is put off once more
	if l.whole != heldWhole {
		t.Errorf("%d objects are held, want %d", l.whole, heldWhole)
	}
	held := 0
	for _, o := range l.arrived("ConfigMap shop/owner") {
		if o.obj != nil {
			held++
		}
		if wantAbsent := o.ref.GetName() != "a-00000"; o.absent != wantAbsent {
			t.Errorf("%s: absent %v", o.ref.GetName(), o.absent)
		}
		if _, has := o.ref.Object["data"]; has {
			t.Errorf("the reference to %s has content", o.ref.GetName())
		}
	}
	if held != heldWhole || l.whole != 0 || len(l.waiting) != 0 {
		t.Errorf("%d came with their content, %d are still held, %d wait", held, l.whole, len(l.waiting))
	}
	l.owned(waiter("large", strings.Repeat("x", 1<<20)), []string{"ConfigMap shop/owner"}, true)
	if taken := l.take(); len(taken) != 1 || taken[0].obj != nil {
		t.Errorf("a large object is held: %v", taken)
	}
}
