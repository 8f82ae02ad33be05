package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook/step"
)

// Environment is what is shown of one environment.
type Environment struct {
	Environment string         `json:"environment"`
	Shares      map[string]int `json:"shares"`            // of each generation in percent, as the routers say
	Routers     string         `json:"routers,omitempty"` // why the routers could not be asked
	Run         *record.Run    `json:"run,omitempty"`     // the one under way, or the last
	Generations []Generation   `json:"generations"`
}

// Generation is what is shown of one generation.
type Generation struct {
	record.Generation
	Share int `json:"share"` // of the users, in percent
}

// Runs is the table of runs.
func Runs(runs []record.Run) Table {
	t := Table{Header: []string{"RUN", "STATE", "GENERATION", "PREVIOUS", "BY", "STARTED", "TOOK", "REASON"}}
	for _, r := range runs {
		took := "-"
		if r.Ended != nil {
			took = duration(r.Ended.Sub(r.Started))
		}
		t.Rows = append(t.Rows, []string{
			r.ID, string(r.State), r.Generation, cmp.Or(r.Previous, "-"), r.By, r.Started.Local().Format(time.DateTime), took, shorten(r.Reason, 80),
		})
	}
	return t
}

// shortDigest is as much of a digest as tells it from others, for people.
func shortDigest(digest string) string {
	const enough = len("sha256:") + 12
	return digest[:min(len(digest), enough)]
}

// Environments is the table of environments with the generations that stand.
func Environments(all []Environment) Table {
	t := Table{Header: []string{"ENVIRONMENT", "GENERATION", "PHASE", "USERS", "VERIFIED", "CREATED", "RUN"}}
	for _, e := range all {
		generations := slices.DeleteFunc(slices.Clone(e.Generations), func(g Generation) bool { return g.Phase == record.Retired })
		for _, g := range generations {
			users := fmt.Sprintf("%d %%", g.Share)
			if e.Routers != "" {
				users = "?"
			}
			run := ""
			if e.Run.Generation == g.Name || e.Run.Previous == g.Name && len(generations) == 1 {
				run = fmt.Sprintf("%s: %s", e.Run.ID, cmp.Or(shorten(e.Run.Reason, 60), string(e.Run.State)))
			}
			t.Rows = append(t.Rows, []string{
				e.Environment, g.Name, string(g.Phase), users, yes(g.Verified), g.Created.Local().Format(time.DateTime), run,
			})
		}
		if e.Routers != "" {
			t.Rows = append(t.Rows, []string{e.Environment, "", "", e.Routers})
		}
	}
	return t
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Refreshed shows where generations that have users answer now, and what of that is new.
func Refreshed(all []step.Refreshed) Table {
	t := Table{Header: []string{"HOST", "GENERATION", "ENDPOINTS", "ADDED", "REMOVED"}}
	for _, r := range all {
		t.Rows = append(t.Rows, []string{
			r.Host, r.Generation, strings.Join(r.Endpoints, " "), strings.Join(r.Added, " "), strings.Join(r.Removed, " "),
		})
	}
	return t
}
