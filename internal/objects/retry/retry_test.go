package retry

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
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

// TestInsist: only what passes is tried again, and only by who has patience.
func TestInsist(t *testing.T) {
	busy := fault.New(fault.Unavailable, "the API server is busy")
	webhook := fault.New(fault.Unavailable, "failed calling webhook")
	full := fault.New(fault.Unavailable, "%w", ErrOverwhelmed)
	refused := fault.New(fault.Failed, "forbidden")
	tests := map[string]struct {
		reason        string
		err           error
		lasts         time.Duration
		passes, stops bool
	}{
		"nothing":    {"it is done", nil, time.Minute, false, false},
		"impatient":  {"who has no patience is told at once", busy, 0, true, false},
		"refused":    {"time does not mend it", refused, time.Minute, false, false},
		"by webhook": {"it is about some objects only", webhook, time.Minute, false, false},
		"full":       {"nothing can be written at all", full, 0, true, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tries := 0
			err := New(nil, nil, test.lasts, nil).Insist(t.Context(), func() error {
				tries++
				return test.err
			})
			if !errors.Is(err, test.err) || tries != 1 {
				t.Errorf("%s: %v after %d tries", test.reason, err, tries)
			}
			if Passes(test.err) != test.passes || Stops(test.err) != test.stops {
				t.Errorf("%s: passes %t, stops %t", test.reason, Passes(test.err), Stops(test.err))
			}
		})
	}
}

// TestInsistOnceMore: a cluster that was away for the time of a request and is back is asked once more, also without patience; what is not
// answered then is held up by something of its own.
func TestInsistOnceMore(t *testing.T) {
	ready := func(status int) *kube.Cluster {
		return kubetest.Answer(t, map[string]http.HandlerFunc{"/readyz": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }}).Connect(t)
	}
	tests := map[string]struct {
		reason string
		to     *kube.Cluster
		errs   []error // of the tries
		tries  int
		ends   bool
	}{
		"back":    {"it was frozen just then", ready(200), []error{context.DeadlineExceeded, nil}, 2, false},
		"held up": {"only once more", ready(200), []error{context.DeadlineExceeded, context.DeadlineExceeded, nil}, 2, false},
		"away":    {"whoever copies waits for it", ready(500), []error{context.DeadlineExceeded, nil}, 1, true},
		"answers": {"it says no", ready(200), []error{fault.New(fault.Unavailable, "busy"), nil}, 1, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tries := 0
			p := New(ready(200), test.to, 0, nil)
			err := p.Insist(t.Context(), func() error {
				tries++
				return test.errs[tries-1]
			})
			if tries != test.tries || !errors.Is(err, test.errs[tries-1]) {
				t.Errorf("%s: %v after %d tries, want %v after %d", test.reason, err, tries, test.errs[test.tries-1], test.tries)
			}
			if err != nil && p.Ends(t.Context(), err) != test.ends {
				t.Errorf("%s: ends %t", test.reason, !test.ends)
			}
		})
	}
}
