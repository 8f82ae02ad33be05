package view

import (
	"cmp"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/history"
	"github.com/crossfade-dev/crossfade/internal/plan"
)

// History is the table of the releases of a service.
func History(entries []history.Entry) Table {
	t := Table{Header: []string{"ENVIRONMENT", "VERSION", "DIGEST", "GOOD", "RELEASED", "TOOK", "BY", "COMMIT", "HOW", "RUN"}}
	for _, e := range entries {
		took := "-"
		if e.Took > 0 {
			took = duration(e.Took)
		}
		t.Rows = append(t.Rows, []string{
			e.Environment, cmp.Or(e.Tag, "-"), cmp.Or(shortDigest(e.Version), "-"), yes(e.Good), e.At.Local().Format(time.DateTime), took,
			e.By, cmp.Or(plan.Commits(e.Sources), "-"), how(e), e.Release.Run,
		})
	}
	return t
}

// how says in words how a release came about.
func how(e history.Entry) string {
	text := "deployed"
	switch {
	case e.Operation == "rollover":
		text = "rolled over"
	case e.Restarted:
		text = "restarted"
	case e.RolledBack:
		text = "rolled back"
	case e.Promoted:
		text = "promoted from " + e.From
	}
	if e.Set != "" {
		text += " in the set " + e.Set
	}
	if len(e.ApprovedBy) > 0 {
		text += ", approved by " + strings.Join(e.ApprovedBy, ", ")
	}
	if len(e.Skipped) > 0 {
		text += ", skipped " + strings.Join(e.Skipped, ", ") + ": " + e.Reason
	}
	return text
}
