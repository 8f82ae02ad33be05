package objects

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

// lags counts times, to a thousandth of each, up to ten minutes.
type lags struct {
	lock  sync.Mutex
	times *hdrhistogram.Histogram // in microseconds
}

func newLags() *lags { return &lags{times: hdrhistogram.New(1, (10 * time.Minute).Microseconds(), 3)} }

func (l *lags) add(took time.Duration) {
	l.lock.Lock()
	defer l.lock.Unlock()
	_ = l.times.RecordValue(min(took.Microseconds(), l.times.HighestTrackableValue())) // within its bounds
}

// take returns what was counted since it was called before.
func (l *lags) take() Lag {
	l.lock.Lock()
	defer l.lock.Unlock()
	at := func(quantile float64) time.Duration {
		return time.Duration(l.times.ValueAtQuantile(quantile)) * time.Microsecond
	}
	lag := Lag{Changes: l.times.TotalCount(), P50: at(50), P99: at(99), Max: time.Duration(l.times.Max()) * time.Microsecond}
	l.times.Reset()
	return lag
}
