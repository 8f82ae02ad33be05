package waiting

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
	l := &List{}
	for i := range heldWhole + 10 {
		l.Owned(waiter(fmt.Sprintf("a-%05d", i), "x"), []string{"ConfigMap shop/owner"}, true)
	}
	l.Owned(waiter("a-00000", "y"), []string{"ConfigMap shop/owner"}, false) // is put off once more
	if l.whole != heldWhole {
		t.Errorf("%d objects are held, want %d", l.whole, heldWhole)
	}
	held := 0
	for _, o := range l.Arrived("ConfigMap shop/owner") {
		if o.Content != nil {
			held++
		}
		if wantAbsent := o.Ref.GetName() != "a-00000"; o.Absent != wantAbsent {
			t.Errorf("%s: absent %v", o.Ref.GetName(), o.Absent)
		}
		if _, has := o.Ref.Object["data"]; has {
			t.Errorf("the reference to %s has content", o.Ref.GetName())
		}
	}
	if held != heldWhole || l.whole != 0 || len(l.waiting) != 0 {
		t.Errorf("%d came with their content, %d are still held, %d wait", held, l.whole, len(l.waiting))
	}
	l.Owned(waiter("large", strings.Repeat("x", 1<<20)), []string{"ConfigMap shop/owner"}, true)
	if taken := l.Take(); len(taken) != 1 || taken[0].Content != nil {
		t.Errorf("a large object is held: %v", taken)
	}
}
