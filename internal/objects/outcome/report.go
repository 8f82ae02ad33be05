// Package outcome says what came of a copy: of each object, and in sum.
package outcome

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
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
