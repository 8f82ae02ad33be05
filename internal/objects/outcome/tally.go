package outcome

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/kube/ident"
	"github.com/crossfade-dev/crossfade/internal/objects/decide"
)

// Tally counts what comes of the objects of a copy and tells of each. It may be used by many goroutines.
type Tally struct {
	lock   sync.Mutex
	report Report
	tell   func(Decision)
}

// New makes a tally of a copy or of a dry run, with whom to tell of each object, who may be nil.
func New(dryRun bool, tell func(Decision)) *Tally {
	return &Tally{report: Report{DryRun: dryRun, Skipped: map[string]int{}, FailedByKind: map[string]int{}}, tell: tell}
}

// Add counts an object for which something was decided.
func (t *Tally) Add(obj *unstructured.Unstructured, action Action, reason string) {
	t.count(obj.GroupVersionKind().GroupKind(), Decision{Object: ident.Of(obj), Action: action, Reason: reason}, "")
}

// Fail counts an object that could not be copied.
func (t *Tally) Fail(obj *unstructured.Unstructured, err error) {
	t.count(obj.GroupVersionKind().GroupKind(), Decision{Object: ident.Of(obj), Action: Fail, Reason: err.Error()}, fault.HintOf(err))
}

// FailKind counts a whole kind that could not be read.
func (t *Tally) FailKind(resource kube.Resource, err error) {
	t.count(resource.GroupKind(), Decision{Object: resource.GroupResource().String(), Action: Fail, Reason: err.Error()}, fault.HintOf(err))
}

// count counts what was decided about an object of a kind, and tells of it.
func (t *Tally) count(kind schema.GroupKind, d Decision, hint string) {
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

// Skip counts an object that is not copied.
func (t *Tally) Skip(obj *unstructured.Unstructured, reason decide.Reason) {
	t.Add(obj, Skip, string(reason))
}

// NotServed remarks on a kind that the other cluster does not serve, or not in a version of the first.
func (t *Tally) NotServed(format string, args ...any) { t.remark(&t.report.NotServed, format, args...) }

// Missing remarks on what copied objects refer to and the other cluster does not have.
func (t *Tally) Missing(format string, args ...any) { t.remark(&t.report.Missing, format, args...) }

// Note remarks on anything else that people should know.
func (t *Tally) Note(format string, args ...any) { t.remark(&t.report.Notes, format, args...) }

func (t *Tally) remark(list *[]string, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.lock.Lock()
	defer t.lock.Unlock()
	if len(*list) < maxProblems && !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}

// Merge adds the counts of another tally.
func (t *Tally) Merge(other Report) {
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

// Copied is how many objects were written so far.
func (t *Tally) Copied() int {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.report.Copied()
}

// Problems is what went wrong so far, without what was done.
func (t *Tally) Problems() Report {
	all := t.Result()
	return Report{Failed: all.Failed, FailedByKind: all.FailedByKind, Failures: all.Failures, Conflicted: all.Conflicted, Conflicts: all.Conflicts}
}

// Result is the report as it is now.
func (t *Tally) Result() Report {
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
