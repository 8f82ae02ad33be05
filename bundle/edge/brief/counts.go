package brief

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Count is what became of the requests of users that were sent to one endpoint for one host, since this process began.
type Count struct {
	Host     string   `json:"host"`     // of the request
	Endpoint string   `json:"endpoint"` // host:port
	Requests int64    `json:"requests"` // that were answered, or failed; not those whose user went away before
	Failures int64    `json:"failures"` // of these: answered with a status of 5xx, or not at all
	Latency  []Bucket `json:"latency"`  // of those that were answered, until the head of the answer; ascending, without empty ones
}

// Bucket is how many requests took at most a time, and longer than that of the bucket before.
type Bucket struct {
	Seconds  float64 `json:"seconds"`
	Requests int64   `json:"requests"`
}

// Each bucket ends growth times later than the one before, which is how exact a quantile is. The first one ends at shortest.
const (
	shortest = 100 * time.Microsecond
	growth   = 1.05
)

// bucketOf is the number of the bucket of a time; boundOf is where it ends, in seconds.
func bucketOf(d time.Duration) int {
	return max(0, int(math.Ceil(math.Log(float64(d)/float64(shortest))/math.Log(growth))))
}

func boundOf(bucket int) float64 { return shortest.Seconds() * math.Pow(growth, float64(bucket)) }

// counter is one Count as it grows.
type counter struct {
	mu                 sync.Mutex
	requests, failures int64
	latency            map[int]int64 // by bucket
}

type counted struct{ host, endpoint string }

// counters are those of this process: they outlive every configuration. Each pair of a route and an endpoint has one.
var (
	countersMu sync.RWMutex
	counters   = map[counted]*counter{}
)

// counterOf returns the counter of a pair, a new one the first time.
func counterOf(of counted) *counter {
	countersMu.RLock()
	c := counters[of]
	countersMu.RUnlock()
	if c != nil {
		return c
	}
	countersMu.Lock()
	defer countersMu.Unlock()
	if c = counters[of]; c == nil {
		c = &counter{latency: map[int]int64{}}
		counters[of] = c
	}
	return c
}

// observe counts a request that was sent at a time.
func observe(r *http.Request, sent time.Time, answer *http.Response, err error) {
	info, known := reverseproxy.GetDialInfo(r.Context())
	ofUser := r.Context().Value(caddyhttp.VarsCtxKey) != nil // health checks have none
	if !known || !ofUser || err != nil && r.Context().Err() != nil {
		return
	}
	failed := err != nil || answer.StatusCode >= http.StatusInternalServerError
	counterOf(counted{Name(r.Host), info.Address}).add(time.Since(sent), err != nil, failed)
}

// Name is a host as Caddy's routes compare it, so that users cannot make any number of them: without a port, in small letters.
func Name(host string) string {
	if strings.Contains(host, ":") { // a host without a port is an error, which takes longer to make than all of this
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	return strings.ToLower(host)
}

func (c *counter) add(took time.Duration, lost, failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if failed {
		c.failures++
	}
	if !lost {
		c.latency[bucketOf(took)]++
	}
}

func (c *counter) count(of counted) Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := Count{Host: of.host, Endpoint: of.endpoint, Requests: c.requests, Failures: c.failures}
	for b, n := range c.latency {
		count.Latency = append(count.Latency, Bucket{boundOf(b), n})
	}
	slices.SortFunc(count.Latency, func(a, b Bucket) int { return cmp.Compare(a.Seconds, b.Seconds) })
	return count
}

// Counts returns what was counted until now, in order of host and endpoint.
func Counts() []Count {
	all := []Count{}
	countersMu.RLock()
	now := maps.Clone(counters)
	countersMu.RUnlock()
	for of, c := range now {
		all = append(all, c.count(of))
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	return all
}

// Admin is the module admin.api.brief: GET /brief/counts of the admin endpoint answers with a list of Count.
type Admin struct{}

var _ caddy.AdminRouter = Admin{}

// CaddyModule describes the module to Caddy.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.brief", New: func() caddy.Module { return Admin{} }}
}

// Routes are called by Caddy once for each configuration.
func (Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/brief/counts", Handler: caddy.AdminHandlerFunc(serveCounts)}}
}

func serveCounts(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("the counts can only be read")}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(Counts())
}
