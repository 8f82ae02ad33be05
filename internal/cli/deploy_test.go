package cli

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/plan"
	"github.com/crossfade-dev/crossfade/internal/record"
	"github.com/crossfade-dev/crossfade/internal/runbook"
)

// TestIs: the same command, started again, goes on with what it began.
func TestIs(t *testing.T) {
	v2 := plan.Deploy{Unit: plan.Unit{Version: "2", Manifests: "m2"}}
	with := func(change func(*plan.Deploy)) plan.Deploy {
		d := v2
		change(&d)
		return d
	}
	back := func(version string) plan.Deploy {
		return with(func(d *plan.Deploy) { d.Unit.Version, d.Back = version, true })
	}
	restart := with(func(d *plan.Deploy) { d.Restart = true })
	for name, tc := range map[string]struct {
		open, wanted plan.Deploy
		kept         bool
		want         bool
	}{
		"Again":          {v2, v2, false, true},
		"AgainKept":      {v2, v2, true, true},
		"OtherTag":       {v2, with(func(d *plan.Deploy) { d.Tag = "stable" }), false, true},
		"OtherVersion":   {v2, with(func(d *plan.Deploy) { d.Unit.Version = "3" }), false, false},
		"OtherManifests": {v2, with(func(d *plan.Deploy) { d.Unit.Manifests = "m3" }), false, false},
		"Restart":        {v2, restart, false, false},
		"RestartAgain":   {restart, restart, false, true},
		"RestartKept":    {restart, restart, true, false},     // it has restarted, and may do so again
		"BackTwice":      {back("2"), back("3"), false, true}, // what was good before changes when the first one is good
		"BackFromDeploy": {v2, back("2"), false, false},
		"DeployFromBack": {back("2"), v2, false, false},
	} {
		open := &deployment{plan: plan.Plan{Deploy: &tc.open}, kept: tc.kept}
		if got := open.is(&plan.Plan{Deploy: &tc.wanted}); got != tc.want {
			t.Errorf("%s: is() = %v", name, got)
		}
	}
}

// TestKeeps: what is noted while a run keeps the version before does not hide that.
func TestKeeps(t *testing.T) {
	keep := record.Event{Step: runbook.Kept, Kind: record.StepStarted}
	note := record.Event{Kind: record.Note, Message: "abort was asked for, and is not possible now"}
	for name, tc := range map[string]struct {
		events []record.Event
		want   bool
	}{
		"Nothing": {},
		"Drains":  {[]record.Event{{Step: "drain"}, note}, false},
		"Keeps":   {[]record.Event{{Step: "drain"}, keep}, true},
		"Noted":   {[]record.Event{keep, note, note}, true},
		"Clears":  {[]record.Event{keep, {Step: runbook.Kept, Kind: record.StepDone}, {Step: "clear"}}, false},
	} {
		if got := keeps(tc.events); got != tc.want {
			t.Errorf("%s: keeps() = %v", name, got)
		}
	}
}

// TestPrepared: a roll-over under way is gone on with, whatever was deployed since, and a deployment is none.
func TestPrepared(t *testing.T) {
	begun := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	ended := begun.Add(time.Hour)
	for name, tc := range map[string]struct {
		rollover, deploy *time.Time // their ends
		resumes          bool
	}{
		"Rollover":        {nil, &ended, true},
		"RolloverAndMore": {nil, nil, true},
		"Deploy":          {&ended, nil, false},
		"Neither":         {&ended, &ended, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := &app{stateDir: t.TempDir(), config: filepath.Join(t.TempDir(), "none.yaml")}
			store, err := record.Open(t.Context(), a.recordFile())
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			for _, r := range []record.Run{
				{ID: "r", Operation: runbook.OperationRollover, Environment: "production", Started: begun, Ended: tc.rollover},
				{ID: "d", Operation: runbook.OperationDeploy, Environment: "production", Service: "web", Started: begun.Add(time.Minute), Ended: tc.deploy},
			} {
				if err := store.PutRun(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			s, _, err := a.prepared(t.Context(), "production", "")
			if s != nil {
				s.close()
			}
			if tc.resumes && (s == nil || err != nil) || !tc.resumes && fault.CodeOf(err) != fault.Invalid { // it would plan a new one, and there is no configuration
				t.Errorf("prepared() = %v, %v; resumes: %v", s, err, tc.resumes)
			}
		})
	}
}
