package lag

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTimes(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	tests := map[string]struct {
		reason        string
		changed, seen []moment
		want          []time.Duration
		unseen        int
	}{
		"each":       {"A change is over when it shows.", []moment{{1, at(0)}, {5, at(10)}}, []moment{{1, at(3)}, {5, at(30)}}, []time.Duration{3 * time.Millisecond, 20 * time.Millisecond}, 0},
		"together":   {"A later one stands for those before it.", []moment{{1, at(0)}, {2, at(5)}}, []moment{{2, at(10)}}, []time.Duration{5 * time.Millisecond, 10 * time.Millisecond}, 0},
		"deleted":    {"Nothing comes after a deletion.", []moment{{1, at(0)}, {gone, at(5)}}, []moment{{gone, at(6)}}, []time.Duration{time.Millisecond, 6 * time.Millisecond}, 0},
		"early":      {"The answer came after the change had shown.", []moment{{1, at(5)}}, []moment{{1, at(3)}}, []time.Duration{0}, 0},
		"not at all": {"An old state is not the change.", []moment{{2, at(5)}}, []moment{{1, at(6)}}, nil, 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			for _, m := range tc.changed {
				l.changed("x", m.number, m.at)
			}
			for _, m := range tc.seen {
				l.saw("x", m.number, m.at)
			}
			l.saw("y", 100, at(0)) // another object is of no account
			got, unseen := l.times()
			if diff := cmp.Diff(tc.want, got); diff != "" || unseen != tc.unseen {
				t.Errorf("%s %d unseen (-want +got):\n%s", tc.reason, unseen, diff)
			}
		})
	}
}

func TestQuantile(t *testing.T) {
	var times []time.Duration
	if got := Quantile(times, 0.99); got != 0 {
		t.Errorf("of nothing: %s", got)
	}
	for i := range 200 {
		times = append(times, time.Duration(i+1))
	}
	for share, want := range map[float64]time.Duration{0: 1, 0.5: 100, 0.99: 198, 1: 200} {
		if got := Quantile(times, share); got != want {
			t.Errorf("%v: want %d, got %d", share, want, got)
		}
	}
}
