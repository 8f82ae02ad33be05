package objects

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
)

// Action is what was done about an object, or would be in a dry run.
type Action string

// The actions.
const (
	Create    Action = "create"
	Update    Action = "update"
	Delete    Action = "delete"    // it was copied from an object that is gone
	Unchanged Action = "unchanged" // it is there, as it should be
	Skip      Action = "skip"      // it is not copied
	Conflict  Action = "conflict"  // somebody has changed it in the other cluster, where it was left
	Fail      Action = "fail"      // it could not be copied
)

// Decision is what was decided about one object, and why.
type Decision struct {
	Object string `json:"object"` // ident.Of
	Action Action `json:"action"`
	Reason string `json:"reason,omitempty"`
}

// Problem is an object that is not as it should be, and why.
type Problem struct {
	Object string `json:"object"` // ident.Of, or a resource of which nothing could be read
	Error  string `json:"error"`
	Hint   string `json:"hint,omitempty"` // what to do about it
}

// maxProblems bounds how many problems are reported one by one.
const maxProblems = 100

// Report says what came of a copy. In a dry run it says what would have.
type Report struct {
	DryRun    bool           `json:"dryRun,omitempty"`
	Created   int            `json:"created"`
	Updated   int            `json:"updated"`
	Deleted   int            `json:"deleted"`   // copied once, and gone from the cluster they came from
	Unchanged int            `json:"unchanged"` // there already, as they should be
	Skipped   map[string]int `json:"skipped"`   // by reason

	Failed       int            `json:"failed"`
	FailedByKind map[string]int `json:"failedByKind,omitempty"`
	Failures     []Problem      `json:"failures,omitempty"` // the first 100
	Conflicted   int            `json:"conflicted"`         // left as somebody made them in the other cluster
	Conflicts    []Problem      `json:"conflicts,omitempty"`

	NotServed []string `json:"notServed,omitempty"` // kinds that the other cluster does not serve, or not in a version of this one
	Missing   []string `json:"missing,omitempty"`   // what copied objects refer to and the other cluster does not have
	Notes     []string `json:"notes,omitempty"`     // owners left out, cycles of owners broken
}

// Copied is how many objects were written.
func (r Report) Copied() int { return r.Created + r.Updated }

// Summary is the report in a line.
func (r Report) Summary() string {
	skipped := 0
	for _, n := range r.Skipped {
		skipped += n
	}
	parts := []string{fmt.Sprintf("%d created", r.Created), fmt.Sprintf("%d updated", r.Updated), fmt.Sprintf("%d unchanged", r.Unchanged)}
	for _, part := range []struct {
		count int
		text  string
	}{{r.Deleted, "deleted"}, {skipped, "not to be copied"}, {r.Conflicted, "in conflict"}, {r.Failed, "failed"}} {
		if part.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.count, part.text))
		}
	}
	text := strings.Join(parts, ", ")
	if r.DryRun {
		return "would be: " + text
	}
	return text
}

// Err is nil when everything that should have been copied was, and otherwise an error of code fault.Failed that names the
// first object that was not.
func (r Report) Err() error {
	all := r.Failed + r.Conflicted + r.Copied() + r.Unchanged
	if r.Failed > 0 {
		first := r.Failures[0]
		return fault.New(fault.Failed, "cannot copy %d of %d objects; the first is %s: %s", r.Failed, all, first.Object, first.Error).
			WithHint("%s", cmp.Or(first.Hint, "correct the objects where they come from, or leave them out with copy.exclude")+"; the report names them all")
	}
	if r.Conflicted > 0 {
		first := r.Conflicts[0]
		return fault.New(fault.Failed, "%d of %d objects were changed in the other cluster and left so; the first is %s: %s", r.Conflicted, all, first.Object, first.Error).
			WithHint("undo the change there, or say by kind who wins: copy.conflicts source or target")
	}
	return nil
}

// tally counts what comes of the objects of a copy and tells of each. It may be used by many goroutines.
type tally struct {
	lock   sync.Mutex
	report Report
	tell   func(Decision)
}

func newTally(dryRun bool, tell func(Decision)) *tally {
	return &tally{report: Report{DryRun: dryRun, Skipped: map[string]int{}, FailedByKind: map[string]int{}}, tell: tell}
}

// add counts an object for which something was decided.
func (t *tally) add(obj *unstructured.Unstructured, action Action, reason string) {
	t.note(obj.GroupVersionKind().GroupKind(), Decision{Object: ident.Of(obj), Action: action, Reason: reason}, "")
}

// fail counts an object that could not be copied.
func (t *tally) fail(obj *unstructured.Unstructured, err error) {
	t.note(obj.GroupVersionKind().GroupKind(), Decision{Object: ident.Of(obj), Action: Fail, Reason: err.Error()}, fault.HintOf(err))
}

// failKind counts a whole kind that could not be read.
func (t *tally) failKind(resource kube.Resource, err error) {
	t.note(resource.GroupKind(), Decision{Object: resource.GroupResource().String(), Action: Fail, Reason: err.Error()}, fault.HintOf(err))
}

// note counts what was decided about an object of a kind, and tells of it.
func (t *tally) note(kind schema.GroupKind, d Decision, hint string) {
	t.lock.Lock()
	defer t.lock.Unlock()
	r := &t.report
	switch d.Action {
	case Create:
		r.Created++
	case Update:
		r.Updated++
	case Delete:
		r.Deleted++
	case Unchanged:
		r.Unchanged++
	case Skip:
		r.Skipped[d.Reason]++
	case Conflict:
		r.Conflicted++
		r.Conflicts = appendProblem(r.Conflicts, d, hint)
	case Fail:
		r.Failed++
		r.FailedByKind[kind.String()]++
		r.Failures = appendProblem(r.Failures, d, hint)
	}
	if t.tell != nil {
		t.tell(d)
	}
}

func appendProblem(list []Problem, d Decision, hint string) []Problem {
	if len(list) >= maxProblems {
		return list
	}
	return append(list, Problem{Object: d.Object, Error: d.Reason, Hint: hint})
}

func (t *tally) skip(obj *unstructured.Unstructured, reason decide.Reason) {
	t.add(obj, Skip, string(reason))
}

func (t *tally) remark(list *[]string, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.lock.Lock()
	defer t.lock.Unlock()
	if len(*list) < maxProblems && !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}

// merge adds the counts of another tally.
func (t *tally) merge(other Report) {
	t.lock.Lock()
	defer t.lock.Unlock()
	r := &t.report
	r.Created += other.Created
	r.Updated += other.Updated
	r.Deleted += other.Deleted
	r.Unchanged += other.Unchanged
	r.Failed += other.Failed
	r.Conflicted += other.Conflicted
	for reason, n := range other.Skipped {
		r.Skipped[reason] += n
	}
	for kind, n := range other.FailedByKind {
		r.FailedByKind[kind] += n
	}
	room := func(list []Problem) int { return max(0, maxProblems-len(list)) }
	r.Failures = append(r.Failures, other.Failures[:min(len(other.Failures), room(r.Failures))]...)
	r.Conflicts = append(r.Conflicts, other.Conflicts[:min(len(other.Conflicts), room(r.Conflicts))]...)
	r.Notes = append(r.Notes, other.Notes...)
}

// copied is how many objects were written so far.
func (t *tally) copied() int {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.report.Copied()
}

// problems is what went wrong so far, without what was done.
func (t *tally) problems() Report {
	all := t.result()
	return Report{Failed: all.Failed, FailedByKind: all.FailedByKind, Failures: all.Failures, Conflicted: all.Conflicted, Conflicts: all.Conflicts}
}

// result is the report as it is now.
func (t *tally) result() Report {
	t.lock.Lock()
	defer t.lock.Unlock()
	r := t.report
	r.Skipped, r.FailedByKind = maps.Clone(r.Skipped), maps.Clone(r.FailedByKind)
	if r.Skipped == nil {
		r.Skipped = map[string]int{}
	}
	r.Failures, r.Conflicts, r.Notes = slices.Clone(r.Failures), slices.Clone(r.Conflicts), slices.Clone(r.Notes)
	return r
}
