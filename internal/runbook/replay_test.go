package runbook

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crossfade-dev/crossfade/internal/engine"
)

// TestReplay carries out stored histories of real runs again, without their steps. A runbook that would do anything else than
// it did then fails: runs that are under way when a new version is installed could not go on. Change runbooks with
// workflow.GetVersion, and keep the old histories.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/histories/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no histories: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			history, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := engine.Replay(history, register); err != nil {
				t.Errorf("it would not go on: %v", err)
			}
		})
	}
}
