package diff

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Cause is why an object is not the same in both clusters.
type Cause string

// The causes.
const (
	Missing  Cause = "missing"   // a copy would create it
	Unserved Cause = "unserved"  // the other cluster does not serve its kind
	Behind   Cause = "behind"    // it was copied, and has changed in the first cluster since
	Changed  Cause = "changed"   // it was copied, and has changed in the other cluster since
	Differs  Cause = "different" // it was made in both clusters, differently
	Leftover Cause = "leftover"  // it was copied, and its original is gone since
	Extra    Cause = "extra"     // somebody made it in the other cluster
)

// Causes are all causes, in the order of reports.
var Causes = []Cause{Missing, Unserved, Behind, Changed, Differs, Leftover, Extra}

// Field is a field that is not the same. Values are JSON; one that is missing is not there. What is in a Secret is never shown.
type Field struct {
	Path   string          `json:"path"`
	From   json.RawMessage `json:"from,omitempty"`   // as a copy would write it
	To     json.RawMessage `json:"to,omitempty"`     // as it is
	Secret bool            `json:"secret,omitempty"` // its values are not shown
	By     []string        `json:"by,omitempty"`     // the field managers that have written it in the other cluster, Crossfade aside
}

// Difference is an object that is not the same.
type Difference struct {
	Object string   `json:"object"` // ident.Of
	Cause  Cause    `json:"cause"`
	Reason string   `json:"reason,omitempty"` // what there is to say beside the cause
	By     []string `json:"by,omitempty"`     // the field managers of one that is only in the other cluster
	Fields []Field  `json:"fields,omitempty"`
	More   int      `json:"moreFields,omitempty"` // how many fields are left out
}

// Exception is an object that is not the same, for a reason that was declared: by the configuration, or by what a copy is.
type Exception struct {
	Object string  `json:"object"`
	Reason string  `json:"reason"`
	Fields []Field `json:"fields,omitempty"`
	More   int     `json:"moreFields,omitempty"`
}

// Trouble is what could not be compared.
type Trouble struct {
	Kind    string `json:"kind"`              // resource and group
	Cluster string `json:"cluster,omitempty"` // its context
	Error   string `json:"error"`
}

// Limits of what is told one by one.
const (
	maxDifferences = 10000
	maxFields      = 50 // of an object
)

// Report says what is not the same in two clusters.
type Report struct {
	From        string         `json:"from"` // contexts
	To          string         `json:"to"`
	Compared    int            `json:"compared"`             // objects that a copy would write, or could have written
	Different   map[Cause]int  `json:"different"`            // how many of them, by cause
	Differences []Difference   `json:"differences"`          // by cause and name
	More        int            `json:"moreObjects,omitzero"` // how many differences are left out
	Exceptions  []Exception    `json:"exceptions"`           // by reason and name
	NotCopied   map[string]int `json:"notCopied"`            // objects of the first cluster that a copy leaves out, by reason
	Trouble     []Trouble      `json:"trouble"`
}

// Count is how many objects are different.
func (r Report) Count() int {
	count := 0
	for _, n := range r.Different {
		count += n
	}
	return count
}

// Summary is the report in a line.
func (r Report) Summary() string {
	count := r.Count()
	if count == 0 {
		text := fmt.Sprintf("%s and %s are the same: %s compared", r.From, r.To, many(r.Compared))
		if n := len(r.Exceptions); n > 0 {
			text += fmt.Sprintf(", %d of them declared to differ", n)
		}
		return text
	}
	var parts []string
	for _, cause := range Causes {
		if n := r.Different[cause]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, cause))
		}
	}
	return fmt.Sprintf("%s and %s differ in %d of %s: %s", r.From, r.To, count, many(r.Compared), strings.Join(parts, ", "))
}

func many(n int) string {
	if n == 1 {
		return "1 object"
	}
	return fmt.Sprintf("%d objects", n)
}

// Err is nil when the clusters are the same. It is of code fault.Trouble when something could not be compared, and otherwise of code fault.Failed:
// it names the first difference.
func (r Report) Err() error {
	if n := len(r.Trouble); n > 0 {
		first := r.Trouble[0]
		return fault.New(fault.Trouble, "cannot compare everything in %s and %s: %s: %s", r.From, r.To, first.Kind, first.Error).
			WithHint("%s not compared; the rest was: the report has it", kinds(n))
	}
	if r.Count() == 0 {
		return nil
	}
	first := r.Differences[0]
	text := string(first.Cause)
	if len(first.Fields) > 0 {
		text += ", " + first.Fields[0].Path
	}
	return fault.New(fault.Failed, "%s; the first is %s: %s", r.Summary(), first.Object, text)
}

func kinds(n int) string {
	if n == 1 {
		return "1 kind was"
	}
	return fmt.Sprintf("%d kinds were", n)
}

// collector puts a report together. It may be used by many goroutines.
type collector struct {
	lock   sync.Mutex
	report Report
}

func newCollector(from, to string) *collector {
	return &collector{report: Report{
		From: from, To: to, Different: map[Cause]int{}, NotCopied: map[string]int{},
		Differences: []Difference{}, Exceptions: []Exception{}, Trouble: []Trouble{}, // and not null, as JSON
	}}
}

// with changes the report.
func (c *collector) with(change func(*Report)) {
	c.lock.Lock()
	defer c.lock.Unlock()
	change(&c.report)
}

// add counts a difference, and keeps it if there is room.
func (r *Report) add(d Difference) {
	r.Different[d.Cause]++
	if len(r.Differences) >= maxDifferences {
		r.More++
		return
	}
	r.Differences = append(r.Differences, d)
}

// merge adds what was found of one kind.
func (r *Report) merge(other Report) {
	r.Compared += other.Compared
	for reason, n := range other.NotCopied {
		r.NotCopied[reason] += n
	}
	for cause, n := range other.Different {
		r.Different[cause] += n
	}
	room := min(len(other.Differences), maxDifferences-len(r.Differences))
	r.More += other.More + len(other.Differences) - room
	r.Differences = append(r.Differences, other.Differences[:room]...)
	r.Exceptions = append(r.Exceptions, other.Exceptions...)
}

// result is the report in order.
func (c *collector) result() Report {
	c.lock.Lock()
	defer c.lock.Unlock()
	r := c.report
	slices.SortFunc(r.Differences, func(a, b Difference) int {
		return cmp.Or(slices.Index(Causes, a.Cause)-slices.Index(Causes, b.Cause), strings.Compare(a.Object, b.Object))
	})
	slices.SortFunc(r.Exceptions, func(a, b Exception) int {
		return cmp.Or(strings.Compare(a.Reason, b.Reason), strings.Compare(a.Object, b.Object))
	})
	slices.SortFunc(r.Trouble, func(a, b Trouble) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Cluster, b.Cluster))
	})
	return r
}
