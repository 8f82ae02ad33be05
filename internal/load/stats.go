package load

import (
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxFailures bounds how many failures a report lists one by one; all are counted.
const maxFailures = 50

// Report is what a load found.
type Report struct {
	Requests Requests           `json:"requests"`
	Latency  map[string]Latency `json:"latency_ms"` // by phase
	Phases   []Phase            `json:"phases"`     // in the order in which they began
	Failures []Failure          `json:"failures,omitempty"`
	Start    time.Time          `json:"start"`
	End      time.Time          `json:"end"` // when the last request was back; zero while the load runs
}

// Requests count what became of requests: sent = good + failed + abandoned + those still under way.
type Requests struct {
	Sent         int64            `json:"sent"`
	Failed       int64            `json:"failed"`
	Abandoned    int64            `json:"abandoned"` // under way when the load was cut off
	Reused       int64            `json:"reused"`    // those that went over a connection used before
	ByStatus     map[string]int64 `json:"byStatus"`  // "none" for requests without a response
	ByGeneration map[string]int64 `json:"byGeneration"`
}

// Latency is a distribution in milliseconds, each request counted from its slot. Failed requests count, too.
type Latency struct {
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
	Count int64   `json:"count"`
}

// Phase is a named stretch of a load.
type Phase struct {
	Name     string    `json:"name"`
	Start    time.Time `json:"start"` // when it first began
	Requests Requests  `json:"requests"`
}

// Failure is one request that a user would have noticed.
type Failure struct {
	Time  time.Time `json:"time"` // its slot
	Phase string    `json:"phase"`
	Kind  string    `json:"kind"`
	Cause string    `json:"cause"`
}

// outcome is a request that is back.
type outcome struct {
	kind     string
	at       time.Time
	latency  time.Duration
	response response
	cause    string // why it failed, or ""
}

// phase counts one phase. It is protected by the mutex of stats.
type phase struct {
	name     string
	start    time.Time
	requests Requests
	latency  *hdrhistogram.Histogram
}

// stats count everything, by phase.
type stats struct {
	mu       sync.Mutex
	total    *phase
	phases   []*phase
	current  []*phase
	failures []Failure
	ended    time.Time
}

func newStats() *stats {
	s := &stats{total: newPhase("", time.Now())}
	s.mark(s.total.start, nil)
	return s
}

func newPhase(name string, start time.Time) *phase {
	// Microseconds up to ten minutes with three digits: 0.2 MB a phase.
	return &phase{
		name: name, start: start, latency: hdrhistogram.New(1, (10 * time.Minute).Microseconds(), 3),
		requests: Requests{ByStatus: map[string]int64{}, ByGeneration: map[string]int64{}},
	}
}

func (s *stats) mark(now time.Time, names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := []*phase{s.total} // a new slice: requests under way hold on to the old one
	for _, name := range names {
		current = append(current, s.find(name, now))
	}
	s.current = current
}

func (s *stats) find(name string, now time.Time) *phase {
	for _, p := range s.phases {
		if p.name == name {
			return p
		}
	}
	p := newPhase(name, now)
	s.phases = append(s.phases, p)
	return p
}

// sent counts a request that leaves and returns the phases to which it belongs.
func (s *stats) sent() []*phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.current {
		p.requests.Sent++
	}
	return s.current
}

func (s *stats) abandoned(phases []*phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range phases {
		p.requests.Abandoned++
	}
}

// back counts a request that is back.
func (s *stats) back(o outcome, phases []*phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range phases {
		p.back(o)
	}
	if o.cause != "" && len(s.failures) < maxFailures {
		s.failures = append(s.failures, Failure{Time: o.at, Phase: phases[len(phases)-1].name, Kind: o.kind, Cause: o.cause})
	}
}

func (p *phase) back(o outcome) {
	status := "none"
	if o.response.status != 0 {
		status = strconv.Itoa(o.response.status)
	}
	p.requests.ByStatus[status]++
	if o.response.generation != "" {
		p.requests.ByGeneration[o.response.generation]++
	}
	if o.response.reused {
		p.requests.Reused++
	}
	if o.cause != "" {
		p.requests.Failed++
	}
	// The bounds are wider than any timeout, and clamped so that no latency is lost.
	_ = p.latency.RecordValue(min(max(o.latency.Microseconds(), 1), p.latency.HighestTrackableValue()))
}

func (s *stats) end(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = now
}

func (s *stats) report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := Report{
		Requests: s.total.requests.clone(), Latency: map[string]Latency{"all": s.total.percentiles()}, Phases: []Phase{},
		Failures: append([]Failure(nil), s.failures...), Start: s.total.start, End: s.ended,
	}
	for _, p := range s.phases {
		r.Phases = append(r.Phases, Phase{Name: p.name, Start: p.start, Requests: p.requests.clone()})
		r.Latency[p.name] = p.percentiles()
	}
	return r
}

func (p *phase) percentiles() Latency {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	h := p.latency
	return Latency{
		P50: ms(h.ValueAtQuantile(50)), P99: ms(h.ValueAtQuantile(99)), P999: ms(h.ValueAtQuantile(99.9)), Max: ms(h.Max()),
		Count: h.TotalCount(),
	}
}

func (r Requests) clone() Requests {
	r.ByStatus, r.ByGeneration = maps.Clone(r.ByStatus), maps.Clone(r.ByGeneration)
	return r
}
