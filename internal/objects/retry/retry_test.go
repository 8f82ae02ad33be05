package retry

import (
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// TestOverwhelmed: a cluster that takes no writes at all is noticed after some in a row; objects that are refused, and webhooks that
// fail, say nothing about the others.
func TestOverwhelmed(t *testing.T) {
	failure := func(code int32, text string) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Message: text}}
	}
	p := New(nil, nil, 0, nil)
	for i := range refusedLimit {
		for _, err := range []error{failure(422, "invalid"), failure(403, "forbidden"), failure(500, "failed calling webhook"), errors.New("x")} {
			if p.Overwhelmed(err) {
				t.Fatalf("%v: taken for a full disk", err)
			}
		}
		if got := p.Overwhelmed(failure(500, "etcdserver: mvcc: database space exceeded")); got != (i == refusedLimit-1) {
			t.Fatalf("after %d: %t", i+1, got)
		}
	}
	p.Accepted(outcome.Unchanged)
	if p.Overwhelmed(failure(500, "etcdserver: mvcc: database space exceeded")) {
		t.Error("a write in between does not count")
	}
}
