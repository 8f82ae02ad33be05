package view

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/history"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
)

// TestHistory draws releases that came about in every way.
func TestHistory(t *testing.T) {
	base := history.Entry{Operation: "deploy", By: "anna", Release: record.Release{Environment: "production", Version: "sha256:0123456789abcdef", At: begin, Run: "r"}}
	with := func(change func(*history.Entry)) history.Entry {
		e := base
		change(&e)
		return e
	}
	dirty := plan.Source{Commit: "0123456789", Dirty: true}
	for how, e := range map[string]history.Entry{
		"deployed":              base,
		"rolled over":           with(func(e *history.Entry) { e.Operation = "rollover" }),
		"restarted":             with(func(e *history.Entry) { e.Restarted = true }),
		"rolled back":           with(func(e *history.Entry) { e.RolledBack = true }),
		"promoted from testing": with(func(e *history.Entry) { e.Promoted, e.From = true, "testing" }),
		"promoted from testing in the set shop, approved by bea, carl, skipped staging: it burns": with(func(e *history.Entry) {
			e.Promoted, e.From, e.Set, e.ApprovedBy, e.Skipped, e.Reason = true, "testing", "shop", []string{"bea", "carl"}, []string{"staging"}, "it burns"
		}),
		"deployed, skipped testing, staging: it burns": with(func(e *history.Entry) { e.Skipped, e.Reason = []string{"testing", "staging"}, "it burns" }),
	} {
		want := []string{"production", "-", "sha256:0123456789ab", "no", "2026-07-28 15:04:05", "-", "anna", "-", how, "r"}
		if diff := cmp.Diff([][]string{want}, History([]history.Entry{e}).Rows); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	e := with(func(e *history.Entry) {
		e.Tag, e.Good, e.Took, e.Sources = "v2", true, 90*time.Second, []plan.Source{{Commit: "fedcba9876"}, dirty, {Dirty: true}, {Commit: "1", Trouble: "no rights"}}
	})
	want := []string{"production", "v2", "sha256:0123456789ab", "yes", "2026-07-28 15:04:05", "1m30s", "anna", "fedcba98, 01234567-dirty, none, unknown", "deployed", "r"}
	if diff := cmp.Diff([][]string{want}, History([]history.Entry{e}).Rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
