package traffic

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

func TestServed(t *testing.T) {
	before := Served{Requests: 10, Failures: 1, Latency: []Bucket{{1 * ms, 6}, {4 * ms, 4}}}
	after := Served{Requests: 110, Failures: 3, Latency: []Bucket{{1 * ms, 56}, {2 * ms, 40}, {4 * ms, 4}, {9 * ms, 8}}}
	since := after.Since(before)
	if diff := cmp.Diff(Served{Requests: 100, Failures: 2, Latency: []Bucket{{1 * ms, 50}, {2 * ms, 40}, {9 * ms, 8}}}, since); diff != "" {
		t.Errorf("since (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(after, before.Plus(since)); diff != "" {
		t.Errorf("plus (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, before.Since(after)); diff != "" {
		t.Errorf("after the router was started anew (-want +got):\n%s", diff)
	}
	if got := since.ErrorRate(); got != 0.02 {
		t.Errorf("error rate %v, want 0.02", got)
	}
	for q, want := range map[float64]time.Duration{0: 1 * ms, 0.5: 1 * ms, 0.51: 1 * ms, 0.52: 2 * ms, 0.9: 2 * ms, 0.92: 9 * ms, 1: 9 * ms} {
		if got := since.Quantile(q); got != want {
			t.Errorf("%v of %d within %v, want %v", q, since.Answered(), got, want)
		}
	}
	if none := (Served{}); none.Quantile(0.9) != 0 || none.ErrorRate() != 0 {
		t.Errorf("nothing was served: %v, %v", none.Quantile(0.9), none.ErrorRate())
	}
}
