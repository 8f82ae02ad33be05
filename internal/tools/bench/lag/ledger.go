// Package lag measures how long a change of one cluster takes to show in another, without the help of what carries it over: from
// the answer of the one API server to the event of a watch at the other.
package lag

import (
	"math"
	"slices"
	"sync"
	"time"
)

// gone is the number of the change that deletes an object: nothing comes after it.
const gone = math.MaxInt

// ledger holds what was changed and what was seen, by object. Changes of an object are numbered upwards and made one after the other.
type ledger struct {
	lock    sync.Mutex
	changes map[string][]moment
	seen    map[string][]moment
}

// moment is when a change, by its number, was made or seen.
type moment struct {
	number int
	at     time.Time
}

func newLedger() *ledger { return &ledger{changes: map[string][]moment{}, seen: map[string][]moment{}} }

// changed notes that the first cluster has taken a change.
func (l *ledger) changed(object string, number int, at time.Time) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.changes[object] = append(l.changes[object], moment{number, at})
}

// saw notes that the other cluster has an object as it was after a change.
func (l *ledger) saw(object string, number int, at time.Time) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.seen[object] = append(l.seen[object], moment{number, at})
}

// times returns how long each change took until it, or one after it, was seen, shortest first, and how many have not been seen. A change
// that was seen before its own API server had answered took no time.
func (l *ledger) times() (times []time.Duration, unseen int) {
	l.lock.Lock()
	defer l.lock.Unlock()
	for object, changes := range l.changes {
		for _, c := range changes {
			i := slices.IndexFunc(l.seen[object], func(s moment) bool { return s.number >= c.number })
			if i < 0 {
				unseen++
				continue
			}
			times = append(times, max(0, l.seen[object][i].at.Sub(c.at)))
		}
	}
	slices.Sort(times)
	return times, unseen
}

// Quantile is the shortest of the sorted times that is not shorter than the given share of them; 0 of none.
func Quantile(times []time.Duration, share float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[max(0, int(math.Ceil(share*float64(len(times))))-1)]
}
