package mirror

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
)

// Tally is how the copies of the requests for one host were answered, since the first of them was sent to these endpoints.
type Tally struct {
	Host        string       `json:"host"`
	To          string       `json:"to"`
	Compared    int64        `json:"compared"`  // answers to copies, with those that users got
	Differing   int64        `json:"differing"` // of these
	Skipped     int64        `json:"skipped"`   // requests without a copy, too many being under way, or whose own answer was not over in time
	Differences []Difference `json:"differences"`
}

// Difference is one way in which answers differ, most frequent first in a Tally.
type Difference struct {
	What    string `json:"what"`
	Example string `json:"example"` // the method and the path, without its query, of the first request that showed it
	Times   int64  `json:"times"`
}

// mostKinds is how many kinds of differences are told apart; those beyond are one.
const mostKinds = 50

// tally is one Tally as it grows.
type tally struct {
	mu    sync.Mutex
	sum   Tally
	kinds map[string]*Difference
}

// tallies are those of this process: they outlive every configuration. Each host has one, that of the last endpoints.
var tallies struct {
	sync.Mutex
	of map[string]*tally
}

func tallyOf(host, to string) *tally {
	tallies.Lock()
	defer tallies.Unlock()
	if tallies.of == nil {
		tallies.of = map[string]*tally{}
	}
	t := tallies.of[host]
	if t == nil || t.sum.To != to {
		t = &tally{sum: Tally{Host: host, To: to}, kinds: map[string]*Difference{}}
		tallies.of[host] = t
	}
	return t
}

func (t *tally) skip() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.Skipped++
}

// add counts a copy that was answered, and what was otherwise; "" for nothing.
func (t *tally) add(method, path, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.Compared++
	if what == "" {
		return
	}
	t.sum.Differing++
	if t.kinds[what] == nil && len(t.kinds) >= mostKinds {
		what = "something else"
	}
	d := t.kinds[what]
	if d == nil {
		d = &Difference{What: what, Example: method + " " + path}
		t.kinds[what] = d
	}
	d.Times++
}

func (t *tally) read() Tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := t.sum
	sum.Differences = []Difference{}
	for _, d := range t.kinds {
		sum.Differences = append(sum.Differences, *d)
	}
	slices.SortFunc(sum.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.What, b.What))
	})
	return sum
}

// Tallies returns what was compared until now, in order of host.
func Tallies() []Tally {
	tallies.Lock()
	defer tallies.Unlock()
	all := []Tally{}
	for _, t := range tallies.of {
		all = append(all, t.read())
	}
	slices.SortFunc(all, func(a, b Tally) int { return cmp.Compare(a.Host, b.Host) })
	return all
}

// Admin is the module admin.api.mirror: GET /mirror/tallies of the admin endpoint answers with a list of Tally.
type Admin struct{}

var _ caddy.AdminRouter = Admin{}

// CaddyModule describes the module to Caddy.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.mirror", New: func() caddy.Module { return Admin{} }}
}

// Routes are called by Caddy once for each configuration.
func (Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/mirror/tallies", Handler: caddy.AdminHandlerFunc(serve)}}
}

func serve(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("the tallies can only be read")}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(Tallies())
}
