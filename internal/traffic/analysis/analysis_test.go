package analysis

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/spec/rule"
	"github.com/crossfade-dev/crossfade/internal/traffic"
)

func judge(t *testing.T, rules ...string) Judge {
	t.Helper()
	j := Judge{Requests: 100}
	for _, text := range rules {
		r, err := rule.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		j.Rules = append(j.Rules, r)
	}
	return j
}

// usual are rules as one would write them.
var usual = []string{"new.errorRate <= old.errorRate + 0.003", "new.p90 <= 1.2 * old.p90"}

// served are requests of which a share fails, and the others take around 20 ms, times slower.
func served(r *rand.Rand, requests int, failing, slower float64) traffic.Served {
	var s traffic.Served
	for range requests {
		one := traffic.Served{Requests: 1}
		if r.Float64() < failing {
			one.Failures = 1
		}
		took := time.Duration(slower * float64(15+r.IntN(10)) * float64(time.Millisecond))
		one.Latency = []traffic.Bucket{{UpTo: took, Requests: 1}}
		s = s.Plus(one)
	}
	return s
}

func TestFinally(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	old := served(r, 4000, 0.001, 1)
	for name, tc := range map[string]struct {
		fresh traffic.Served
		want  Verdict
		says  string
	}{
		"as good":     {served(r, 1000, 0.001, 1), Good, ""},
		"fails more":  {served(r, 1000, 0.02, 1), Bad, "new.errorRate <= old.errorRate + 0.003 does not hold: new has"},
		"slower":      {served(r, 1000, 0, 1.3), Bad, "new.p90 <= 1.2 * old.p90 does not hold"},
		"all fail":    {traffic.Served{Requests: 200, Failures: 200}, Bad, "100.00 % errors"},
		"not enough":  {served(r, 99, 0, 1), Undecided, "not enough traffic to tell: 99 requests to the new generation"},
		"none at all": {traffic.Served{}, Undecided, "not enough traffic to tell: 0 requests"},
	} {
		got, says, err := judge(t, usual...).Finally(Both{New: tc.fresh, Old: old})
		if err != nil || got != tc.want || !strings.Contains(says, tc.says) {
			t.Errorf("%s: %v, %q, %v; want %v, %q", name, got, says, err, tc.want, tc.says)
		}
	}
	if got, _, _ := judge(t, usual...).Finally(Both{New: old}); got != Undecided {
		t.Errorf("with nothing to compare with: %v", got)
	}
}

// TestFirstAnswers: that the first answers are slow says nothing, that the first requests fail does.
func TestFirstAnswers(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	old := served(r, 500, 0, 1)
	for name, tc := range map[string]struct {
		fresh traffic.Served
		want  Verdict
	}{
		"slow":      {served(r, few-1, 0, 10), Undecided},
		"slow more": {served(r, few, 0, 10), Bad},
		"fail":      {served(r, few-1, 1, 1), Bad},
	} {
		if got, why, err := judge(t, usual...).Now(Both{New: tc.fresh, Old: old}); err != nil || got != tc.want {
			t.Errorf("%s: %v, %q, %v; want %v", name, got, why, err, tc.want)
		}
	}
}

// TestNow asks after each second of 25 requests to the new generation and 475 to the old one. What is as good is never called bad, in a
// hundred shifts of 30 seconds; what is clearly worse is called bad soon.
func TestNow(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, tc := range map[string]struct {
		failing, slower float64
		shifts          int
		within          int // seconds; 0 for never
	}{
		"as good":                {0.001, 1, 100, 0},
		"every tenth fails":      {0.1, 1, 20, 10},
		"twice as slow":          {0, 2, 20, 5},
		"half as slow again":     {0, 1.5, 20, 10},
		"every request fails":    {1, 1, 5, 1},
		"a third as slow, again": {0, 1.35, 20, 15},
	} {
		t.Run(name, func(t *testing.T) {
			for range tc.shifts {
				var b Both
				seconds := 0
				for verdict := Undecided; verdict != Bad && seconds < 30; seconds++ {
					b.New, b.Old = b.New.Plus(served(r, 25, tc.failing, tc.slower)), b.Old.Plus(served(r, 475, 0.001, 1))
					var err error
					if verdict, _, err = judge(t, usual...).Now(b); err != nil {
						t.Fatal(err)
					}
				}
				if tc.within == 0 && seconds < 30 || tc.within > 0 && seconds > tc.within {
					t.Errorf("called bad after %d seconds, want %d (30 and 0 are never)", seconds, tc.within)
				}
			}
		})
	}
}
