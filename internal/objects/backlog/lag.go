package backlog

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Lag says how far the other cluster is behind, over an interval: the times between a change being told by the first cluster and its
// being written to the other.
type Lag struct {
	Changes int64         `json:"changes"` // carried over
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
	Max     time.Duration `json:"max"`
	Waiting int           `json:"waiting"` // changes not carried over yet
	Oldest  time.Duration `json:"oldest"`  // how long the oldest of them has waited
}

// times counts times, to a thousandth of each, up to ten minutes.
type times struct {
	lock   sync.Mutex
	counts *hdrhistogram.Histogram // in microseconds
}

func newTimes() *times {
	return &times{counts: hdrhistogram.New(1, (10 * time.Minute).Microseconds(), 3)}
}

func (t *times) add(took time.Duration) {
	t.lock.Lock()
	defer t.lock.Unlock()
	_ = t.counts.RecordValue(min(took.Microseconds(), t.counts.HighestTrackableValue())) // within its bounds
}

// take returns what was counted since it was called before.
func (t *times) take() Lag {
	t.lock.Lock()
	defer t.lock.Unlock()
	at := func(quantile float64) time.Duration {
		return time.Duration(t.counts.ValueAtQuantile(quantile)) * time.Microsecond
	}
	lag := Lag{Changes: t.counts.TotalCount(), P50: at(50), P99: at(99), Max: time.Duration(t.counts.Max()) * time.Microsecond}
	t.counts.Reset()
	return lag
}
