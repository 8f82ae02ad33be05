package traffic

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Served is what became of requests, since the router counts or since an earlier Served was read.
type Served struct {
	Requests int64    `json:"requests"` // that were answered, or failed
	Failures int64    `json:"failures"` // of these: answered with a status of 5xx, or not at all
	Latency  []Bucket `json:"latency"`  // of those that were answered, until the head of the answer; ascending
}

// Bucket is how many requests took at most a time, and longer than that of the bucket before.
type Bucket struct {
	UpTo     time.Duration `json:"upTo"`
	Requests int64         `json:"requests"`
}

// Plus is what became of the requests of both.
func (s Served) Plus(o Served) Served {
	return Served{Requests: s.Requests + o.Requests, Failures: s.Failures + o.Failures, Latency: merge(s.Latency, o.Latency, 1)}
}

// Since is what became of the requests after an earlier Served of the same ones was read. A router that has counted less since then
// was started anew in between, and all that it has counted came after.
func (s Served) Since(before Served) Served {
	if s.Requests < before.Requests || s.Failures < before.Failures {
		return s
	}
	return Served{Requests: s.Requests - before.Requests, Failures: s.Failures - before.Failures, Latency: merge(s.Latency, before.Latency, -1)}
}

// merge adds the buckets of b, so many times, to those of a.
func merge(a, b []Bucket, times int64) []Bucket {
	counts := map[time.Duration]int64{}
	for _, x := range a {
		counts[x.UpTo] += x.Requests
	}
	for _, x := range b {
		counts[x.UpTo] += times * x.Requests
	}
	var all []Bucket
	for upTo, n := range counts {
		if n > 0 {
			all = append(all, Bucket{upTo, n})
		}
	}
	slices.SortFunc(all, func(a, b Bucket) int { return cmp.Compare(a.UpTo, b.UpTo) })
	return all
}

// ErrorRate is the share of requests that failed, from 0 to 1; 0 without any.
func (s Served) ErrorRate() float64 {
	if s.Requests == 0 {
		return 0
	}
	return float64(s.Failures) / float64(s.Requests)
}

// Answered is how many requests were answered, with whatever status.
func (s Served) Answered() int64 {
	total := int64(0)
	for _, b := range s.Latency {
		total += b.Requests
	}
	return total
}

// Quantile is the time within which a share q, from 0 to 1, of the answered requests was answered; 0 without any.
func (s Served) Quantile(q float64) time.Duration {
	place := int64(math.Ceil(q * float64(s.Answered())))
	for _, b := range s.Latency {
		if place -= b.Requests; place <= 0 {
			return b.UpTo
		}
	}
	return 0
}
