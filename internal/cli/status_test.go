package cli

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossfade-dev/crossfade/internal/record"
)

func TestForemost(t *testing.T) {
	ended := time.Unix(1, 0)
	run := func(id, environment, service string, open bool) record.Run {
		r := record.Run{ID: id, Environment: environment, Service: service}
		if !open {
			r.Ended = &ended
		}
		return r
	}
	tests := map[string]struct {
		reason string
		runs   []record.Run
		want   []string
	}{
		"Newest":   {"with nothing under way it is the newest of each", []record.Run{run("3", "a", "", false), run("2", "b", "", false), run("1", "a", "", false)}, []string{"3", "2"}},
		"Deployed": {"a deployment that has ended is news, too", []record.Run{run("2", "a", "web", false), run("1", "a", "", false)}, []string{"2"}},
		"Hidden":   {"deployments do not hide a roll-over under way", []record.Run{run("3", "a", "web", true), run("2", "a", "api", false), run("1", "a", "", true)}, []string{"1"}},
		"Killed":   {"of two that are open the newer one is under way", []record.Run{run("2", "a", "", true), run("1", "a", "", true)}, []string{"2"}},
		"None":     {"nothing ever happened", nil, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, r := range foremost(tc.runs) {
				got = append(got, r.ID)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
